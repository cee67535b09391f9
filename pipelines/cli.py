"""The ``aqa`` command. Verbs import what they need when they run, so that ``aqa --help`` stays light."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from .cache import export_store, import_store, list_stores, pack_store, show_store, verify_stores
from .catalog import check_dataset, list_datasets, show_dataset
from .cite import cite
from .compare import compare
from .demo import demo
from .doctor import doctor
from .export import export
from .extract import extract
from .finetune import finetune
from .fit import fit
from .leaderboard import leaderboard
from .measure import measure
from .predict import predict
from .runs import list_runs, remove_runs
from .sharing import export_runs, merge_runs
from .verb import run_verb

app = typer.Typer(
    name="aqa",
    help="Action quality assessment: extract clip features once, train and compare heads on them, score a video.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: rich would double the time of `aqa --help`
    pretty_exceptions_enable=False,
)
cache_app = typer.Typer(help="Cached features: list, show, verify, pack, import, export.", no_args_is_help=True)
catalog_app = typer.Typer(help="Data sets: what is known, what a folder holds, what is wrong with it.")
runs_app = typer.Typer(help="Runs on disk: list, remove, export, merge.", no_args_is_help=True)

for verb in (demo, extract, fit, finetune, leaderboard, compare, cite, predict, export, measure, doctor):
    app.command()(run_verb(verb))
for name, verb in (
    ("ls", list_stores),
    ("show", show_store),
    ("verify", verify_stores),
    ("pack", pack_store),
    ("import", import_store),
    ("export", export_store),
):
    cache_app.command(name)(run_verb(verb))
catalog_app.callback(invoke_without_command=True)(run_verb(list_datasets))
catalog_app.command("show")(run_verb(show_dataset))
catalog_app.command("check")(run_verb(check_dataset))
for name, verb in (("ls", list_runs), ("rm", remove_runs), ("export", export_runs), ("merge", merge_runs)):
    runs_app.command(name)(run_verb(verb))
app.add_typer(cache_app, name="cache")
app.add_typer(catalog_app, name="catalog")
app.add_typer(runs_app, name="runs")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"aqa {__version__}")
        raise typer.Exit


@app.callback()
def _aqa(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the command line."""
    app(prog_name="aqa")
