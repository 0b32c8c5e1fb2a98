"""Pixel evidence for the offset of each Item: what its darkest ground says of its calibration.

Water, shadow and vegetation (in the red and the blue) reflect next to nothing, whatever sensor and
season: decoded with the right offset their reflectance lies between 0 and 0.08. An offset of -0.1
that the archive had subtracted already moves it below 0; one that should have been subtracted and
was not leaves hardly anything below 0.08. Both thresholds lie well away from honest ground:

* `BELOW`: real Level-2A data go below 0 where correction overdoes it. Of a tile of baseline 04.00
  (S2A T32TLS, B01) 0.2 % of all pixels lie below -0.02, and 2 % of its darkest tenth; subtracted
  twice, nearly all dark ground does. 10 % (`BELOW_SHARE`) separates them.
* `DIM`: more than 5 % (`DIM_SHARE`) of honest dark ground reflects less than 0.08, in sparse
  crops and turbid water too; of ground that is 0.1 too bright only what was overcorrected does,
  2 % of that tile's darkest tenth.

The darkest 0.1 % are shown and judge nothing: of that honest tile they begin at -0.042. Every band
of an Item has the same offset, so all bands must agree before an Item is contradicted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from geostack_dagster.domain.radiometry import Radiometry

BELOW, BELOW_SHARE = -0.02, 0.1
"""Reflectance that dark ground hardly falls below, and the share from which on it does."""
DIM, DIM_SHARE = 0.08, 0.05
"""Reflectance that dark ground mostly stays below, and the share under which it does not."""
ENOUGH = 500
"""Dark pixels of a band that count as evidence."""


class Verdict(StrEnum):
    """What the pixels say of what the metadata say."""

    CONTRADICTED = "contradicted"
    SOUND = "sound"
    UNCLEAR = "not enough evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkPixels:
    """Dark ground of one band, in pixels that one of some Items filled."""

    items: tuple[str, ...]
    """One Item; several where they overlap and nobody knows whose pixel counts."""
    band: str
    classified: bool
    """Whether scene classes say that the ground is dark; otherwise it is all there is."""
    count: int
    least: float
    """0.1 % percentile of reflectance as decoded."""
    median: float
    below: float
    """Share of pixels with a reflectance below `BELOW`."""
    dim: float
    """Share of pixels with a reflectance below `DIM`."""

    def to_json(self) -> dict[str, Any]:
        """JSON form; `from_json` reads it back."""
        return {**asdict(self), "items": list(self.items)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Evidence written by `to_json`."""
        return cls(**{**document, "items": tuple(document["items"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemVerdict:
    """Metadata and pixels of one Item side by side."""

    item: str
    verdict: Verdict
    reason: str
    radiometry: Radiometry
    """What was decided, and the metadata behind it."""
    pixels: tuple[DarkPixels, ...] = ()
    """What the verdict rests on."""


def judge(
    found: Sequence[DarkPixels], decided: Mapping[str, Radiometry]
) -> tuple[ItemVerdict, ...]:
    """A verdict for each Item: by pixels that are its own, else by those it shares.

    Args:
        found: Dark pixels by band and by the Items that may have filled them.
        decided: Calibration of the reflectance of each Item.
    """
    return tuple(_judged(item, radiometry, found) for item, radiometry in decided.items())


def _judged(item: str, radiometry: Radiometry, found: Sequence[DarkPixels]) -> ItemVerdict:
    for is_own in (True, False):
        pixels = [one for one in found if item in one.items and (len(one.items) == 1) is is_own]
        telling = tuple(one for one in pixels if one.count >= ENOUGH)
        if telling:
            verdict, reason = _verdict(radiometry.offset, telling)
            return ItemVerdict(
                item=item, verdict=verdict, reason=reason, radiometry=radiometry, pixels=telling
            )
    count = max((one.count for one in found if item in one.items), default=0)
    return ItemVerdict(
        item=item,
        verdict=Verdict.UNCLEAR,
        reason=f"{count} dark pixels; {ENOUGH} of a band are evidence",
        radiometry=radiometry,
    )


def _verdict(offset: float, pixels: Sequence[DarkPixels]) -> tuple[Verdict, str]:
    agree = all if all(one.classified for one in pixels) else any
    least = ", ".join(f"{one.band} {one.least:.3f}" for one in pixels)
    if offset < 0:
        if agree(one.below > BELOW_SHARE for one in pixels):
            return Verdict.CONTRADICTED, (
                f"the offset {offset:g} is subtracted twice: the metadata say that the pixels hold "
                f"it, and dark ground begins at {least}"
            )
        return Verdict.SOUND, f"dark ground begins at {least} with the offset {offset:g}"
    if all(one.dim < DIM_SHARE for one in pixels):
        if not all(one.classified for one in pixels):
            return Verdict.UNCLEAR, "no dark ground, and no classes that say where it should be"
        return Verdict.CONTRADICTED, (
            "the pixels hold an offset of 0.1 that the metadata deny: dark ground begins at "
            f"{least} where nothing is subtracted"
        )
    return Verdict.SOUND, f"dark ground begins at {least} with nothing subtracted"


def contradicted(verdicts: Iterable[ItemVerdict]) -> list[ItemVerdict]:
    """Items whose pixels say otherwise than their metadata."""
    return [one for one in verdicts if one.verdict is Verdict.CONTRADICTED]


def is_suspicious(found: Iterable[DarkPixels]) -> bool:
    """Whether any dark ground lies where no honest calibration puts it; cheap, before judging."""
    return any(
        one.count >= ENOUGH and (one.below > BELOW_SHARE or one.dim < DIM_SHARE) for one in found
    )
