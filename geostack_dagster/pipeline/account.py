"""The account of a visit: what became of every asset, for the ledger, the flags and the report."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, partial
from typing import Any

from geostack_dagster.cube.ledger import LedgerEntry, LedgerRow, Status
from geostack_dagster.cube.unread import Unread
from geostack_dagster.pipeline.attempt import GONE, is_soft
from geostack_dagster.stack.footprint import covered
from geostack_dagster.stack.recipe import Recipe, RecipeItem, Skipped, Source
from geostack_dagster.stack.tolerance import Failure

_SAMPLES = 512
"""Rows and columns that tell whether all of an asset was unreadable."""


@dataclass(frozen=True)
class Account:
    """What was asked for, and what of it could not be read."""

    recipe: Recipe
    failures: Sequence[Failure]

    def rows(self) -> list[LedgerRow]:
        """The ledger of all days."""
        return [LedgerRow(day, entry) for day in self.recipe.days for entry in self.entries(day)]

    def entries(self, day: date) -> list[LedgerEntry]:
        """What became of the assets of a day's Items, and what they lack."""
        items = [item for item in self.recipe.items if item.day == day]
        read = [entry for item in items for entry in self._of_item(item)]
        return read + [absent(one) for one in self.recipe.skipped if one.day == day]

    def unread(self, day: date) -> list[Unread]:
        """The parts of a day's bands that could not be read."""
        return [
            Unread(
                source=failure.item,
                variable=failure.band,
                rows=failure.rows,
                columns=failure.columns,
                covered=partial(
                    covered,
                    self._items[failure.item].sources[failure.band].projection,
                    self.recipe.grid,
                    failure.window,
                ),
            )
            for failure in self.failures
            if self._items[failure.item].day == day
        ]

    @property
    def unreadable(self) -> list[LedgerRow]:
        """Entries of what could not be read."""
        return [row for row in self.rows() if is_soft(row.entry)]

    @property
    def facts(self) -> dict[str, Any]:
        """Numbers for the report: assets as the budget counts them, Item x band."""
        assets = sum(len(item.sources) for item in self.recipe.items)
        failed = len({failure.key for failure in self.failures})
        return {
            "assets": assets,
            "soft_errors": failed,
            "soft_error_ratio": failed / assets if assets else 0.0,
        }

    @property
    def tables(self) -> dict[str, list[Mapping[str, Any]]]:
        """What could not be read, and how often for each reason."""
        reasons = Counter(one.reason for one in {one.key: one for one in self.failures}.values())
        return {
            "unreadable": [row_of(row) for row in self.unreadable],
            "unreadable_by_reason": [
                {"reason": reason, "assets": count} for reason, count in sorted(reasons.items())
            ],
        }

    @property
    def note(self) -> str:
        """A clause about what could not be read."""
        found = ", ".join(
            f"{row['reason']}: {row['assets']}" for row in self.tables["unreadable_by_reason"]
        )
        return f"{self.facts['soft_errors']} of {self.facts['assets']} assets unreadable ({found})"

    @cached_property
    def _items(self) -> dict[str, RecipeItem]:
        return {item.id: item for item in self.recipe.items}

    def _of_item(self, item: RecipeItem) -> Iterable[LedgerEntry]:
        """One entry for each asset; an asset may hold several bands."""
        bands: dict[str, list[str]] = {}
        for name, source in item.sources.items():
            bands.setdefault(source.key, []).append(name)
        for key, names in bands.items():
            failures = [one for one in self.failures if one.item == item.id and one.band in names]
            yield self._entry(item, key, names, failures)

    def _entry(
        self, item: RecipeItem, key: str, names: Sequence[str], failures: Sequence[Failure]
    ) -> LedgerEntry:
        if not failures:
            return LedgerEntry(item=item.id, asset=key, status=Status.READ)
        worst = max(failures, key=lambda one: (one.passing, one.attempts, one.reason))
        lost = all(
            self._is_lost(item.sources[name], [one for one in failures if one.band == name])
            for name in names
        )
        return LedgerEntry(
            item=item.id,
            asset=key,
            status=_status(worst) if lost else Status.PARTIAL,
            reason=worst.reason,
            http_status=worst.status,
            attempts=worst.attempts,
            detail=worst.detail,
        )

    def _is_lost(self, source: Source, failures: Sequence[Failure]) -> bool:
        """Whether nothing of a source was read, to about a pixel in five hundred."""
        grid = self.recipe.grid
        step = max(1, math.ceil(max(grid.shape) / _SAMPLES))
        left = covered(
            source.projection, grid, (slice(0, grid.height), slice(0, grid.width)), step=step
        )
        for failure in failures:
            rows, columns = failure.window
            left[_sampled(rows, step), _sampled(columns, step)] = False
        return not left.any()


def _sampled(span: slice, step: int) -> slice:
    return slice(-(-span.start // step), -(-span.stop // step))


def _status(failure: Failure) -> Status:
    if failure.status in GONE:
        return Status.MISSING
    return Status.FAILED if failure.passing else Status.INVALID


def absent(one: Skipped) -> LedgerEntry:
    """What was never tried: an asset that an Item lacks, an Item that another one replaces."""
    superseded = one.code == Status.SUPERSEDED
    return LedgerEntry(
        item=one.item,
        asset=one.band or "",
        status=Status.SUPERSEDED if superseded else Status.MISSING,
        reason=one.code,
        attempts=int(one.tried),
        detail=one.reason,
    )


def row_of(row: LedgerRow) -> Mapping[str, Any]:
    """An entry as a row of a table."""
    entry = row.entry
    return {
        "day": row.day.isoformat(),
        "item": entry.item,
        "asset": entry.asset,
        "status": entry.status.value,
        "reason": entry.reason or "",
        "http_status": entry.http_status or 0,
        "attempts": entry.attempts,
        "detail": entry.detail or "",
    }
