"""The Zarr documents of a cube, and how they are compared with what is stored.

zarr-python itself writes the template into memory; a store is created by copying documents, grown
by replacing those that mention time, and guarded by comparing them. CF conventions carry CRS,
scale, offset and fill value; xarray, rioxarray and GDAL read them.

Where nothing is transactional documents are set one after the other, so a writer may die between
two of them, and others see some. Therefore `steps` orders them: the axis `time` follows the arrays
along it, and the group, which holds the schema, follows all. What was cut off before is not there
yet, and `changes` completes it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import zarr
from pyproj import CRS
from xarray.backends.zarr import FillValueCoder
from zarr.storage import MemoryStore

from geostack_dagster.cube.damage import RESTORE
from geostack_dagster.cube.encode import zarr_codec
from geostack_dagster.cube.keys import Keys
from geostack_dagster.cube.schema import BOOKKEEPING, EXTENT, CubeSchema, Variable
from geostack_dagster.domain.documents import read_back
from geostack_dagster.errors import IntegrityError, NoDataError

SCHEMA = "geostack:schema"
"""Attribute of a group that holds its schema."""

_ROOT = "zarr.json"
_NO_TIME = int(np.iinfo("int64").min)
_EPOCH = np.datetime64("1970-01-01", "D")

_BOOKKEEPING: Mapping[str, tuple[str, Any, dict[str, Any]]] = {
    "acquired": (
        "int64",
        _NO_TIME,
        {
            "long_name": "first acquisition of the slot",
            "units": "nanoseconds since 1970-01-01",
            "calendar": "proleptic_gregorian",
            "_FillValue": _NO_TIME,
        },
    ),
    "item_count": ("int32", 0, {"long_name": "Items the slot was made from", "units": "1"}),
    "fingerprint": ("string", "", {"long_name": "fingerprint of what the slot was made from"}),
    "coverage": (
        "float32",
        np.nan,
        {
            "long_name": "fraction of pixels that hold a value",
            "units": "1",
            "_FillValue": FillValueCoder.encode(np.nan, np.dtype("float32")),
        },
    ),
    "made_from": ("string", "", {"long_name": "fingerprint of the partition's inputs"}),
    "ledger": ("string", "", {"long_name": "what became of every asset, JSON"}),
}


def documents(schema: CubeSchema, length: int) -> dict[str, bytes]:
    """Every key of an empty cube with `length` slots, and its bytes."""
    memory = MemoryStore()
    group = zarr.create_group(memory, path=schema.name, attributes=_group_attributes(schema))
    _coordinates(group, schema, length)
    for name in BOOKKEEPING:
        dtype, fill, attributes = _BOOKKEEPING[name]
        group.create_array(
            name,
            shape=(length,),
            chunks=(1,),
            dtype=dtype,
            fill_value=fill,
            dimension_names=["time"],
            attributes=attributes,
            compressors=zarr_codec(np.dtype("uint8")) if name == "ledger" else None,
        )
    for variable in schema.variables:
        group.create_array(
            variable.name,
            shape=(length, *schema.grid.shape),
            chunks=(1, *schema.chunk),
            dtype=variable.dtype,
            fill_value=variable.fill,
            dimension_names=["time", "y", "x"],
            attributes=_variable_attributes(variable),
            compressors=zarr_codec(variable.stored),
            filters=None,
        )
    return Keys(memory, "memory").everything()


@dataclass(frozen=True, slots=True)
class Stored:
    """A cube as it is stored."""

    schema: CubeSchema
    length: int
    """Slots of its time axis."""


def read(keys: Keys, group: str) -> Stored:
    """Schema that a stored cube was made with, and how far its time axis reaches.

    Raises:
        NoDataError: If the store has no such group.
        IntegrityError: If the group was not written by this package, or is damaged.
    """
    described, time = f"{group}/zarr.json", f"{group}/time/zarr.json"
    found = keys.get([described, time])
    if described not in found:
        raise NoDataError(f"there is no cube {group!r} at {keys.where} yet")
    schema = read_back(found[described], keys.where, _schema, remedy=RESTORE)
    if schema is None or time not in found:
        raise IntegrityError(
            f"group {group!r} at {keys.where} holds no cube of this package; write to another group"
        )
    return Stored(schema, read_back(found[time], keys.where, _length, remedy=RESTORE))


def _schema(document: Mapping[str, Any]) -> CubeSchema | None:
    stated = document.get("attributes", {}).get(SCHEMA)
    return None if stated is None else CubeSchema.from_json(stated)


def _length(document: Mapping[str, Any]) -> int:
    return int(document["shape"][0])


def changes(keys: Keys, schema: CubeSchema) -> dict[str, bytes | None]:
    """Keys to set so that the store holds this cube; none if it does.

    A growth that was cut off is completed.

    Raises:
        IntegrityError: If the stored cube differs in more than added variables and descriptions.
    """
    try:
        stored = read(keys, schema.name)
    except NoDataError:
        present = keys.get([_ROOT])
        fresh = documents(schema, extent(1))
        return {key: document for key, document in fresh.items() if key not in present}
    target = merged(stored.schema, schema)
    expected = documents(target, stored.length)
    found = keys.get([key for key in expected if key.endswith("zarr.json")])
    lengths = {stored.length, *_lengths(found.values())}
    if len(lengths) > 1:
        expected = documents(target, max(lengths))
    verify(stored.schema, documents(stored.schema, max(lengths)), found)
    grown = _grown(target, lengths)
    if target.to_json() == stored.schema.to_json():
        return grown
    described = {f"{schema.name}/{variable.name}/zarr.json" for variable in target.variables}
    return grown | {
        key: document
        for key, document in expected.items()
        if key == f"{schema.name}/zarr.json" or key in described
    }


def growth(keys: Keys, group: str, needed: int) -> dict[str, bytes | None]:
    """Keys to set so that a stored cube has at least so many slots; none if it has."""
    stored = read(keys, group)
    if stored.length >= needed:
        return {}
    names = (*BOOKKEEPING, *(variable.name for variable in stored.schema.variables))
    found = keys.get(f"{group}/{name}/zarr.json" for name in names)
    return _grown(stored.schema, {stored.length, extent(needed), *_lengths(found.values())})


def steps(changes: Mapping[str, bytes | None]) -> Iterator[dict[str, bytes | None]]:
    """The same keys in the order in which they are set where nothing is transactional."""

    def rank(key: str) -> int:
        *parents, name = key.split("/")
        if name != _ROOT:
            return 0
        if not parents:  # an empty tree is no harm, and a group without a root is not found
            return 1
        if len(parents) == 1:
            return 4
        return 3 if parents[-1] == "time" else 2

    ranks = {key: rank(key) for key in changes}
    for step in sorted(set(ranks.values())):
        yield {key: value for key, value in changes.items() if ranks[key] == step}


def longest(document: bytes, other: bytes) -> bytes:
    """A document of an array, reaching as far along time as another one of it does."""
    reach = max(_lengths([document, other]), default=0)
    if _lengths([document]) in ({reach}, set()):
        return document
    stretched = json.loads(document)
    stretched["shape"][0] = reach
    return json.dumps(stretched, indent=2).encode()


def is_along_time(document: bytes) -> bool:
    """Whether a document is that of an array along the axis that grows."""
    return bool(_lengths([document]))


def _grown(schema: CubeSchema, lengths: set[int]) -> dict[str, bytes | None]:
    """Keys to set so that all arrays along time are as long as the longest."""
    if len(lengths) == 1:
        return {}
    before, after = documents(schema, min(lengths)), documents(schema, max(lengths))
    return {key: document for key, document in after.items() if before.get(key) != document}


def _lengths(found: Iterable[bytes]) -> set[int]:
    """How far the arrays along time reach; those of a cube have one length, unless it was cut."""
    lengths = set[int]()
    for document in found:
        with suppress(ValueError):  # one that is damaged is named where it is read
            described = json.loads(document)
            names = described.get("dimension_names") if isinstance(described, dict) else None
            if "time" in (names or ())[:1]:
                lengths.add(int(described["shape"][0]))
    return lengths


def extent(slots: int) -> int:
    """Slots to preallocate so that `slots` fit: whole steps."""
    return -(-slots // EXTENT) * EXTENT


def merged(stored: CubeSchema, wanted: CubeSchema) -> CubeSchema:
    """Schema after adding the variables of `wanted` and taking its descriptions.

    Raises:
        IntegrityError: If anything else differs; the message names the member.
    """
    have, want = _structure(stored), _structure(wanted)
    for member in ("name", "grid", "start", "chunk"):
        _require_equal(stored.name, member, have[member], want[member])
    for name, described in have["variables"].items():
        if name not in want["variables"]:
            raise IntegrityError(
                f"cube {stored.name!r} has drifted: variable {name!r} is stored and not in the "
                "schema; keep it, or write to a new cube (a pipeline of another name has its own)"
            )
        for member, value in described.items():
            _require_equal(
                stored.name, f"variables.{name}.{member}", value, want["variables"][name][member]
            )
    order = list(have["variables"])
    known = {variable.name: variable for variable in wanted.variables}
    added = [variable for variable in wanted.variables if variable.name not in order]
    return replace(wanted, variables=(*(known[name] for name in order), *added))


def verify(schema: CubeSchema, expected: Mapping[str, bytes], found: Mapping[str, bytes]) -> None:
    """Compare stored array documents with the template's, descriptions and lengths aside.

    Raises:
        IntegrityError: If an array is missing or its type, chunks, codecs or fill value differ.
    """
    for key, document in expected.items():
        if not key.endswith("/zarr.json"):
            continue
        name = key.removesuffix("/zarr.json")
        if key not in found:
            raise IntegrityError(f"cube {schema.name!r} has drifted: {name} is missing")
        reached = longest(found[key], document)
        have = read_back(reached, f"{name} of cube {schema.name!r}", dict, remedy=RESTORE)
        want = json.loads(document)
        for member in sorted({*have, *want} - {"attributes"}):
            _require_equal(schema.name, f"{name}.{member}", have.get(member), want.get(member))


def _require_equal(cube: str, member: str, have: object, want: object) -> None:
    if have != want:
        raise IntegrityError(
            f"cube {cube!r} has drifted: {member} is {have!r} in the store and {want!r} in the "
            "schema; a cube's structure is fixed: restore the schema, or write to a new cube "
            "(a pipeline of another name has its own)"
        )


def _structure(schema: CubeSchema) -> dict[str, Any]:
    document = schema.to_json()
    for described in document["variables"].values():
        del described["attrs"]
    return document


def _group_attributes(schema: CubeSchema) -> dict[str, Any]:
    grid = schema.grid
    return {
        **schema.attrs,
        "Conventions": "CF-1.11",
        "title": schema.title or schema.name,
        "coordinates": " ".join(("spatial_ref", *BOOKKEEPING)),
        "zarr_conventions": [
            {"name": "proj:", "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f"},
            {"name": "spatial:", "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4"},
        ],
        "proj:code": grid.crs,
        "spatial:dimensions": ["y", "x"],
        "spatial:shape": list(grid.shape),
        "spatial:transform": list(grid.transform),
        "spatial:bbox": list(grid.bounds),
        SCHEMA: schema.to_json(),
    }


def _variable_attributes(variable: Variable) -> dict[str, Any]:
    attributes = {**variable.attrs, "grid_mapping": "spatial_ref"}
    if not variable.is_flags:  # readers would make floats of them to put NaN where it is
        attributes["_FillValue"] = FillValueCoder.encode(variable.fill, np.dtype(variable.dtype))
    if variable.scale_factor is not None:
        attributes["scale_factor"] = variable.scale_factor
    if variable.add_offset is not None:
        attributes["add_offset"] = variable.add_offset
    return attributes


def _coordinates(group: zarr.Group, schema: CubeSchema, length: int) -> None:
    crs, grid = CRS.from_user_input(schema.grid.crs), schema.grid
    half = grid.resolution / 2
    axes = {axis["axis"].lower(): axis for axis in crs.cs_to_cf()}
    for name, values in (
        ("y", grid.top - half - grid.resolution * np.arange(grid.height)),
        ("x", grid.left + half + grid.resolution * np.arange(grid.width)),
    ):
        axis = group.create_array(
            name,
            shape=values.shape,
            chunks=values.shape,
            dtype="float64",
            dimension_names=[name],
            attributes=dict(axes.get(name, {"axis": name.upper()})),
            fill_value=np.nan,
            compressors=zarr_codec(values.dtype),
        )
        axis[:] = values
    first = int((np.datetime64(schema.start, "D") - _EPOCH).astype("int64"))
    time = group.create_array(
        "time",
        shape=(length,),
        chunks=(EXTENT,),
        dtype="int64",
        dimension_names=["time"],
        fill_value=_NO_TIME,
        compressors=zarr_codec(np.dtype("int64")),
        attributes={
            "standard_name": "time",
            "long_name": "solar day",
            "axis": "T",
            "units": "days since 1970-01-01",
            "calendar": "proleptic_gregorian",
        },
    )
    time[:] = first + np.arange(length)
    left, top = grid.left, grid.top
    group.create_array(
        "spatial_ref",
        shape=(),
        dtype="int32",
        fill_value=0,
        dimension_names=[],
        attributes={
            **crs.to_cf(),
            "spatial_ref": crs.to_wkt(),
            "GeoTransform": f"{left!r} {grid.resolution!r} 0.0 {top!r} 0.0 {-grid.resolution!r}",
        },
    )
