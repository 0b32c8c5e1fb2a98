"""What all benchmarks share: arguments, interleaved timing, one table and one JSON form.

A benchmark is a script: `python benchmarks/NAME.py [--quick] [--json FILE]`::

    from _report import arguments, measure, report

    repeats = 1 if arguments().quick else 3
    report("Write 50,000 items", [
        measure("50,000 items", ours, peers={"rustac": theirs}, repeats=repeats),
    ])
"""

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Medians of one comparison [s]."""

    case: str
    ours: float
    peers: Mapping[str, float] = field(default_factory=dict)
    floor: float | None = None
    """What no implementation can beat here: a bare fetch, a memory copy; None if not measured."""
    note: str = ""
    """Shown in the table only: sizes, peak memory, what differs."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """Command line of every benchmark."""

    quick: bool
    json: Path | None


@functools.cache
def arguments() -> Arguments:
    """Options that the user gave; a typo ends the script with a usage message."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a small case, for a smoke test")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parsed = parser.parse_args()
    return Arguments(parsed.quick, parsed.json)


def measure(
    case: str,
    ours: Callable[[], object],
    *,
    peers: Mapping[str, Callable[[], object]] | None = None,
    floor: Callable[[], object] | None = None,
    repeats: int = 3,
    note: str = "",
) -> Case:
    """Medians of wall time, variants taking turns so that a busy machine slows all alike.

    Nothing is warmed up here: call what needs compiling once before.
    """
    variants = {"ours": ours, **(peers or {})}
    if floor is not None:
        variants["floor"] = floor
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, run in variants.items():
            seconds[name].append(timed(run))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return Case(
        case=case,
        ours=medians.pop("ours"),
        floor=medians.pop("floor", None) if floor is not None else None,
        peers=medians,
        note=note,
    )


def timed(run: Callable[[], object]) -> float:
    """Wall time of one call [s]."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def report(title: str, cases: Sequence[Case]) -> None:
    """Print the table, and write the JSON list where `--json` says."""
    Console().print(_table(title, cases))
    target = arguments().json
    if target is not None:
        rows = [
            {"case": case.case, "ours": case.ours, "peers": dict(case.peers), "floor": case.floor}
            for case in cases
        ]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _table(title: str, cases: Sequence[Case]) -> Table:
    peers = list(dict.fromkeys(name for case in cases for name in case.peers))
    table = Table(title=title, caption="seconds; x = times ours")
    table.add_column("case")
    for heading in ("ours", *peers, "floor"):
        table.add_column(heading, justify="right")
    table.add_column("note")
    for case in cases:
        table.add_row(
            case.case,
            f"{case.ours:.3g}",
            *(_against(case.peers.get(name), case.ours) for name in peers),
            _against(case.floor, case.ours),
            case.note,
        )
    return table


def _against(seconds: float | None, ours: float) -> str:
    return "-" if seconds is None else f"{seconds:.3g} ({seconds / ours:.2f} x)"
