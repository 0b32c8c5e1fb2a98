"""Rules of the STAC extensions that Items here name, of exactly these versions.

Their schemas live on the web and tests have no network. Fields, types and limits are written down
from the specifications; what they removed (`proj:epsg`, `raster:bands`) is unknown, and so a fault.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator

TEXT: Mapping[str, Any] = {"type": "string", "minLength": 1}
COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}
_NUMBERS, _WORDS = r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", r"[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*"
_SEMANTIC = rf"^{_NUMBERS}(-{_WORDS})?(\+{_WORDS})?$"


def _record(required: str, **fields: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": fields}


def _numbers(*lengths: int) -> dict[str, Any]:
    one = {"type": "array", "items": {"type": "number"}}
    return {"anyOf": [one | {"minItems": size, "maxItems": size} for size in lengths]}


_CLASS = _record("value name", value={"type": "integer"}, name=TEXT, description=TEXT)
_CLASSES = {"type": "array", "minItems": 1, "uniqueItems": True, "items": _CLASS}
_EXPRESSION = _record("format expression", format=TEXT)
_ARRAY = _record(
    "shape dim_order data_type",
    shape={"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": -1}},
    dim_order={"type": "array", "minItems": 1, "uniqueItems": True, "items": TEXT},
    data_type={
        "enum": [f"{kind}{bits}" for kind in ("uint", "int", "float") for bits in (8, 16, 32, 64)]
    },
)
_SCALING = _EXPRESSION | {"required": ["type", "format", "expression"]}
_INPUT = _record(
    "name bands input",
    name=TEXT,
    bands={"type": "array", "items": TEXT},
    input=_ARRAY,
    description=TEXT,
    value_scaling={"type": ["array", "null"], "items": _SCALING},
    pre_processing_function=_EXPRESSION,
)
_OUTPUT = _record(
    "name tasks result",
    name=TEXT,
    tasks={"type": "array", "items": TEXT},
    result=_ARRAY,
    **{"classification:classes": _CLASSES},
)
RULES: Mapping[str, tuple[str, Mapping[str, Mapping[str, Any]]]] = {
    "processing": (
        "v1.2.0",
        {
            "expression": _EXPRESSION,
            "lineage": TEXT,
            "level": TEXT,
            "facility": TEXT,
            "version": TEXT,
            "datetime": {"type": "string", "pattern": r"(\+00:00|Z)$"},
            "software": {"type": "object", "additionalProperties": TEXT},
        },
    ),
    "proj": (
        "v2.0.0",
        {
            "code": {"type": ["string", "null"], "pattern": "^[A-Z]+:[^:]+$"},
            "wkt2": {"type": ["string", "null"]},
            "bbox": _numbers(4, 6),
            "centroid": _record("lat lon"),
            "shape": {"type": "array", "minItems": 2, "maxItems": 2, "items": COUNT},
            "transform": _numbers(6, 9),
        },
    ),
    "raster": (
        "v2.0.0",
        {
            "bits_per_sample": COUNT,
            "sampling": {"enum": ["area", "point"]},
            "scale": {"type": "number"},
            "offset": {"type": "number"},
            "spatial_resolution": {"type": "number", "exclusiveMinimum": 0},
        },
    ),
    "file": (
        "v2.1.0",
        {
            "size": COUNT,
            "header_size": COUNT,
            # a multihash: its code and length come first, here those of SHA-256
            "checksum": {"type": "string", "pattern": "^1220[a-f0-9]{64}$"},
        },
    ),
    "classification": ("v2.0.0", {"classes": _CLASSES}),
    "mlm": (
        "v1.4.0",
        {
            "name": TEXT,
            "architecture": TEXT,
            "tasks": {"type": "array", "minItems": 1, "uniqueItems": True, "items": TEXT},
            "framework": TEXT,
            "framework_version": {"type": "string", "pattern": _SEMANTIC},
            "memory_size": COUNT,
            "total_parameters": COUNT,
            "batch_size_suggestion": COUNT,
            "accelerator": {"type": ["string", "null"]},
            "pretrained": {"type": "boolean"},
            "pretrained_source": {"type": ["string", "null"]},
            "input": {"type": "array", "minItems": 1, "items": _INPUT},
            "output": {"type": "array", "minItems": 1, "items": _OUTPUT},
            "hyperparameters": {"type": "object", "minProperties": 1},
            "artifact_type": TEXT,
        },
    ),
}
_TITLES = {"proj": "projection"}


def faults(item: Mapping[str, Any]) -> list[str]:
    """What of an Item breaks the rules: fields, and extensions named without use or the reverse."""
    found, used = [], set()
    for place, name, value in _fields(item):
        prefix, _, field = name.partition(":")
        if prefix not in RULES:
            if prefix != "geostack":
                found.append(f"{place}: no extension known here defines {name}")
            continue
        used.add(prefix)
        rule = RULES[prefix][1].get(field)
        if rule is None:
            found.append(f"{place}: {prefix} {RULES[prefix][0]} has no {name}")
            continue
        errors = Draft202012Validator(rule).iter_errors(value)
        found += [f"{place}: {name}: {error.message}" for error in errors]
    named = {uri.rstrip("#") for uri in item["stac_extensions"]}
    return found + [f"named or used, not both: {uri}" for uri in named ^ {*map(_uri, used)}]


def _uri(prefix: str) -> str:
    title, version = _TITLES.get(prefix, prefix), RULES[prefix][0]
    return f"https://stac-extensions.github.io/{title}/{version}/schema.json"


def _fields(item: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Place, name and value of every field with a prefix."""
    places = {"properties": item["properties"]}
    for key, asset in item["assets"].items():
        places[f"assets.{key}"] = asset
        for number, band in enumerate(asset.get("bands", ())):
            places[f"assets.{key}.bands[{number}]"] = band
    for place, members in places.items():
        yield from ((place, name, value) for name, value in members.items() if ":" in name)
