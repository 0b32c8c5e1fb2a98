"""Plain Zarr stores: what is left of a writer that dies between two objects, and of two at once."""

import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import Any, override

import pytest
from zarr.abc.store import Store
from zarr.core.buffer import Buffer
from zarr.storage import WrapperStore

from geostack_dagster import storage
from geostack_dagster.cube.repository import Repository
from geostack_dagster.cube.schema import EXTENT, CubeSchema, Variable
from geostack_dagster.cube.store import CubeStore, Kind, open_store
from geostack_dagster.cube.zarr_backend import ZarrBackend
from geostack_dagster.engine import Engine
from geostack_dagster.errors import ConfigurationError, ConflictError, NoDataError
from tests.bucket import Bucket
from tests.cube.scenes import SCHEMA, assert_holds, write

FAR = 3 * EXTENT + 5
NEAR = EXTENT + 5
WIDER = dataclasses.replace(
    SCHEMA, variables=(*SCHEMA.variables, Variable(name="B08", dtype="uint16", fill_value=0))
)


class Killed(BaseException):
    """Nothing of this package catches it."""


class MortalStore(WrapperStore[Any]):
    """Takes so many objects, and dies of the next."""

    left: int

    @override
    async def set(self, key: str, value: Buffer) -> None:
        if self.left == 0:
            raise Killed(key)
        self.left -= 1
        await super().set(key, value)


class MortalBackend(ZarrBackend):
    lives: int

    @override
    def _store(self, suffix: str = "", *, read_only: bool = False) -> Store:
        store = super()._store(suffix, read_only=read_only)
        if suffix or read_only:
            return store
        mortal = MortalStore(store)
        mortal.left = self.lives
        return mortal


def death(lives: int, url: str, schema: CubeSchema, day: int | None) -> str | None:
    """Ensure a schema and write a day, as far as so many objects go; the key of the next one."""
    backend = MortalBackend(url, {})
    backend.lives = lives
    store = Repository(backend, engine=Engine())
    try:
        store.ensure(schema)
        if day is not None:
            write(store, {day: 2}, "made-2")
    except Killed as killed:
        return str(killed)
    return None


def is_torn(store: CubeStore) -> bool:
    """Whether readers are told to come again."""
    try:
        with suppress(NoDataError):
            store.open(SCHEMA.name)
    except ConflictError:
        return True
    return False


@pytest.mark.parametrize("work", ["create", "add a variable", "extend"])
def test_whatever_a_dead_writer_left_is_completed(tmp_path: Path, work: str):
    schema = WIDER if work == "add a variable" else SCHEMA
    held = None if work == "create" else 1
    lives = torn = 0
    while True:
        url = str(tmp_path / f"after-{lives}")
        store = open_store(url, kind="zarr")
        if work != "create":
            store.ensure(SCHEMA)
            write(store, {0: 1}, "made-1")
        key = death(lives, url, schema, NEAR if work == "extend" else None)
        if key is None or key == f"{SCHEMA.name}/B04/c/{NEAR}/0/1":
            break
        torn += is_torn(store)
        store.ensure(schema)
        assert store.schema(SCHEMA.name) == schema
        cube = store.open(SCHEMA.name)
        assert {variable.name for variable in schema.variables} <= set(cube)
        assert not cube.time.isnull().any()
        if work == "extend":
            write(store, {NEAR: 2}, "made-2")
            assert store.open(SCHEMA.name).sizes["time"] == 2 * EXTENT
        if schema is SCHEMA:
            assert_holds(store, {0: held, NEAR: 2 if work == "extend" else None})
        lives += 1
    assert lives > 1
    assert (torn > 0) is (work == "extend")


@pytest.mark.parametrize(("first", "second"), [("icechunk", "zarr"), ("zarr", "icechunk")])
def test_one_kind_of_store_does_not_move_in_with_another(tmp_path: Path, first: Kind, second: Kind):
    url = str(tmp_path / "cube")
    store = open_store(url, kind=first)
    store.ensure(SCHEMA)
    write(store, {0: 1}, "made-1")
    before = storage.listing(url)
    with pytest.raises(ConfigurationError):
        open_store(url, kind=second).ensure(SCHEMA)
    assert storage.listing(url) == before
    assert_holds(open_store(url, kind=first), {0: 1})


@pytest.mark.parametrize("array", ["acquired", "B04", "time"])
def test_the_shorter_of_two_growths_at_once_does_not_win(bucket: Bucket, array: str):
    url = "s3://bucket/cubes/aoi"
    store = open_store(url, kind="zarr")
    store.ensure(SCHEMA)
    further: list[bool] = []
    bucket.meanwhile[f"/bucket/cubes/aoi/{SCHEMA.name}/{array}/zarr.json"] = lambda: further.append(
        write(open_store(url, kind="zarr"), {FAR: 3}, "made-3").written
    )
    write(store, {NEAR: 2}, "made-2")
    assert further == [True]
    assert store.open(SCHEMA.name).sizes["time"] == 4 * EXTENT
    assert_holds(store, {0: None, NEAR: 2, FAR: 3})
    assert not store.open(SCHEMA.name).time.isnull().any()


def test_a_second_creator_does_not_cut_what_the_first_one_lengthened(bucket: Bucket):
    url = "s3://bucket/cubes/aoi"

    def first() -> None:
        store = open_store(url, kind="zarr")
        store.ensure(SCHEMA)
        write(store, {FAR: 3}, "made-3")

    bucket.meanwhile["/bucket/cubes/aoi/zarr.json"] = first
    store = open_store(url, kind="zarr")
    store.ensure(SCHEMA)
    assert_holds(store, {0: None, FAR: 3})
