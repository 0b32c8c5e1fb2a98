"""`geostack explain`: an Item's explanation on a terminal."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from geostack_dagster.catalog.explain import explain
from geostack_dagster.catalog.explanation import Explanation
from geostack_dagster.cli.tables import records, show
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.providers import provider_named


def of_file(path: Path, provider: str | None) -> Explanation:
    """Explanation of the Item in a file.

    Raises:
        ConfigurationError: If the file is not JSON, or the provider is unknown.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from error
    return explain(document, None if provider is None else provider_named(provider))


_WIDTH = 100
_COLUMNS = ("name", "asset", "auth", "dtype", "nodata", "scale", "offset", "crs", "shape")


def show_explanation(explained: Explanation) -> None:
    """Print the Item's facts, one table of bands, the calibrations and the warnings."""
    # Narrower than this, a table of nine columns is a column of fragments.
    console = Console(width=max(Console().width, _WIDTH))
    facts = explained.to_json()
    tables = {name: facts.pop(name) for name in ("bands", "files", "radiometry", "warnings")}
    show(facts, console=console)
    if tables["bands"]:
        console.print(records("bands", [_row(band) for band in tables["bands"]]))
        for band in tables["bands"]:
            console.print(f"{band['name']:>5} {band['href']}", highlight=False, soft_wrap=True)
    for decision in tables["radiometry"]:
        bands = " ".join(decision["bands"])
        console.print(f"[bold]radiometry[/bold] {bands}: {decision['reason']}", highlight=False)
        console.print(
            f"  value = DN * {decision['scale']:g} + {decision['offset']:g}; "
            f"evidence {decision['evidence']}",
            highlight=False,
        )
    if tables["files"]:
        console.print(f"{len(tables['files'])} other assets: ", end="")
        console.print(", ".join(file["asset"] for file in tables["files"]), highlight=False)
    for warning in tables["warnings"]:
        console.print(f"[yellow]warning[/yellow] {warning}", highlight=False)


def _row(band: dict[str, Any]) -> dict[str, Any]:
    row = {name: band[name] for name in _COLUMNS}
    return row | {"shape": "x".join(str(size) for size in band["shape"] or ()) or None}
