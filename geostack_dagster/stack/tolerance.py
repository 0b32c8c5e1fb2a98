"""What happens when an asset cannot be read: it is noted, and within a budget the stack goes on.

A failure is noted by whoever computes (`engine.note`), so that the process that writes the cube
learns of it from threads and from the workers of a cluster alike. What cannot be read stays unset.
"""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any, Self
from uuid import uuid4

from odc.geo.geobox import GeoBox

from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.hrefs import redact
from geostack_dagster.engine import Engine, note
from geostack_dagster.errors import (
    ConfigurationError,
    GeostackError,
    IntegrityError,
    OverBudgetError,
    ServiceError,
)
from geostack_dagster.stack.pixels import Window
from geostack_dagster.stack.recipe import Recipe

_NAMED = 6

type Key = tuple[str, str]
"""Item and band: an asset as the budget counts it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A part of the grid for which an asset could not be read, and why."""

    item: str
    band: str
    rows: tuple[int, int]
    columns: tuple[int, int]
    reason: str
    status: int | None
    attempts: int
    detail: str
    passing: bool
    """Whether the archive was busy, and waiting may help."""
    retry_after_s: float | None = None

    @property
    def key(self) -> Key:
        """The asset."""
        return self.item, self.band

    @property
    def part(self) -> tuple[str, str, tuple[int, int], tuple[int, int]]:
        """The asset and the part of the grid."""
        return self.item, self.band, self.rows, self.columns

    @property
    def window(self) -> Window:
        """Rows and columns of the grid."""
        return slice(*self.rows), slice(*self.columns)

    @classmethod
    def of(cls, key: Key, window: Window, error: GeostackError) -> Self:
        """The failure that an error is."""
        rows, columns = window
        is_service = isinstance(error, ServiceError)
        return cls(
            item=key[0],
            band=key[1],
            rows=(rows.start, rows.stop),
            columns=(columns.start, columns.stop),
            reason=str(error.reason),
            status=error.status,
            attempts=error.attempts,
            detail=redact(str(error)),
            passing=is_service,
            retry_after_s=error.retry_after_s if isinstance(error, ServiceError) else None,
        )

    @classmethod
    def noted(cls, note: dict[str, Any]) -> Self:
        """The failure behind a note."""
        rows, columns = ((int(one[0]), int(one[1])) for one in (note["rows"], note["columns"]))
        return cls(**{**note, "rows": rows, "columns": columns})


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many assets (Item x band) of a stack may be unreadable."""

    assets: int
    allowed: int

    @classmethod
    def of(cls, recipe: Recipe, ratio: float) -> Self:
        """A fraction of the Recipe's assets, exact at its boundary: 0.1 of 30 are 3."""
        return cls.share(sum(len(item.sources) for item in recipe.items), ratio)

    @classmethod
    def share(cls, assets: int, ratio: float) -> Self:
        """A fraction of so many."""
        return cls(assets=assets, allowed=math.floor(Fraction(str(ratio)) * assets))

    def check(self, failures: Iterable[Failure]) -> None:
        """Make sure that no more assets failed than are allowed.

        Raises:
            OverBudgetError: If more cannot be read, whatever time passes.
            ServiceError: If some of them may be readable later.
        """
        failed = {failure.key: failure for failure in failures}
        if len(failed) <= self.allowed:
            return
        said = (
            f"{len(failed)} of {self.assets} assets cannot be read, {self.allowed} may be "
            f"(`max_soft_errors`): {_listed(failed.values())}"
        )
        passing = [one for one in failed.values() if one.passing]
        if len(failed) - len(passing) > self.allowed or not passing:
            raise OverBudgetError(
                f"{said}. Nothing was written; `geostack rerun` makes it again by reason"
            )
        waits = [one.retry_after_s for one in passing if one.retry_after_s is not None]
        raise ServiceError(
            f"{said}. Nothing was written; try again later",
            retry_after_s=max(waits, default=None),
            status=passing[0].status,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Notes what cannot be read, and passes over it within the budget; travels to the readers."""

    grid: Grid
    budget: Budget
    topic: str = field(default_factory=lambda: f"geostack-failures-{uuid4().hex}")

    def read[T](self, keys: Collection[Key], window: Window, read: Callable[[], T]) -> T | None:
        """What `read` gives; None if these assets cannot be read for a part of the grid.

        Raises:
            GeostackError: If access was refused or the ask is wrong; if nothing may fail, whatever
                `read` raises.
            OverBudgetError, ServiceError: If more assets failed here than the budget allows.
        """
        try:
            return read()
        except ConfigurationError:
            raise
        except GeostackError as error:
            self._pass_over(keys, window, error)
            return None

    def pass_over(self, keys: Collection[Key], error: GeostackError) -> None:
        """Note that these assets cannot be read at all.

        Raises:
            GeostackError: As `read` does.
        """
        self._pass_over(keys, (slice(0, self.grid.height), slice(0, self.grid.width)), error)

    def _pass_over(self, keys: Collection[Key], window: Window, error: GeostackError) -> None:
        found: list[Any] = []
        for key in keys:
            found = note(self.topic, asdict(Failure.of(key, window, error)))
        soft = isinstance(error, IntegrityError | ServiceError)
        if not soft or not self.budget.allowed:
            raise error
        self.budget.check(map(Failure.noted, found))

    def read_onto[T](self, key: Key, area: GeoBox, read: Callable[[], T]) -> T | None:
        """As `read`, for a block of the grid."""
        return self.read([key], self.window(area), read)

    def window(self, area: GeoBox) -> Window:
        """Rows and columns of the grid that a block of it is."""
        top = round((self.grid.top - area.transform.f) / self.grid.resolution)
        left = round((area.transform.c - self.grid.left) / self.grid.resolution)
        rows, columns = area.shape.yx
        return slice(top, top + rows), slice(left, left + columns)

    def failures(self, engine: Engine) -> list[Failure]:
        """Everything that could not be read so far, each once, in a fixed order."""
        noted = (Failure.noted(one) for one in engine.notes(self.topic))
        parts: dict[Any, Failure] = {}
        for failure in noted:
            known = parts.get(failure.part)
            if known is None or failure.attempts > known.attempts:
                parts[failure.part] = failure
        return [parts[part] for part in sorted(parts)]


def untolerant(recipe: Recipe) -> Tolerance:
    """A tolerance for a Recipe of which nothing may fail."""
    return Tolerance(grid=recipe.grid, budget=Budget.of(recipe, 0))


def read_strictly[T](
    tolerance: Tolerance | None, key: Key, area: GeoBox, read: Callable[[], T]
) -> T | None:
    """As `Tolerance.read_onto`; without a tolerance, what `read` gives or raises."""
    return read() if tolerance is None else tolerance.read_onto(key, area, read)


def _listed(failures: Collection[Failure]) -> str:
    named: Sequence[Failure] = sorted(failures, key=lambda one: one.key)[:_NAMED]
    text = ", ".join(f"{one.item} {one.band} ({one.reason})" for one in named)
    return text if len(failures) <= _NAMED else f"{text} and {len(failures) - _NAMED} more"
