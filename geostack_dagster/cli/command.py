"""What every command has: `--json`, and errors as one line."""

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from geostack_dagster.cli.terminal import console
from geostack_dagster.errors import GeostackError

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")]
ItemsOption = Annotated[
    Path | None,
    typer.Option("--items", help="Folder of recorded STAC Items that the twins serve as well."),
]


def guarded[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Print this project's errors as one line with their remedy, and exit with 2."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except GeostackError as error:
            console.print(f"[red]{type(error).__name__}[/red]: {error}", highlight=False)
            raise typer.Exit(2) from error

    return run


def show_facts(facts: dict[str, Any], *, as_json: bool) -> None:
    """Print what a command found: a table for people, JSON for machines."""
    if as_json:
        print_json(facts)
        return
    from geostack_dagster.cli.tables import show

    show(facts)


def print_json(document: object) -> None:
    """JSON on standard output."""
    json.dump(document, sys.stdout, indent=1, default=str)
    sys.stdout.write("\n")
