"""EMIT products at LP DAAC: methane enhancement and plumes as COGs, radiance as netCDF swaths.

CMR-STAC gives their assets keys that contain slashes and differ from Item to Item: bands are found
by file name alone.
"""

from geostack_dagster.domain.bands import Band, BandTable
from geostack_dagster.domain.item import Asset, Item
from geostack_dagster.domain.radiometry import Radiometry
from geostack_dagster.domain.swath import InstrumentNoise, SwathLayout
from geostack_dagster.providers.provider import Collection

_NODATA = -9999.0
_PIXEL_M = 60.0
_SWIR_NOISE = InstrumentNoise(
    a=1.74e-3, b=0.267, reach_nm=(1300.0, 2500.0), source="EMIT noise file, short-wave infrared"
)
"""[uW cm-2 sr-1 nm-1]"""


def physical(item: Item, asset: Asset, band: Band) -> Radiometry:
    """Values as they are: EMIT stores float32 in physical units."""
    return Radiometry(
        scale=1.0, offset=0.0, reason="EMIT stores physical units as float32", evidence={}
    )


def methane_enhancement(version: str, *, concept_id: str) -> Collection:
    """CH4ENH: enhancement, its uncertainty and sensitivity [ppm m]; the last two from V002 on."""
    bands = {"enhancement": "CH4ENH", "uncertainty": "CH4UNCERT", "sensitivity": "CH4SENS"}
    kept = bands if version != "001" else {"enhancement": "CH4ENH"}
    return Collection(
        id=f"EMITL2BCH4ENH_{version}",
        title=f"EMIT L2B methane enhancement V{version}",
        bands=BandTable(tuple(_raster(name, product) for name, product in kept.items())),
        radiometry=physical,
        quantity="enhancement",
        plumes=f"EMITL2BCH4PLM_{version}",
        aliases=(concept_id, f"EMITL2BCH4ENH.v{version}"),
    )


def methane_plumes(version: str, *, concept_id: str) -> Collection:
    """CH4PLM: the enhancement inside one plume complex [ppm m]."""
    return Collection(
        id=f"EMITL2BCH4PLM_{version}",
        title=f"EMIT L2B methane plume complexes V{version}",
        bands=BandTable((_raster("PLM", "CH4PLM"),)),
        radiometry=physical,
        quantity="plume",
        unstated=("eo:cloud_cover",),
        aliases=(concept_id, f"EMITL2BCH4PLM.v{version}"),
    )


def radiance(version: str, *, concept_id: str) -> Collection:
    """L1B: radiance and observation geometry in sensor geometry, 285 bands to a file."""
    return Collection(
        id=f"EMITL1BRAD_{version}",
        title=f"EMIT L1B radiance V{version}",
        bands=BandTable((_swath("radiance", "L1B_RAD"), _swath("observation", "L1B_OBS"))),
        radiometry=physical,
        quantity="radiance",
        swath=SwathLayout(data="radiance", file="radiance", observation_file="observation"),
        noise=_SWIR_NOISE,
        aliases=(concept_id, f"EMITL1BRAD.v{version}"),
    )


def reflectance(version: str, *, concept_id: str) -> Collection:
    """L2A: surface reflectance, its uncertainty and the mask, in sensor geometry."""
    products = {"reflectance": "L2A_RFL", "uncertainty": "L2A_RFLUNCERT", "mask": "L2A_MASK"}
    return Collection(
        id=f"EMITL2ARFL_{version}",
        title=f"EMIT L2A reflectance V{version}",
        bands=BandTable(tuple(_swath(name, product) for name, product in products.items())),
        radiometry=physical,
        swath=SwathLayout(data="reflectance", file="reflectance"),
        aliases=(concept_id, f"EMITL2ARFL.v{version}"),
    )


def _raster(name: str, product: str) -> Band:
    return Band(
        name=name,
        href_pattern=f"EMIT_L2B_{product}_*.tif",
        resolution_m=_PIXEL_M,
        dtype="float32",
        nodata=_NODATA,
    )


def _swath(name: str, product: str) -> Band:
    return Band(
        name=name,
        href_pattern=f"EMIT_{product}_*.nc",
        resolution_m=_PIXEL_M,
        dtype="float32",
        nodata=_NODATA,
    )
