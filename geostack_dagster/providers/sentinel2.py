"""Sentinel-2 facts that all archives share: bands, wavelengths and scene classes."""

from collections.abc import Mapping

from geostack_dagster.domain.bands import Band, BandTable
from geostack_dagster.providers.provider import ClearClasses

# name: (common name, centre [nm], FWHM [nm], native pixel [m]); S2A, ESA spectral responses.
_OPTICAL: Mapping[str, tuple[str, float, float, float]] = {
    "B01": ("coastal", 442.7, 21, 60),
    "B02": ("blue", 492.4, 66, 10),
    "B03": ("green", 559.8, 36, 10),
    "B04": ("red", 664.6, 31, 10),
    "B05": ("rededge071", 704.1, 15, 20),
    "B06": ("rededge075", 740.5, 15, 20),
    "B07": ("rededge078", 782.8, 20, 20),
    "B08": ("nir", 832.8, 106, 10),
    "B8A": ("nir08", 864.7, 21, 20),
    "B09": ("nir09", 945.1, 20, 60),
    "B10": ("cirrus", 1373.5, 31, 60),
    "B11": ("swir16", 1613.7, 91, 20),
    "B12": ("swir22", 2202.4, 175, 20),
}
# name: (dtype, native pixel [m], categorical)
_ANCILLARY: Mapping[str, tuple[str, float, bool]] = {
    "SCL": ("uint8", 20, True),
    "AOT": ("uint16", 10, False),
    "WVP": ("uint16", 10, False),
}

# Scene classification: 4 vegetation, 5 bare, 6 water, 7 unclassified, 11 snow or ice are usable;
# 3 shadow, 8 and 9 cloud and 10 cirrus are not, nor are 0 nodata, 1 defective and 2 dark.
CLEAR = ClearClasses(band="SCL", keep=(4, 5, 6, 7, 11), buffer_around=(3, 8, 9, 10))

# 2 dark, 4 vegetation, 6 water. Not 3: the shadow of a cloud may lie on snow.
DARK: Mapping[str, tuple[int, ...]] = {
    "red": (2, 4, 6),
    "blue": (2, 4, 6),
    "swir22": (2, 6),
    "nir": (2, 6),
}
"""Classes of Level-2A that reflect next to nothing in a band."""
DARK_L1C: Mapping[str, tuple[int, ...]] = {"swir22": (), "swir16": (), "red": ()}
"""Level-1C has no classes; reflectance at the top of the atmosphere is never negative."""

L1C_BANDS = tuple(_OPTICAL)
"""Names of all bands of a Level-1C product."""
L2A_BANDS = (*(name for name in _OPTICAL if name != "B10"), *_ANCILLARY)
"""Names of all bands of a Level-2A product."""
NATIVE_M: Mapping[str, float] = {
    **{name: facts[3] for name, facts in _OPTICAL.items()},
    **{name: facts[1] for name, facts in _ANCILLARY.items()},
}
"""Native pixel size of each band [m]."""


def band_table(keys: Mapping[str, tuple[str, ...]]) -> BandTable:
    """Bands of one archive's Sentinel-2 collection, given its asset keys for each band."""
    bands = [
        Band(
            name=name,
            keys=keys[name],
            common_name=common_name,
            wavelength_nm=wavelength_nm,
            fwhm_nm=fwhm_nm,
            resolution_m=resolution_m,
        )
        for name, (common_name, wavelength_nm, fwhm_nm, resolution_m) in _OPTICAL.items()
        if name in keys
    ]
    bands += [
        Band(
            name=name,
            keys=keys[name],
            resolution_m=resolution_m,
            dtype=dtype,
            categorical=categorical,
        )
        for name, (dtype, resolution_m, categorical) in _ANCILLARY.items()
        if name in keys
    ]
    return BandTable(tuple(bands))
