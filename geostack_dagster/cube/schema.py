"""What a cube holds: a pinned grid, a regular axis of solar days, and variables in whole chunks.

Dims are `time, y, x`. The time axis is preallocated in steps of `EXTENT` slots and only ever
grows, so a slot's index never changes and a slot that holds nothing costs nothing.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Self, override

import numpy as np

from geostack_dagster.domain.days import Window
from geostack_dagster.domain.grid import Grid
from geostack_dagster.errors import ConfigurationError

EXTENT = 1024
"""Slots that are preallocated at a time (2.8 years of days)."""

BOOKKEEPING = ("acquired", "item_count", "fingerprint", "coverage", "made_from", "ledger")
"""Variables of a cube that describe its slots; see `slots`."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_RESERVED = ("time", "y", "x", "spatial_ref", *BOOKKEEPING)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Variable:
    """One measured quantity: `value = stored * scale_factor + add_offset` where stored is valid."""

    name: str
    dtype: str
    fill_value: float
    """Stored where there is no value; NaN is usual for floats."""
    scale_factor: float | None = None
    add_offset: float | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    """Descriptive attributes, such as `long_name` and `units`; free to change later."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in _RESERVED:
            raise ConfigurationError(
                f"variable name {self.name!r} must be letters, digits, '_', '.' or '-' and none of "
                f"{', '.join(_RESERVED)}"
            )
        kind = _numeric(self.name, self.dtype)
        if not _representable(kind, self.fill_value):
            raise ConfigurationError(
                f"variable {self.name!r}: fill_value {self.fill_value} does not fit {self.dtype}"
            )
        if self.scale_factor == 0:
            raise ConfigurationError(f"variable {self.name!r}: scale_factor must not be 0")

    @override
    def __eq__(self, other: object) -> bool:
        """Equal in every field; a NaN fill value equals another."""
        if not isinstance(other, Variable):
            return NotImplemented
        return (self.name, _variable_json(self)) == (other.name, _variable_json(other))

    __hash__ = None  # type: ignore[assignment]  # attributes are a mapping

    @property
    def stored(self) -> np.dtype[Any]:
        """Data type on disk, little-endian."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def fill(self) -> Any:
        """`fill_value` as a scalar of the stored type."""
        return np.dtype(self.dtype).type(self.fill_value)

    @property
    def is_flags(self) -> bool:
        """Whether it describes pixels by CF flags and measures nothing.

        None of its values is missing, and none counts as coverage.
        """
        return "flag_masks" in self.attrs

    @property
    def packed(self) -> bool:
        """Whether physical values are stored as scaled integers."""
        return self.stored.kind in "iu" and (
            self.scale_factor is not None or self.add_offset is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CubeSchema:
    """The template of one product: everything about a cube but its values."""

    name: str
    """Product, and group in the store."""
    grid: Grid
    start: date
    """Solar day of slot 0."""
    variables: tuple[Variable, ...]
    chunk: tuple[int, int] = (512, 512)
    """Rows and columns of a chunk; along time a chunk is one slot."""
    title: str = ""
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"cube name {self.name!r} must be letters, digits, '_', '.' or '-'; it is a folder"
            )
        names = [variable.name for variable in self.variables]
        if not names or len(set(names)) < len(names):
            raise ConfigurationError(
                f"cube {self.name!r} needs variables with distinct names; found {names}"
            )
        if min(self.chunk) < 1:
            raise ConfigurationError(f"cube {self.name!r}: chunk {self.chunk} is not positive")
        shape = self.grid.shape
        clipped = (min(self.chunk[0], shape[0]), min(self.chunk[1], shape[1]))
        object.__setattr__(self, "chunk", clipped)

    @property
    def chunks(self) -> tuple[int, int]:
        """Chunk rows and chunk columns of one slot."""
        return (
            math.ceil(self.grid.height / self.chunk[0]),
            math.ceil(self.grid.width / self.chunk[1]),
        )

    @property
    def measured(self) -> tuple[Variable, ...]:
        """Variables that hold measured values."""
        return tuple(variable for variable in self.variables if not variable.is_flags)

    def variable(self, name: str) -> Variable:
        """The variable of this name.

        Raises:
            ConfigurationError: If the cube has none.
        """
        for variable in self.variables:
            if variable.name == name:
                return variable
        known = ", ".join(variable.name for variable in self.variables)
        raise ConfigurationError(f"cube {self.name!r} has no variable {name!r}; it has {known}")

    def slot(self, day: date) -> int:
        """Index of a solar day on the time axis.

        Raises:
            ConfigurationError: If the day lies before the cube's first.
        """
        if day < self.start:
            raise ConfigurationError(
                f"{day} lies before the first day {self.start} of cube {self.name!r}; a time axis "
                "cannot grow backwards: choose an earlier `start` for a new cube"
            )
        return (day - self.start).days

    def day(self, slot: int) -> date:
        """Solar day of a slot."""
        return self.start + timedelta(days=slot)

    def slots(self, window: Window) -> range:
        """Slots of a partition."""
        return range(self.slot(window.start), self.slot(window.start) + len(window.days))

    def to_json(self) -> dict[str, Any]:
        """JSON form without NaN; `from_json` reads it back."""
        return {
            "name": self.name,
            "grid": self.grid.to_json(),
            "start": self.start.isoformat(),
            "chunk": list(self.chunk),
            "title": self.title,
            "attrs": dict(self.attrs),
            "variables": {variable.name: _variable_json(variable) for variable in self.variables},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Schema written by `to_json`."""
        return cls(
            name=document["name"],
            grid=Grid.from_json(document["grid"]),
            start=date.fromisoformat(document["start"]),
            chunk=(document["chunk"][0], document["chunk"][1]),
            title=document["title"],
            attrs=document["attrs"],
            variables=tuple(
                Variable(name=name, **{**stated, "fill_value": float(stated["fill_value"])})
                for name, stated in document["variables"].items()
            ),
        )


def _variable_json(variable: Variable) -> dict[str, Any]:
    fill = variable.fill_value
    return {
        "dtype": variable.dtype,
        "fill_value": fill if math.isfinite(fill) else str(fill),
        "scale_factor": variable.scale_factor,
        "add_offset": variable.add_offset,
        "attrs": dict(variable.attrs),
    }


def _numeric(name: str, dtype: str) -> np.dtype[Any]:
    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise ConfigurationError(f"variable {name!r}: {dtype!r} is not a data type") from error
    if found.kind not in "iuf":
        raise ConfigurationError(
            f"variable {name!r}: data type {dtype!r} is not an integer or a float"
        )
    return found


def _representable(dtype: np.dtype[Any], value: float) -> bool:
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    return math.isfinite(value) and value == int(value) and limits.min <= value <= limits.max
