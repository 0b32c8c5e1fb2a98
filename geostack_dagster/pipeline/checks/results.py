"""Verdicts about partitions as plain values: what Dagster shows as asset checks."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from geostack_dagster.cube.schema import CubeSchema
from geostack_dagster.cube.template import merged
from geostack_dagster.cube.unread import whole
from geostack_dagster.domain.counts import counted
from geostack_dagster.domain.dark_pixels import BELOW, DIM, ItemVerdict, Verdict
from geostack_dagster.domain.days import Cadence
from geostack_dagster.domain.radiometry import Radiometry
from geostack_dagster.errors import IntegrityError
from geostack_dagster.pipeline.check_spec import CheckSpec
from geostack_dagster.pipeline.checks.states import State

WORST = 20
"""Rows of a table at most: the worst ones."""
_MOST_BANDS = 20
"""Bands whose extremes are shown one by one; of a spectrometer's the worst are in the table."""
_REVISITS_DAYS = 15
_CADENCE_DAYS = {Cadence.DAILY: 1, Cadence.WEEKLY: 7, Cadence.MONTHLY: 31}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a check found."""

    passed: bool
    is_error: bool = False
    """Whether failing means that data are wrong, not only that someone should look."""
    summary: str
    numbers: Mapping[str, float | int] = field(default_factory=dict)
    """What plots over runs."""
    rows: Sequence[Mapping[str, Any]] = ()
    """The worst partitions first."""


def coverage(states: Sequence[State], asked: CheckSpec) -> Result:
    """How much of its grid each partition fills, on days that have Items."""
    rows: list[dict[str, Any]] = []
    for state in states:
        shares = [day.coverage for day in state.days if day.coverage is not None]
        if shares:
            rows.append({"partition": _name(state), "coverage": sum(shares) / len(shares)})
    rows.sort(key=lambda row: row["coverage"])
    low = [row for row in rows if row["coverage"] < asked.least_coverage]
    return Result(
        passed=not low,
        summary=_summary(rows, low, f"cover less than {asked.least_coverage:g} of their grid"),
        numbers=_spread("coverage", [row["coverage"] for row in rows]) | {"low": len(low)},
        rows=rows[:WORST],
    )


def nodata(states: Sequence[State], asked: CheckSpec) -> Result:
    """How much of each band is missing, and whether one lacks what the others have."""
    rows: list[dict[str, Any]] = []
    for state in states:
        shares = {
            name: 1 - one["valid"] / one["pixels"]
            for name, one in (state.evidence.tallies if state.evidence else {}).items()
            if one["pixels"]
        }
        if shares:
            worst = max(shares, key=lambda name: shares[name])
            rows.append(
                {
                    "partition": _name(state),
                    "band": worst,
                    "nodata_fraction": shares[worst],
                    "more_than_fullest": shares[worst] - min(shares.values()),
                }
            )
    rows.sort(key=lambda row: (-row["more_than_fullest"], -row["nodata_fraction"]))
    gaps = [
        row
        for row in rows
        if row["more_than_fullest"] > asked.nodata_spread
        or row["nodata_fraction"] > asked.most_nodata
    ]
    return Result(
        passed=not gaps,
        summary=_summary(rows, gaps, "lack a band, or nearly everything"),
        numbers=_spread("nodata_fraction", [row["nodata_fraction"] for row in rows])
        | _spread("more_than_fullest", [row["more_than_fullest"] for row in rows]),
        rows=rows[:WORST],
    )


def ledger(states: Sequence[State], most_lost: float) -> Result:
    """Whether more assets of a partition could not be read than its budget allows."""
    rows: list[dict[str, Any]] = []
    tried, lost, reasons = 0, 0, Counter[str]()
    for state in states:
        read = state.read
        tried, lost = tried + read.tried, lost + read.lost
        reasons.update(read.reasons)
        if read.lost:
            row = {"partition": _name(state), "lost": read.lost, "of": read.tried}
            said = ", ".join(f"{reason}: {count}" for reason, count in sorted(read.reasons.items()))
            rows.append(row | {"share": read.lost / read.tried, "reasons": said})
    rows.sort(key=lambda row: -row["share"])
    over = [row for row in rows if row["share"] > most_lost]
    return Result(
        passed=not over,
        is_error=True,
        summary=_summary(states, over, f"lost more than {most_lost:g} of their assets"),
        numbers={
            "assets": tried,
            "lost": lost,
            "lost_share": max((row["share"] for row in rows), default=0.0),
            "partial_partitions": len(rows),
            **{f"reason {name}": count for name, count in sorted(reasons.items())},
        },
        rows=rows[:WORST],
    )


def values(states: Sequence[State], asked: CheckSpec) -> Result:
    """How many values lie beyond what is physically possible."""
    rows: list[dict[str, Any]] = []
    for state in states:
        for name, one in (state.evidence.tallies if state.evidence else {}).items():
            if one["valid"]:
                rows.append(
                    {
                        "partition": _name(state),
                        "band": name,
                        "outside_fraction": one["outside"] / one["valid"],
                        "least": one["least"],
                        "greatest": one["greatest"],
                    }
                )
    rows.sort(key=lambda row: -row["outside_fraction"])
    wild = [row for row in rows if row["outside_fraction"] > asked.most_outside]
    numbers = _spread("outside_fraction", [row["outside_fraction"] for row in rows])
    names = sorted({row["band"] for row in rows})
    for name in names if len(names) <= _MOST_BANDS else ():
        mine = [row for row in rows if row["band"] == name]
        numbers |= {
            f"{name}_least": min(row["least"] for row in mine),
            f"{name}_greatest": max(row["greatest"] for row in mine),
        }
    return Result(
        passed=not wild,
        summary=_summary(rows, wild, "of partitions and bands hold impossible values"),
        numbers=numbers,
        rows=rows[:WORST],
    )


def fingerprints(
    states: Sequence[State],
    wanted: Callable[[State], str | None],
    held: Callable[[State], str | None],
) -> Result:
    """Whether each cube was made from what its inputs are now, as reconcile asks."""
    rows: list[dict[str, Any]] = []
    waiting = 0
    for state in states:
        inputs = wanted(state)
        if inputs == whole(state.recorded):
            continue
        why = held(state)
        waiting += why is not None
        rows.append(
            {
                "partition": _name(state),
                "recorded": state.recorded or "-",
                "inputs": inputs or "-",
                "held": why or "-",
            }
        )
    stale = [row for row in rows if row["held"] == "-"]
    return Result(
        passed=not stale,
        is_error=True,
        summary=_summary(states, stale, "were not made from their present inputs"),
        numbers={"partitions": len(states), "stale": len(stale), "held": waiting},
        rows=[*stale, *(row for row in rows if row["held"] != "-")][:WORST],
    )


def schema(name: str, stored: CubeSchema, wanted: CubeSchema) -> Result:
    """Whether the stored cube has the structure that the pipeline would give it."""
    numbers = {"variables_stored": len(stored.variables), "variables": len(wanted.variables)}
    try:
        after = merged(stored, wanted)
    except IntegrityError as error:
        return Result(passed=False, is_error=True, summary=f"{name}: {error}", numbers=numbers)
    added = [one.name for one in after.variables[len(stored.variables) :]]
    said = f"{name}: as it should be" if not added else f"{name}: without {', '.join(added)} yet"
    return Result(passed=not added, is_error=False, summary=said, numbers=numbers)


def worst(results: Iterable[Result]) -> Result:
    """One result of several: all have to pass; numbers are summed."""
    found = list(results)
    bad = [one for one in found if not one.passed]
    numbers: Counter[str] = Counter()
    for one in found:
        numbers.update({name: int(value) for name, value in one.numbers.items()})
    return Result(
        passed=not bad,
        is_error=any(one.is_error for one in bad),
        summary="; ".join(one.summary for one in bad or found) or "nothing to look at",
        numbers=numbers,
    )


def freshness(
    newest: Mapping[str, date | None], asked: CheckSpec, cadence: Cadence, *, until: date
) -> Result:
    """How old each AOI's newest day with data is.

    Args:
        newest: By AOI; None where there is no data yet.
        asked: Thresholds.
        cadence: Of the pipeline.
        until: Day up to which data are asked for: today, or the end of the pipeline.
    """
    allowed = asked.stale_after_days or _REVISITS_DAYS + _CADENCE_DAYS[cadence]
    rows: list[dict[str, Any]] = [
        {"aoi": aoi, "newest": str(day or "-"), "age_days": (until - day).days if day else None}
        for aoi, day in newest.items()
    ]
    rows.sort(key=lambda row: -(row["age_days"] if row["age_days"] is not None else 1 << 30))
    old = [row for row in rows if row["age_days"] is None or row["age_days"] > allowed]
    ages = [row["age_days"] for row in rows if row["age_days"] is not None]
    return Result(
        passed=not old,
        summary=_summary(
            rows, old, f"AOIs have no data of the {allowed} days before {until + timedelta(1)}"
        ),
        numbers={"age_days": max(ages, default=0), "allowed_days": allowed, "aois": len(rows)}
        | {
            f"age_days {row['aoi']}": row["age_days"] for row in rows if row["age_days"] is not None
        },
        rows=rows[:WORST],
    )


def radiometry(verdicts: Sequence[ItemVerdict], *, blocks: bool) -> Result:
    """Whether dark ground bears out the calibration of each Item of a partition."""
    rank = (Verdict.CONTRADICTED, Verdict.UNCLEAR, Verdict.SOUND)
    ordered = sorted(verdicts, key=lambda one: rank.index(one.verdict))
    count = Counter(one.verdict for one in verdicts)
    wrong, unclear = count[Verdict.CONTRADICTED], count[Verdict.UNCLEAR]
    if wrong:
        said = "; ".join(f"{one.item}: {one.reason}" for one in ordered[:wrong])
    elif unclear or not verdicts:
        said = f"warning: not enough evidence for {unclear} of {counted(len(verdicts), 'item')}"
    else:
        said = f"{counted(len(verdicts), 'item')}: dark ground begins where it should"
    darkest = [pixels.least for one in verdicts for pixels in one.pixels]
    numbers: dict[str, float | int] = {
        "items": len(verdicts),
        "contradicted": wrong,
        "unclear": unclear,
    }
    if darkest:
        numbers["darkest_reflectance"] = min(darkest)
    return Result(
        passed=not wrong,
        is_error=blocks,
        summary=said,
        numbers=numbers,
        rows=[row for one in ordered for row in _evidence(one)][:WORST],
    )


def _evidence(found: ItemVerdict) -> Iterable[Mapping[str, Any]]:
    """Metadata and pixels side by side, one row for each band."""
    decided = found.radiometry
    row = {
        "item": found.item,
        "verdict": found.verdict.value,
        "offset": decided.offset,
        "metadata": ", ".join(f"{name} {value}" for name, value in decided.evidence.items()) or "-",
        "decided_because": decided.reason,
    }
    if not found.pixels:
        yield row | {"band": "-", "dark_pixels": 0, "pixels": found.reason}
    for one in found.pixels:
        numbers = f"darkest 0.1 % {one.least:.4f} (DN {_number(one.least, decided)})"
        numbers += f", median {one.median:.4f}, {one.below:.1%} below {BELOW}"
        numbers += f", {one.dim:.1%} below {DIM}"
        yield row | {"band": one.band, "dark_pixels": one.count, "pixels": numbers}


def _number(reflectance: float, decided: Radiometry) -> int:
    return round((reflectance - decided.offset) / decided.scale)


def _name(state: State) -> str:
    return f"{state.partition.aoi} {state.partition.date}"


def _summary(seen: Sequence[object], bad: Sequence[object], what: str) -> str:
    return f"{len(bad)} of {len(seen)} {what}" if seen else "nothing to look at"


def _spread(name: str, found: Sequence[float]) -> dict[str, float | int]:
    if not found:
        return {}
    return {
        f"{name}_least": min(found),
        f"{name}_mean": sum(found) / len(found),
        f"{name}_greatest": max(found),
    }
