"""Harmonized Landsat Sentinel-2 (HLS v2.0): bands, calibration and clear ground.

Items state neither scale nor nodata nor projection; the product's user guide does: reflectance
int16 x 0.0001, brightness temperature int16 x 0.01 [deg C], angles uint16 x 0.01 [deg], nodata
-9999 (angles 40000), Fmask bits with 255 for no data.
"""

from collections.abc import Mapping

from geostack_dagster.domain.bands import Band, BandTable
from geostack_dagster.domain.item import Asset, Item
from geostack_dagster.domain.radiometry import CLASS_CODES, Radiometry, stated
from geostack_dagster.providers.provider import ClearClasses, Collection

# name: (common name, centre [nm], FWHM [nm])
_L30: Mapping[str, tuple[str | None, float, float]] = {
    "B01": ("coastal", 443, 16),
    "B02": ("blue", 482, 60),
    "B03": ("green", 561, 57),
    "B04": ("red", 655, 37),
    "B05": ("nir", 865, 28),
    "B06": ("swir16", 1609, 85),
    "B07": ("swir22", 2201, 187),
    "B09": ("cirrus", 1373, 20),
    "B10": ("lwir11", 10895, 590),
    "B11": ("lwir12", 12005, 1010),
}
_S30: Mapping[str, tuple[str | None, float, float]] = {
    "B01": ("coastal", 442.7, 21),
    "B02": ("blue", 492.4, 66),
    "B03": ("green", 559.8, 36),
    "B04": ("red", 664.6, 31),
    "B05": ("rededge071", 704.1, 15),
    "B06": ("rededge075", 740.5, 15),
    "B07": ("rededge078", 782.8, 20),
    "B08": ("nir", 832.8, 106),
    "B8A": ("nir08", 864.7, 21),
    "B09": ("nir09", 945.1, 20),
    "B10": ("cirrus", 1373.5, 31),
    "B11": ("swir16", 1613.7, 91),
    "B12": ("swir22", 2202.4, 175),
}
_ANGLES = ("SAA", "SZA", "VAA", "VZA")
_THERMAL_FROM_NM = 8000.0

# Fmask: bit 1 cloud, 2 beside cloud, 3 shadow (bit 0, cirrus, is not used in v2.0); snow, water
# and aerosol levels are usable ground.
_BLOCKED = 0b0000_1110
CLEAR = ClearClasses(
    band="Fmask", keep=tuple(value for value in range(255) if not value & _BLOCKED)
)


def radiometry(item: Item, asset: Asset, band: Band) -> Radiometry:
    """The calibration of the user guide, unless the item states one."""
    if band.categorical:
        return CLASS_CODES
    found = stated(item, asset, band)
    if found.evidence:
        return found
    thermal = band.wavelength_nm is not None and band.wavelength_nm > _THERMAL_FROM_NM
    scale = 1e-2 if thermal or band.name in _ANGLES else 1e-4
    return Radiometry(
        scale=scale,
        offset=0.0,
        reason="HLS v2.0 user guide: the items state no scale",
        evidence={"thermal": thermal, "angle": band.name in _ANGLES},
    )


def collection(
    id: str,  # noqa: A002 (the word of STAC)
    sensor: str,
    *,
    aliases: tuple[str, ...] = (),
) -> Collection:
    """HLSL30 (`sensor` "L30", Landsat) or HLSS30 ("S30", Sentinel-2) under an archive's own id."""
    spectral = {"L30": _L30, "S30": _S30}[sensor]
    return Collection(
        id=id,
        title=f"HLS {sensor} v2.0",
        bands=BandTable((*map(_band, spectral.items()), *map(_angle, _ANGLES), _fmask())),
        radiometry=radiometry,
        clear=CLEAR,
        aliases=aliases,
    )


def _band(entry: tuple[str, tuple[str | None, float, float]]) -> Band:
    name, (common_name, wavelength_nm, fwhm_nm) = entry
    return Band(
        name=name,
        keys=(name,),
        href_pattern=f"HLS.*.{name}.tif",
        common_name=common_name,
        wavelength_nm=wavelength_nm,
        fwhm_nm=fwhm_nm,
        resolution_m=30,
        dtype="int16",
        nodata=-9999.0,
    )


def _angle(name: str) -> Band:
    return Band(
        name=name,
        keys=(name,),
        href_pattern=f"HLS.*.{name}.tif",
        resolution_m=30,
        dtype="uint16",
        nodata=40000.0,
    )


def _fmask() -> Band:
    return Band(
        name="Fmask",
        keys=("Fmask",),
        href_pattern="HLS.*.Fmask.tif",
        resolution_m=30,
        dtype="uint8",
        nodata=255.0,
        categorical=True,
    )
