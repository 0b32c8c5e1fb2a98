"""What is inside each artefact, as Dagster's column schemas.

Columns of tables, variables of cubes, and the members of what is one JSON document.
"""

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
_PROPERTIES = {
    "type": "Feature",
    "stac_version": "of STAC",
    "stac_extensions": "schemas of the extensions that it uses",
    "created": "when the archive first had it, UTC",
    "updated": "when the archive last changed it, UTC",
    "published": "when the archive first showed it, UTC",
    "expires": "when the archive may drop it, UTC",
    "start_datetime": "first line of the acquisition, UTC",
    "end_datetime": "last line of the acquisition, UTC",
    "platform": "satellite",
    "constellation": "family of satellites",
    "instruments": "that saw it",
    "gsd": "ground sampling distance [m]",
    "eo:cloud_cover": "cloud in the whole scene, by the archive [%]",
    "eo:snow_cover": "snow in the whole scene, by the archive [%]",
    "view:sun_elevation": "of the sun above the horizon [degree]",
    "view:sun_azimuth": "of the sun, clockwise from north [degree]",
    "view:off_nadir": "of the line of sight at the satellite [degree]",
    "view:incidence_angle": "of the line of sight at the ground [degree]",
    "view:azimuth": "of the line of sight, clockwise from north [degree]",
    "proj:epsg": "CRS of the files",
    "proj:code": "CRS of the files",
    "grid:code": "cell of the archive's grid",
    "sat:orbit_state": "ascending or descending",
    "sat:relative_orbit": "number within the repeat cycle",
    "sat:absolute_orbit": "number since launch",
    "processing:level": "of the product",
    "processing:version": "of the processor",
    "processing:datetime": "when it was processed, UTC",
    "s2:processing_baseline": "of the processor; it tells which offset to expect",
    "s2:nodata_pixel_percentage": "of the tile that nothing was seen of [%]",
    "earthsearch:boa_offset_applied": "whether the offset was subtracted from the pixels already",
    "cmr:concept_id": "CMR's name of the granule",
    "cmr:revision_id": "rises with every change of the granule's record",
}
"""What STAC and the archives mean by properties that many Items state."""
_LONGEST_TYPE = 64
"""Characters; the type of an Item's `assets` spells out every member of every asset."""
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

_MADE_FROM = (
    ("snapshot", "string", "fingerprint of the snapshot that its Items are of"),
    ("made_by", "string", "version of the code and of the pipeline's settings that made it"),
    ("fingerprint", "string", "digest of what decides the pixels: the data version"),
    ("window", "array", "first solar day, and the day after the last"),
    ("skipped", "array", "Items and bands that are left out, each with its reason"),
)
_RECIPE = (
    ("format", "integer", "version of the document"),
    ("provider", "string", "archive that everything is read from"),
    ("collections", "array", "the archive's names of the collections"),
    *_MADE_FROM,
    ("grid", "object", "CRS, affine transform and shape [pixel]: what everything is put on"),
    ("bands", "array", "variables of the cube: encoding, resampling, wavelength [nm]"),
    ("mask", "object", "classes that count as clear, and the buffer around the others [m]"),
    ("loader", "string", "what reads the files"),
    ("items", "array", "by Item and band: canonical href, calibration and why, placement"),
)
_SWATH_RECIPE = (
    ("format", "string", "version of the document"),
    ("provider", "string", "archive that everything is read from"),
    ("collection", "string", "the archive's name of the collection"),
    *_MADE_FROM,
    ("aoi", "object", "name and outline of the AOI, in longitude and latitude"),
    ("choice", "object", "what is read of a granule: quantity, wavelengths [nm], margin [m]"),
    ("question", "string", "digest of what was asked of which files"),
    ("items", "array", "by granule: canonical hrefs, and the lines and columns over the AOI"),
)
_MODEL = (
    ("type", "string", "Feature: it is a STAC Item"),
    ("stac_version", "string", "of STAC"),
    ("stac_extensions", "array", "schemas of MLM, file, processing and classification"),
    ("id", "string", "the model: a digest of data, code and settings"),
    ("collection", "string", "the detector"),
    ("geometry", "object", "rectangle around the places that it learnt from"),
    ("bbox", "array", "west, south, east, north [degree]"),
    ("properties", "object", "input, output, settings, parameters; digests of data and code"),
    ("assets", "object", "the weights, with their size [byte] and SHA-256"),
    ("links", "array", "the registry, and the training set that it is derived from"),
)
_EVALUATION = (
    ("challenger", "string", "the model that is judged"),
    ("champion", "string", "the model that it is judged against; null if there was none"),
    ("scenes", "string", "digest of the scenes that judge, their labels and the rules"),
    ("set", "string", "training set that the scenes are of"),
    ("decision", "object", "what the gate decides: every check with what it found"),
    ("finders", "array", "by model and baseline: scores, by strength and by slice"),
    ("gains", "array", "challenger less each other, with the interval over resampled sites"),
    ("canaries", "object", "part of the injected plumes found, by rate [t/h]"),
    ("integrity", "object", "whether tiles, reloading and repeating change nothing"),
    ("reliability", "array", "by bin: mean probability, part that are plume, pixels"),
)
_DECISION = (
    ("decision.challenger", "string", "the model that is judged"),
    ("decision.champion", "string", "the model that it is judged against; null if there was none"),
    ("decision.checks", "array", "name, whether it passed, what was found, what failing leads to"),
    ("decision.override", "object", "person, reason, instant and outcome; null without one"),
    ("decision.verdict", "string", "what the checks lead to: promote, shadow or reject"),
    ("decision.outcome", "string", "what is done: the verdict, or what a person decided"),
    ("decision.reasons", "array", "why, the weightiest first"),
)
_REGISTRY = (
    ("type", "string", "Collection: it is a STAC Collection"),
    ("stac_version", "string", "of STAC"),
    ("id", "string", "the detector"),
    ("description", "string", "what it is"),
    ("license", "string", "of the models"),
    ("extent", "object", "places [degree] and times that the models learnt from"),
    ("links", "array", "an Item for each model, in the order of registration"),
    ("geostack:aliases", "object", "which model is champion and which challenger"),
    ("geostack:history", "array", "all that ever changed that: when, what, by whom and why"),
)
_DRIFT = (
    ("mark", "string", "digest of all that decides the answer: pixels, champion and rule"),
    ("champion", "string", "the model whose scenes are the reference; null without one"),
    ("drifted", "boolean", "the verdict; null where there are too few scenes for one"),
    ("chance", "number", "of so large a difference without drift, by permutation [1]"),
    ("discrepancy", "number", "squared maximum mean discrepancy of the two sets of scenes [1]"),
    ("reason", "string", "the verdict in a sentence"),
    ("reference", "integer", "scenes that the champion learnt from, of this season"),
    ("current", "integer", "newest scenes"),
    ("features", "array", "by feature: PSI and KS, which explain and do not decide"),
)
_LOOP = {
    "training_set": _CHIP,
    "challenger": _MODEL,
    "evaluation": _EVALUATION,
    "gate": _DECISION,
    "champion": _REGISTRY,
    "drift": _DRIFT,
}


def loop_schema(noun: str) -> dg.TableSchema:
    """Columns of a detector's training set, or members of the document that an asset is."""
    return dg.TableSchema(columns=_table(*_LOOP[noun]))


def column_schema(spec: PipelineSpec, stage: str) -> dg.TableSchema:
    """Columns of a stage's table, variables of its cube as they are read, members of a Recipe.

    Items state what they like: the columns that a snapshot really has come with its event.
    """
    return dg.TableSchema(columns=_COLUMNS[stage](spec))


def table_schema(types: Mapping[str, str]) -> dg.TableSchema:
    """Columns by name and type, described where they are known."""
    known = _PROPERTIES | {name: text for name, _, text in _ITEM}
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name, _brief(kind), description=known.get(name))
            for name, kind in types.items()
        ]
    )


def _brief(kind: str) -> str:
    """A type, without its members where they would fill pages."""
    return kind if len(kind) <= _LONGEST_TYPE else kind.partition("<")[0]


def _table(*rows: tuple[str, str, str]) -> list[dg.TableColumn]:
    return [dg.TableColumn(name, kind, description=text) for name, kind, text in rows]


def _snapshot(spec: PipelineSpec) -> list[dg.TableColumn]:
    return _table(*_ITEM)


def _stack(spec: PipelineSpec) -> list[dg.TableColumn]:
    return _table(*(_SWATH_RECIPE if spec.record.geometry is Geometry.SWATH else _RECIPE))


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
    "stack": _stack,
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
