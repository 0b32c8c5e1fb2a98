"""NDVI, EVI and NDWI of an encoded stack, beside numpy, xarray and spyndex.

From 4 bands x 12 dates of 2048 x 2048 uint16 in memory and a clear mask to float32 maps in memory.
The floor copies as many bytes as have to be read and written.
"""

from collections.abc import Callable

import numpy as np
import spyndex
import xarray as xr
from _report import arguments, measure, report

from geostack_dagster.inference.indices import Encoding, index_kernel, index_maps

NAMES = ("NDVI", "EVI", "NDWI")
BANDS = ("blue", "green", "red", "nir")
SYMBOLS = dict(zip(BANDS, "BGRN", strict=True))
ENCODING = Encoding(bands=BANDS, scale=1e-4, offset=-0.1)


def world(dates: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    scene = rng.integers(1200, 6000, (len(BANDS), size, size), dtype=np.uint16)
    scene[0] = 1200 + scene[0] // 8  # blue is dark over land: EVI's denominator stays off zero
    encoded = np.stack([scene + np.uint16(7 * date) for date in range(dates)])
    encoded[:, :, :50] = 0
    clear = np.stack([rng.random((size, size)) < 0.8] * dates)
    return encoded, clear


def with_numpy(encoded: np.ndarray, clear: np.ndarray) -> dict[str, np.ndarray]:
    """One date at a time, in float32: what a careful person writes."""
    maps = {name: np.empty(clear.shape, np.float32) for name in NAMES}
    for date in range(len(encoded)):
        stack = encoded[date]
        reflectance = stack.astype(np.float32)
        reflectance *= np.float32(1e-4)
        reflectance -= np.float32(0.1)
        np.copyto(reflectance, np.nan, where=stack == 0)
        blue, green, red, nir = reflectance
        for name, numerator, denominator in (
            ("NDVI", nir - red, nir + red),
            ("EVI", 2.5 * (nir - red), nir + 6 * red - 7.5 * blue + 1),
            ("NDWI", green - nir, green + nir),
        ):
            with np.errstate(divide="ignore", invalid="ignore"):
                values = numerator / denominator
            valid = (np.abs(denominator) > 0.01) & clear[date]
            maps[name][date] = np.where(valid, values, np.float32(np.nan))
    return maps


def _bands(encoded: np.ndarray, clear: np.ndarray) -> dict[str, xr.DataArray]:
    stack = xr.DataArray(encoded, dims=("time", "band", "y", "x"))
    mask = xr.DataArray(clear, dims=("time", "y", "x"))
    reflectance = (stack * np.float32(1e-4) - np.float32(0.1)).where((stack != 0) & mask)
    return {role: reflectance.isel(band=number) for number, role in enumerate(BANDS)}


def with_xarray(encoded: np.ndarray, clear: np.ndarray) -> dict[str, xr.DataArray]:
    blue, green, red, nir = _bands(encoded, clear).values()
    evi = nir + 6 * red - 7.5 * blue + 1
    return {
        "NDVI": ((nir - red) / (nir + red)).where(abs(nir + red) > 0.01),
        "EVI": (2.5 * (nir - red) / evi).where(abs(evi) > 0.01),
        "NDWI": ((green - nir) / (green + nir)).where(abs(green + nir) > 0.01),
    }


def with_spyndex(encoded: np.ndarray, clear: np.ndarray) -> xr.DataArray:
    bands = {SYMBOLS[role]: values for role, values in _bands(encoded, clear).items()}
    constants = {"g": 2.5, "C1": 6.0, "C2": 7.5, "L": 1.0}
    return spyndex.computeIndex(index=list(NAMES), params=bands | constants)


def floor_of(encoded: np.ndarray, clear: np.ndarray) -> Callable[[], None]:
    """Reads and writes as many bytes as the task needs, into memory that exists already."""
    target = np.zeros(len(NAMES) * clear.size, np.float32).view(np.uint8)
    parts = (encoded.reshape(-1).view(np.uint8), clear.reshape(-1).view(np.uint8))

    def copied() -> None:
        start = 0
        for part in parts:
            target[start : start + part.size] = part
            start += part.size
        target[start:] = 1

    return copied


def main() -> None:
    quick = arguments().quick
    dates, size = (2, 512) if quick else (12, 2048)
    encoded, clear = world(dates, size)

    def ours() -> dict[str, np.ndarray]:
        return index_maps(NAMES, encoded, clear, encoding=ENCODING)

    reference = with_numpy(encoded[:1], clear[:1])
    for name, values in ours().items():  # compiles, and shows that all compute the same
        np.testing.assert_allclose(values[:1], reference[name], rtol=1e-4, atol=1e-5)
    theirs = {"numpy": with_numpy, "xarray": with_xarray, "spyndex": with_spyndex}
    report(
        "Indices from encoded integers",
        [
            measure(
                f"{'+'.join(NAMES)}, {len(BANDS)} x {dates} x {size}^2 uint16",
                ours,
                peers={name: (lambda run=run: run(encoded, clear)) for name, run in theirs.items()},
                floor=floor_of(encoded, clear),
                repeats=1 if quick else 3,
                note=f"{index_kernel(NAMES, BANDS).compilations} compilation",
            )
        ],
    )


if __name__ == "__main__":
    main()
