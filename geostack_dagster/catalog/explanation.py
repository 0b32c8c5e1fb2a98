"""What `explain` says of an Item, as plain values."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class BandExplanation:
    """One channel: where its pixels are and what their numbers mean; None is unknown."""

    name: str
    asset: str
    index: int
    """Band number inside the file, 1-based."""
    common_name: str | None
    wavelength_nm: float | None
    href: str
    auth: str | None
    dtype: str | None
    nodata: float | None
    scale: float
    offset: float
    crs: str | None
    shape: tuple[int, int] | None
    transform: tuple[float, ...] | None
    assumed: tuple[str, ...]
    """Facts that the Item does not state and the provider record supplies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileExplanation:
    """An asset that is not read as a band: a thumbnail, metadata, another format."""

    asset: str
    href: str
    auth: str | None
    media_type: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RadiometryDecision:
    """A calibration, why it was chosen, and the bands it is for."""

    bands: tuple[str, ...]
    scale: float
    offset: float
    reason: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything this project makes of one Item."""

    id: str
    collection: str | None
    provider: str | None
    recognised_by: str
    known_collection: bool
    """Whether a record describes the collection; if not, bands are read off the assets."""
    acquired: str | None
    solar_day: str | None
    identity: tuple[str, ...]
    bbox: tuple[float, float, float, float] | None
    geometry: str
    radiometry: tuple[RadiometryDecision, ...]
    bands: tuple[BandExplanation, ...]
    files: tuple[FileExplanation, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON form; what JSON has no number for is written as a string (`"nan"`)."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity, and asdict leaves mappings of any kind."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
