"""Chunks that we encode are the chunks that Zarr would write, to the byte."""

import dataclasses
import math
from pathlib import Path

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from zarr.storage import MemoryStore

from geostack_dagster.cube import encode
from geostack_dagster.cube.keys import Keys
from geostack_dagster.cube.schema import Variable
from geostack_dagster.cube.store import Kind, open_store
from geostack_dagster.errors import ConfigurationError
from tests.cube import scenes

CHUNK = (4, 3)
FILLS = {"uint8": 255, "uint16": 0, "int16": -9999, "float32": math.nan, "float64": -1.0}


def variable(dtype: str) -> Variable:
    return Variable(name="v", dtype=dtype, fill_value=FILLS[dtype])


def by_zarr(declared: Variable, values: np.ndarray) -> dict[str, bytes]:
    """Chunks of an array that zarr-python itself writes."""
    store = MemoryStore()
    array = zarr.create_array(
        store,
        shape=values.shape,
        chunks=(1, *CHUNK),
        dtype=declared.dtype,
        fill_value=declared.fill,
        compressors=encode.zarr_codec(declared.stored),
        filters=None,
    )
    array[:] = values
    found = Keys(store, "memory").everything()
    return {key: value for key, value in found.items() if key.startswith("c/")}


def ours(declared: Variable, values: np.ndarray) -> dict[str, bytes]:
    found = {}
    for row in range(0, values.shape[1], CHUNK[0]):
        for column in range(0, values.shape[2], CHUNK[1]):
            part = values[0, row : row + CHUNK[0], column : column + CHUNK[1]]
            chunk = encode.encode(declared, encode.pack(declared, part), CHUNK)
            if chunk is not None:
                found[f"c/0/{row // CHUNK[0]}/{column // CHUNK[1]}"] = chunk
    return found


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(sorted(FILLS)))
def test_bytes_are_those_of_zarr(data: st.DataObject, dtype: str):
    declared = variable(dtype)
    shape = (1, data.draw(st.integers(1, 9)), data.draw(st.integers(1, 7)))
    element = hnp.from_dtype(np.dtype(dtype)) | st.just(declared.fill)
    values = data.draw(hnp.arrays(dtype, shape, elements=element, fill=st.just(declared.fill)))
    assert ours(declared, values) == by_zarr(declared, encode.pack(declared, values))


@pytest.mark.parametrize("kind", ["icechunk", "zarr"])
def test_a_cube_is_what_zarr_would_have_written(tmp_path: Path, kind: Kind):
    store = open_store(str(tmp_path / "ours"), kind=kind)
    store.ensure(scenes.SCHEMA)
    scenes.write(store, {0: 3}, "made")
    keys = store._backend.reader()
    for declared in scenes.SCHEMA.variables:
        group = zarr.open_group(keys.store, path="surface", mode="r")
        array = group[declared.name]
        np.testing.assert_array_equal(array[0], scenes.pixels(3)[declared.name])
        copy = zarr.create_array(
            MemoryStore(),
            shape=(1, *array.shape[1:]),
            chunks=array.chunks,
            dtype=array.dtype,
            fill_value=array.fill_value,
            compressors=array.compressors,
            filters=None,
        )
        copy[:] = array[:1]
        expected = Keys(copy.store, "memory").everything()
        wanted = {key: value for key, value in expected.items() if key.startswith("c/")}
        found = keys.get([f"surface/{declared.name}/{key}" for key in wanted])
        assert list(found.values()) == list(wanted.values())


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays("float64", (4, 3), elements=st.floats(-0.0999, 6.4) | st.just(math.nan)),
)
def test_packing_loses_no_more_than_half_a_step(values: np.ndarray):
    packed = Variable(name="v", dtype="uint16", fill_value=0, scale_factor=1e-4, add_offset=-0.1)
    stored = encode.pack(packed, values)
    assert stored.dtype == "uint16"
    missing = np.isnan(values)
    np.testing.assert_array_equal(stored == 0, missing)
    back = stored * 1e-4 - 0.1
    np.testing.assert_allclose(back[~missing], values[~missing], rtol=0, atol=0.5001e-4)


def test_nan_becomes_the_fill_value_of_a_float():
    stored = encode.pack(variable("float64"), np.array([[1.5, math.nan]]))
    np.testing.assert_array_equal(stored, [[1.5, -1.0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "time"}, "none of time"),
        ({"name": "a/b"}, "letters"),
        ({"dtype": "complex64"}, "not an integer or a float"),
        ({"dtype": "colour"}, "not a data type"),
        ({"fill_value": -1}, "does not fit uint16"),
        ({"fill_value": math.nan}, "does not fit uint16"),
        ({"fill_value": 0.5}, "does not fit uint16"),
        ({"scale_factor": 0.0}, "scale_factor"),
    ],
)
def test_a_variable_that_cannot_be_is_refused(change: dict, message: str):
    with pytest.raises(ConfigurationError, match=message):
        dataclasses.replace(scenes.SCHEMA.variables[0], **change)
