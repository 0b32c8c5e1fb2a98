"""EnMAP at DLR's EOC Geoservice: 224-band surface reflectance as COGs, behind a login.

Search needs no account, files do. Properties are written as strings ("72" percent of cloud), the
conformance classes in a form of their own, filters are taken as CQL2 text only, and nodata is
stated as `enmap:nodata` in the properties alone.
"""

from geostack_dagster.auth.signer import AuthScheme
from geostack_dagster.domain.bands import Band, BandTable
from geostack_dagster.domain.item import Asset, Item, number
from geostack_dagster.domain.radiometry import CLASS_CODES, Radiometry
from geostack_dagster.providers.enmap_bands import BANDS
from geostack_dagster.providers.provider import Collection, FilterDialect, Limits, Provider

_NODATA = -32768.0
_REFLECTANCE_SCALE = 1e-4
# Common names go to the band nearest to Sentinel-2's centre, so that indices find their bands.
_COMMON = {
    "coastal": 443.0,
    "blue": 492.0,
    "green": 560.0,
    "red": 665.0,
    "rededge071": 704.0,
    "rededge075": 740.0,
    "rededge078": 783.0,
    "nir": 833.0,
    "nir08": 865.0,
    "swir16": 1614.0,
    "swir22": 2202.0,
}
_QUALITY = (
    *("quality_classes", "quality_cloud", "quality_cloud_shadow", "quality_haze"),
    *("quality_cirrus", "quality_snow", "quality_testflags", "defective_pixel_mask"),
)


def reflectance(item: Item, asset: Asset, band: Band) -> Radiometry:
    """Gain and offset of the band's own channel: `enmap:gain_of_band`, `enmap:offset_of_band`."""
    if band.categorical:
        return CLASS_CODES
    described = asset.get("eo:bands")
    key = band.asset_key(item)
    channel = None if key is None else band.channel(item, key)
    if channel is None or not isinstance(described, list):
        return Radiometry(
            scale=_REFLECTANCE_SCALE,
            offset=0.0,
            reason="Level-2A reflectance is coded with 10000 counts to the unit",
            evidence={},
            warnings=(f"{band.name}: the item describes no band at {band.wavelength_nm:g} nm",),
        )
    entry = described[channel - 1]
    gain, offset = (
        number(entry.get("enmap:gain_of_band")),
        number(entry.get("enmap:offset_of_band")),
    )
    return Radiometry(
        scale=_REFLECTANCE_SCALE if gain is None else gain,
        offset=offset or 0.0,
        reason="the gain and offset that the item states for the band",
        evidence={"enmap:gain_of_band": gain, "enmap:offset_of_band": offset},
    )


def _bands() -> BandTable:
    names = {
        min(BANDS, key=lambda band: abs(band[0] - wanted_nm)): common_name
        for common_name, wanted_nm in _COMMON.items()
    }
    spectral = [
        Band(
            name=f"nm{centre:.1f}",
            keys=("image",),
            common_name=names.get((centre, width)),
            wavelength_nm=centre,
            fwhm_nm=width,
            resolution_m=30,
            dtype="int16",
            nodata=_NODATA,
            index=position,
            by_wavelength=True,
        )
        for position, (centre, width) in enumerate(BANDS, start=1)
    ]
    quality = [
        Band(
            name=name,
            keys=(name,),
            resolution_m=30,
            dtype="uint8",
            nodata=None,
            categorical=True,
        )
        for name in _QUALITY
    ]
    return BandTable((*spectral, *quality))


ENMAP = Provider(
    slug="enmap",
    title="EnMAP at DLR EOC",
    description=__doc__,
    stac_url="https://geoservice.dlr.de/eoc/ogc/stac/v1",
    filter_dialect=FilterDialect.CQL2_TEXT,
    numbers_are_text=True,
    next_is_merged=True,
    collections={
        "ENMAP_HSI_L2A": Collection(
            id="ENMAP_HSI_L2A",
            title="EnMAP Level-2A surface reflectance",
            bands=_bands(),
            radiometry=reflectance,
        )
    },
    access=(
        ("https://download.geoservice.dlr.de/*", AuthScheme.BASIC),
        ("https://geoservice.dlr.de/*", AuthScheme.ANONYMOUS),
    ),
    marks=("https://geoservice.dlr.de/*", "https://download.geoservice.dlr.de/*"),
    limits=Limits(page_limit=100, concurrent_searches=4, concurrent_reads=8),
    quirks=(
        "numbers in the properties are strings (on L0 eo:cloud_cover is none): compared here only",
        "bands are ordered by wavelength with both detectors interleaved: matched by wavelength",
        "the conformance classes of filters are written /req/ where others write /conf/",
        "self links are paths inside DLR: the collection link alone is an id",
        "a search that names no collection returns quicklooks (L0) among the rest",
    ),
)
