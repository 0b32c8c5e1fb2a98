"""One line of the doctor's report."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """Works, but not as well or not for everything."""
    FAILURE = "failure"
    SKIPPED = "skipped"
    """Could not be tried because of an earlier failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found."""

    provider: str
    check: str
    verdict: Verdict
    message: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
