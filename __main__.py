"""``python -m aqa``: the same as the ``aqa`` command."""

from .pipelines.cli import main

if __name__ == "__main__":
    main()
