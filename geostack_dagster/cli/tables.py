"""Facts as tables for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, JustifyMethod
from rich.table import Table

_SCALES = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def show(facts: Mapping[str, Any], *, console: Console | None = None) -> None:
    """Print scalars as a list and lists of records as tables."""
    console = console or Console()
    plain = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        if not _is_records(value) and value != []:
            plain.add_row(f"[bold]{name}[/bold]", cell(name, value))
    console.print(plain)
    for name, value in facts.items():
        if _is_records(value):
            console.print(records(name, value))


def records(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """A table with the columns of the first record."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name in rows[0]:
        justify: JustifyMethod = "right" if _is_number(rows[0][name]) else "left"
        table.add_column(name, justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(cell(name, value) for name, value in row.items()))
    return table


def cell(name: str, value: object) -> str:
    """Text of one value; bytes in binary units, floats with four digits."""
    if value is None:
        return "-"
    if "bytes" in name and isinstance(value, int):
        return byte_size(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(str(one) for one in value)
    return str(value)


def byte_size(count: int) -> str:
    """A byte count for people: `12.3 MiB`."""
    for scale, unit in _SCALES:
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def _is_records(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
