"""How pixels are coded in a stack: one encoding per band, whatever the Items say.

Surface reflectance is uint16 with scale 1e-4, offset -0.1 and fill 0, ESA's own coding since
baseline 04.00. Every Sentinel-2 Item maps onto it without loss: older and harmonised ones by adding
1000 to their digital numbers. The encoding is a function of the band alone, never of the Items at
hand, so all partitions of a cube agree.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from geostack_dagster.domain.bands import Band
from geostack_dagster.domain.item import number
from geostack_dagster.errors import ConfigurationError

type Pixels = npt.NDArray[Any]
type Valid = npt.NDArray[np.bool_]

_SOLAR_LIMIT_NM = 3000.0  # beyond, a band measures temperature, not reflectance


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """`value = code * scale + offset` where `code != fill`; class codes have neither."""

    dtype: str
    fill: float
    """What marks a missing pixel; NaN for floats."""
    scale: float = 1.0
    offset: float = 0.0
    units: str | None = None
    categorical: bool = False

    def __post_init__(self) -> None:
        # 0 and 0.0 are one encoding and must give one fingerprint.
        object.__setattr__(self, "fill", float(self.fill))
        kind = np.dtype(self.dtype)
        if kind.kind == "f":
            if not math.isnan(self.fill) or (self.scale, self.offset) != (1.0, 0.0):
                raise ConfigurationError(
                    f"a {self.dtype} encoding holds values themselves: fill NaN, scale 1, offset 0"
                )
            return
        if kind.kind not in "iu":
            raise ConfigurationError(f"pixels cannot be coded as {self.dtype}")
        bounds = np.iinfo(kind)
        # A fill inside the range would swallow the valid value that is coded like it.
        at_edge = self.fill in (bounds.min, bounds.max)
        if not at_edge and not (self.categorical and bounds.min < self.fill < bounds.max):
            raise ConfigurationError(
                f"fill {self.fill} of a {self.dtype} encoding must be {bounds.min} or {bounds.max}"
            )
        if self.scale == 0:
            raise ConfigurationError("the scale of an encoding must not be 0")

    @property
    def fill_value(self) -> Any:
        """The fill as a scalar of the encoding's dtype."""
        return np.dtype(self.dtype).type(self.fill)

    @property
    def is_float(self) -> bool:
        """Whether values are stored as they are."""
        return np.dtype(self.dtype).kind == "f"

    def to_json(self) -> dict[str, Any]:
        """JSON form; `from_json` reads it back."""
        document = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**document, "fill": "nan" if math.isnan(self.fill) else self.fill}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Encoding written by `to_json`."""
        fill = number(document["fill"])
        return cls(**{**document, "fill": math.nan if fill is None else fill})


REFLECTANCE = Encoding(dtype="uint16", fill=0, scale=1e-4, offset=-0.1, units="1")
VALUES = Encoding(dtype="float32", fill=math.nan)


def encoding_of(band: Band) -> Encoding:
    """Encoding of a band in every stack and cube.

    Class codes keep their dtype (fill: the record's nodata, else the largest code); reflectance
    (integer pixels at solar wavelengths) is `REFLECTANCE`; everything else is float32 with NaN.
    """
    is_integer = np.dtype(band.dtype).kind in "iu"
    if band.categorical:
        dtype = band.dtype if is_integer else "uint8"
        fill = np.iinfo(dtype).max if band.nodata is None else band.nodata
        return Encoding(dtype=dtype, fill=fill, categorical=True)
    if is_integer and band.wavelength_nm is not None and band.wavelength_nm < _SOLAR_LIMIT_NM:
        return REFLECTANCE
    return VALUES


def encode(
    pixels: Pixels, valid: Valid, encoding: Encoding, *, scale: float, offset: float
) -> Pixels:
    """Digital numbers of one Item in the stack's encoding; fill where not valid.

    `DN_out = DN_in + round((offset_in - offset_out) / scale)` where both scales agree, computed in
    a wider integer so `uint16 - 1000` does not wrap, saturated to the codes that are not the fill.
    NaN is never valid.
    """
    if pixels.dtype.kind == "f":
        valid = valid & ~np.isnan(pixels)
    if encoding.categorical:
        return _class_codes(pixels, valid, encoding)
    if encoding.is_float:
        values = pixels.astype(np.float64) * scale + offset
        return np.where(valid, values, np.nan).astype(encoding.dtype)
    codes = _shifted(pixels, encoding, scale=scale, offset=offset)
    low, high = _codes(encoding)
    np.clip(codes, low, high, out=codes)
    coded = codes.astype(encoding.dtype)
    coded[~valid] = encoding.fill_value
    return coded


def values_of(codes: Pixels, encoding: Encoding) -> Pixels:
    """Values as float32, NaN where `codes` is the fill."""
    if encoding.is_float:
        return codes.astype(np.float32, copy=False)
    values = np.multiply(codes, encoding.scale, dtype=np.float32)
    if encoding.offset:
        values += np.float32(encoding.offset)
    values[codes == encoding.fill_value] = np.nan
    return values


def paste(target: Pixels, block: Pixels, encoding: Encoding) -> None:
    """Write `block` where `target` is still missing: the first valid pixel of a day stays."""
    missing = np.isnan(target) if encoding.is_float else target == encoding.fill_value
    np.copyto(target, block, where=missing)


def _class_codes(pixels: Pixels, valid: Valid, encoding: Encoding) -> Pixels:
    bounds = np.iinfo(encoding.dtype)
    known = valid & (pixels >= bounds.min) & (pixels <= bounds.max)
    return np.where(known, pixels, encoding.fill_value).astype(encoding.dtype)


def _shifted(pixels: Pixels, encoding: Encoding, *, scale: float, offset: float) -> Pixels:
    if pixels.dtype.kind in "iu" and math.isclose(scale, encoding.scale, rel_tol=1e-9):
        shift = round((offset - encoding.offset) / encoding.scale)
        wide = np.int32 if pixels.dtype.itemsize <= 2 else np.int64
        return np.add(pixels, shift, dtype=wide)
    codes = (pixels.astype(np.float64) * scale + (offset - encoding.offset)) / encoding.scale
    low, high = _codes(encoding)
    # NaN and infinities are clipped before the cast, which would be undefined for them.
    return np.rint(np.nan_to_num(np.clip(codes, low, high), nan=low)).astype(np.int64)


def _codes(encoding: Encoding) -> tuple[int, int]:
    bounds = np.iinfo(encoding.dtype)
    low = bounds.min + (encoding.fill == bounds.min)
    return int(low), int(bounds.max - (encoding.fill == bounds.max))
