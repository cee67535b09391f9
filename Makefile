# make demo: an environment, the package, and the main job on the embedded data set.
# make test: the test suite. Both reuse .venv while pyproject.toml is unchanged.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test test-slow lint types bench gpu docs clean env

env:
	@cmp -s pyproject.toml $(VENV)/pyproject.toml || { \
	  $(PYTHON) -m venv --clear $(VENV) && \
	  $(BIN)/python -m pip install --quiet --upgrade pip && \
	  $(BIN)/python -m pip install --quiet --editable '.[dev]' && \
	  cp pyproject.toml $(VENV)/pyproject.toml; }

demo: env
	$(BIN)/aqa demo

test: env
	$(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile

test-slow: env
	$(BIN)/python -m pytest -m slow -n auto --dist loadfile

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env
	$(BIN)/basedpyright --pythonpath $(BIN)/python

bench: env
	$(BIN)/python benchmarks/run.py

gpu: env
	$(BIN)/python benchmarks/gpu.py

docs: env
	$(BIN)/typer aqa.pipelines.cli utils docs --name aqa --output docs/cli.md

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
