"""Granules that cannot be read: how many may be missed, and what the ledger says of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Self

from geostack_dagster.cube.ledger import LedgerEntry, LedgerRow
from geostack_dagster.domain.hrefs import redact
from geostack_dagster.errors import GeostackError
from geostack_dagster.pipeline.attempt import status_of
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.stack.recipe import Skipped
from geostack_dagster.stack.swath.recipe import SwathItem, SwathRecipe
from geostack_dagster.stack.tolerance import Budget, Failure

_ALL = (slice(0, 0), slice(0, 0))


@dataclass
class Misses:
    """What was missed on a visit; the budget counts granules, for one is read whole or not at all.

    Told of a granule and an error, it raises the error if nothing may be missed.
    """

    budget: Budget
    failures: list[Failure] = field(default_factory=list)
    found: list[LedgerRow] = field(default_factory=list)

    @classmethod
    def of(cls, spec: PipelineSpec, recipe: SwathRecipe) -> Self:
        """Nothing missed yet of a Recipe."""
        granules = len(recipe.items) + len(recipe.unread)
        return cls(Budget.share(granules, spec.max_soft_errors))

    def __call__(self, item: SwathItem | Skipped, error: GeostackError) -> list[LedgerEntry]:
        """What to say of a granule that cannot be read.

        Raises:
            GeostackError: The error, if nothing may be missed.
            OverBudgetError, ServiceError: If too much was.
        """
        name, day = (item.id, item.day) if isinstance(item, SwathItem) else (item.item, item.day)
        entry = LedgerEntry(
            item=name,
            asset="",
            status=status_of(error),
            reason=str(error.reason),
            http_status=error.status,
            attempts=error.attempts,
            detail=redact(str(error)),
        )
        self.failures.append(Failure.of((name, ""), _ALL, error))
        self.found.append(LedgerRow(day or date.min, entry))
        if not self.budget.allowed:
            raise error
        self.budget.check(self.failures)
        return [entry]

    def rows(self) -> list[LedgerRow]:
        """The ledger of what was missed."""
        return list(self.found)

    @property
    def facts(self) -> dict[str, Any]:
        """Numbers for the report."""
        assets, failed = self.budget.assets, len(self.found)
        return {
            "assets": assets,
            "soft_errors": failed,
            "soft_error_ratio": failed / assets if assets else 0.0,
        }

    @property
    def note(self) -> str:
        """A clause about what was missed."""
        reasons: Sequence[str] = sorted({row.entry.reason or "" for row in self.found})
        return (
            f"{len(self.found)} of {self.budget.assets} granules unreadable ({', '.join(reasons)})"
        )
