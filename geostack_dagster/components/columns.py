"""What is inside each artefact, as Dagster's column schemas: tables, and variables of cubes."""

from collections.abc import Callable, Mapping

import dagster as dg

from geostack_dagster.domain.bands import Band
from geostack_dagster.domain.indices import INDICES, Index
from geostack_dagster.domain.swath import Geometry
from geostack_dagster.pipeline.methane.columns import PLUME_COLUMNS, REVIEW_COLUMNS
from geostack_dagster.pipeline.spec import PipelineSpec

_ITEM = (
    ("id", "string", "the archive's name of the Item"),
    ("collection", "string", "the archive's name of the collection"),
    ("geometry", "binary", "footprint, WKB in longitude and latitude"),
    ("bbox", "struct", "xmin, ymin, xmax, ymax [degree]"),
    ("datetime", "timestamp", "acquisition, UTC"),
    ("assets", "struct", "canonical hrefs by asset key; never a signature"),
    ("links", "list", "where the Item and its collection are described"),
)
_MAPS = (
    ("enhancement", "float32", "methane enhancement above the background, signed [ppm m]"),
    ("uncertainty", "float32", "one standard deviation of the enhancement [ppm m]"),
    ("sensitivity", "float32", "response of the pixel relative to the background [1]"),
)
_SWATH = (
    ("lon", "float64", "longitude of each pixel [degree]"),
    ("lat", "float64", "latitude of each pixel [degree]"),
    ("elev", "float32", "height of the ground [m]"),
    ("glt_x", "int32", "column of each map pixel, 1-based, 0 where there is none"),
    ("glt_y", "int32", "line of each map pixel, 1-based, 0 where there is none"),
)
_CHIP = (
    ("id", "string", "digest of scene, window, state and content"),
    ("scene", "string", "scene that it is a window of"),
    ("orbit", "string", "overpass; all of one serves one split"),
    ("acquired", "timestamp", "when its pixels were seen, UTC"),
    ("site", "string", "cell of about half a degree; all of one serves one split"),
    ("longitude", "double", "of its centre [degree]"),
    ("latitude", "double", "of its centre [degree]"),
    ("row", "int32", "first row in the scene"),
    ("column", "int32", "first column in the scene"),
    ("size", "int32", "rows and columns [pixel]"),
    ("state", "string", "PLUME, NO_PLUME, UNCERTAIN or UNOBSERVABLE"),
    ("content", "string", "digest of pixels and labels"),
    ("weight", "double", "in the loss"),
    ("injected", "int32", "number of the synthetic plume; 0 for none"),
    ("plumes", "list", "labels that reach into it"),
    ("observed_fraction", "double", "part of its pixels with a value"),
    ("plume_fraction", "double", "part of its pixels in a plume"),
    ("geometry", "binary", "outline, WKB in longitude and latitude"),
    ("bbox", "struct", "xmin, ymin, xmax, ymax [degree]"),
)


def chip_schema() -> dg.TableSchema:
    """Columns of a detector's training set: windows of scenes, without pixels."""
    return dg.TableSchema(columns=_table(*_CHIP))


def column_schema(spec: PipelineSpec, stage: str) -> dg.TableSchema | None:
    """Columns of a stage's table or variables of its cube, as they are read; None for a Recipe.

    Items state what they like: the columns that a snapshot really has come with its event.
    """
    columns = _COLUMNS.get(stage)
    return None if columns is None else dg.TableSchema(columns=columns(spec))


def table_schema(types: Mapping[str, str]) -> dg.TableSchema:
    """Columns by name and type, described where they are known."""
    known = {name: text for name, _, text in _ITEM}
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name, kind, description=known.get(name)) for name, kind in types.items()
        ]
    )


def _table(*rows: tuple[str, str, str]) -> list[dg.TableColumn]:
    return [dg.TableColumn(name, kind, description=text) for name, kind, text in rows]


def _snapshot(spec: PipelineSpec) -> list[dg.TableColumn]:
    return _table(*_ITEM)


def _cube(spec: PipelineSpec) -> list[dg.TableColumn]:
    if spec.record.geometry is Geometry.SWATH:
        text = f"{spec.record.quantity} over downtrack, crosstrack, band, {_windows(spec)}"
        return _table((spec.record.quantity, "float32", text), *_SWATH)
    bands = spec.record.bands.select(spec.band_names, where=spec.name)
    return _table(*((band.name, _kind(band), _text(spec, band)) for band in bands))


def _indices(spec: PipelineSpec) -> list[dg.TableColumn]:
    return _table(*((name, "float32", _meaning(INDICES[name])) for name in spec.indices))


def _meaning(index: Index) -> str:
    return (
        f"{index.long_name}: {index.words} of the reflectance of clear pixels, NaN elsewhere [1]; "
        f"{index.reference}"
    )


def _enhancement(spec: PipelineSpec) -> list[dg.TableColumn]:
    return _table(*_MAPS, ("mask", "uint8 (classes)", "what the pixel may be used for"))


def _plumes(spec: PipelineSpec) -> list[dg.TableColumn]:
    rows = [(name, column.dtype, column.text) for name, column in PLUME_COLUMNS.items()]
    return _table(*rows, ("geometry", "binary", "outline, WKB in longitude and latitude"))


def _review(spec: PipelineSpec) -> list[dg.TableColumn]:
    rows = [(name, column.dtype, column.text) for name, column in REVIEW_COLUMNS.items()]
    return _table(*rows, ("geometry", "binary", "outline or footprint, WKB in degrees"))


def _probability(spec: PipelineSpec) -> list[dg.TableColumn]:
    text = "probability that a pixel is part of a methane plume, NaN where unobserved [1]"
    return _table(("probability", "float32", text))


_COLUMNS: Mapping[str, Callable[[PipelineSpec], list[dg.TableColumn]]] = {
    "snapshot": _snapshot,
    "cube": _cube,
    "indices": _indices,
    "enhancement": _enhancement,
    "plumes": _plumes,
    "review": _review,
    "plume_labels": _snapshot,
    "probability": _probability,
}


def _kind(band: Band) -> str:
    """Type of a variable once xarray has decoded it."""
    return f"{band.dtype} (classes)" if band.categorical else "float32"


def _text(spec: PipelineSpec, band: Band) -> str:
    if band.categorical:
        return "class codes"
    given = {name: text for name, _, text in _MAPS}
    words = [band.common_name or given.get(band.name) or spec.record.quantity]
    if band.wavelength_nm is not None:
        words.append(f"{band.wavelength_nm:g} nm")
    if band.resolution_m is not None:
        words.append(f"{band.resolution_m:g} m at the archive")
    return ", ".join(words)


def _windows(spec: PipelineSpec) -> str:
    windows = (f"{low:g} to {high:g} nm" for low, high in spec.wavelengths_nm)
    return " and ".join(windows) or "all wavelengths"
