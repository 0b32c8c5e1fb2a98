"""Undoing what was done to values before compression, only where they are wanted.

TIFF 6.0 section 14 (differences along a row) and Adobe's floating point predictor (TIFF technical
note 3). Both run along rows, so rows outside a window cost nothing.
"""

from dataclasses import dataclass

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from geostack_dagster.stack.reader.codec import Raw
from geostack_dagster.stack.reader.level import Level, Predictor

_CODEC_DISTANCES = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class Cut:
    """The part of a tile that is wanted, and one 0-based sample of it."""

    top: int
    bottom: int
    left: int
    right: int
    sample: int = 0


def restore(level: Level, raw: Raw, cut: Cut, out: NDArray[np.generic]) -> None:
    """Write the original values of the cut into `out`, of the level's type and the cut's size.

    `raw` stays as it is, so that several cuts can be taken from one tile.
    """
    if level.predictor == Predictor.DIFFERENCE:
        _sum_differences(level, raw, cut, out)
    elif level.predictor == Predictor.FLOAT:
        _join_float_bytes(level, raw, cut, out)
    else:
        part = raw[cut.top : cut.bottom, cut.left : cut.right, cut.sample]
        np.copyto(out, _native(level, part))


def _sum_differences(level: Level, raw: Raw, cut: Cut, out: NDArray[np.generic]) -> None:
    # Sums wrap modulo 2^bits whatever the type, floats included: they are sums of bit patterns.
    unsigned = np.dtype(f"u{np.dtype(level.dtype).itemsize}")
    rows = _native(level, raw[cut.top : cut.bottom, : cut.right, cut.sample]).view(unsigned)
    target = out.view(unsigned)
    # Six times as fast as numpy's own accumulate.
    if cut.left == 0:
        imagecodecs.delta_decode(rows, axis=1, out=target)
    else:
        np.copyto(target, imagecodecs.delta_decode(rows, axis=1)[:, cut.left :])


def _join_float_bytes(level: Level, raw: Raw, cut: Cut, out: NDArray[np.generic]) -> None:
    # Bytes of a row are sorted by significance and then differenced: no column stands alone.
    rows = np.ascontiguousarray(raw[cut.top : cut.bottom]).reshape(cut.bottom - cut.top, -1)
    samples = level.samples_per_tile
    if samples in _CODEC_DISTANCES:
        joined = imagecodecs.floatpred_decode(rows, axis=-1, dist=samples)
    else:
        joined = _join(rows, samples)
    values = joined.reshape(rows.shape[0], -1, samples)
    np.copyto(out, values[:, cut.left : cut.right, cut.sample])


def _join(rows: Raw, samples: int) -> Raw:
    width, count = rows.dtype.itemsize, rows.shape[0]
    planes = rows.view(np.uint8).reshape(count, -1, samples)
    planes = np.add.accumulate(planes, axis=1, dtype=np.uint8).reshape(count, width, -1)
    swapped = np.ascontiguousarray(planes.transpose(0, 2, 1))
    return swapped.reshape(count, -1).view(f">f{width}").astype(rows.dtype)


def _native(level: Level, part: Raw) -> Raw:
    return part.byteswap() if level.order == ">" and part.dtype.itemsize > 1 else part
