"""What could not be read: the flags that say so, fingerprints that differ, and the next write."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import dask.array as da
import numpy as np
import pytest
import rasterio
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from geostack_dagster.cube.schema import Variable
from geostack_dagster.cube.store import CubeStore, open_store
from geostack_dagster.cube.unread import Unread, is_partial, whole
from geostack_dagster.domain.quality import FILL, NAME, Quality, flag_attrs
from tests.cube import scenes

FLAGS = Variable(name=NAME, dtype="uint8", fill_value=FILL, attrs=flag_attrs())
SCHEMA = replace(scenes.SCHEMA, variables=(*scenes.SCHEMA.variables, FLAGS))
SHAPE = SCHEMA.grid.shape


def data(seed: int, *, lost: np.ndarray | None = None) -> xr.Dataset:
    """A day whose first band is unset where it was lost, and its flags before anyone knows why."""
    made = scenes.dataset({0: seed})
    if lost is not None:
        made.B04.to_numpy()[0][lost] = 0
    unset = (made.B04 == 0).to_numpy().astype(int) + np.isnan(made.ndvi).to_numpy().astype(int)
    flags = np.select([unset == 2, unset == 1], [Quality.NO_OBSERVATION, Quality.INCOMPLETE], 0)
    return made.assign({NAME: (("time", "y", "x"), flags.astype(np.uint8))})


def unread(covered: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]) -> Unread:
    return Unread(
        source="item-0", variable="B04", rows=rows, columns=columns, covered=lambda: covered
    )


def written(store: CubeStore, made: xr.Dataset, *parts: Unread, seed: int = 1):
    record = replace(scenes.record(0, seed), unread=lambda: parts)
    return store.write("surface", scenes.window(0), made, [record], scenes.commit("made"))


@pytest.fixture(params=["icechunk", "zarr"])
def flagged(request: pytest.FixtureRequest, tmp_path: Path) -> CubeStore:
    store = open_store(str(tmp_path / "cube"), kind=request.param)
    store.ensure(SCHEMA)
    return store


def flags_of(store: CubeStore) -> np.ndarray:
    found = store.open("surface")[NAME]
    assert found.dtype == np.uint8, "nothing made floats of the flags"
    return found[0].to_numpy()


def test_only_what_is_unset_and_was_covered_is_unreadable(flagged: CubeStore):
    lost = np.zeros(SHAPE, bool)
    lost[2:6, 3:9] = True
    covered = np.ones((4, 5), bool)
    covered[0] = False
    report = written(flagged, data(1, lost=lost), unread(covered, (2, 6), (4, 9)))
    expected = data(1, lost=lost)[NAME][0].to_numpy().copy()
    expected[3:6, 4:9] = Quality.UNREADABLE
    np.testing.assert_array_equal(flags_of(flagged), expected)
    assert is_partial(report.fingerprint)
    assert flagged.fingerprint_of("surface", scenes.window(0)) == report.fingerprint
    (slot,) = flagged.slots("surface", scenes.window(0))
    assert whole(slot.fingerprint) == "slot-1"


def test_what_another_source_filled_is_usable_and_the_slot_still_partial(flagged: CubeStore):
    report = written(flagged, data(1), unread(np.ones((3, 6), bool), (4, 7), (4, 10)))
    np.testing.assert_array_equal(flags_of(flagged), data(1)[NAME][0])
    assert is_partial(report.fingerprint)


def test_a_masked_pixel_stays_masked(flagged: CubeStore):
    lost = np.ones(SHAPE, bool)
    made = data(1, lost=lost)
    made[NAME].to_numpy()[0, 6] |= np.uint8(Quality.MASKED)
    written(flagged, made, unread(np.ones(SHAPE, bool), (0, 7), (0, 10)))
    assert set(np.unique(flags_of(flagged)[:6])) == {int(Quality.UNREADABLE)}
    assert set(np.unique(flags_of(flagged)[6])) == {Quality.UNREADABLE | Quality.MASKED}


def test_the_next_write_of_the_same_is_made_and_leaves_the_bytes_of_an_undisturbed_one(
    flagged: CubeStore, tmp_path: Path
):
    lost = np.zeros(SHAPE, bool)
    lost[:, 5:] = True
    written(flagged, data(1, lost=lost), unread(np.ones((7, 5), bool), (0, 7), (5, 10)))
    assert not flagged.is_current("surface", scenes.window(0), "made")
    assert written(flagged, data(1)).written
    assert flagged.is_current("surface", scenes.window(0), "made")
    assert not written(flagged, data(1)).written

    other = open_store(str(tmp_path / "other"))
    other.ensure(SCHEMA)
    written(other, data(1))
    keys = [store._backend.reader().everything() for store in (flagged, other)]
    slots = [{key: value for key, value in one.items() if "/c/0" in key} for one in keys]
    assert slots[0] == slots[1]


def test_other_days_of_the_partition_are_kept(flagged: CubeStore):
    made = xr.concat([data(1), data(2).assign_coords(time=[np.datetime64("2024-01-02")])], "time")
    records = [
        replace(
            scenes.record(0, 1), unread=lambda: [unread(np.ones((1, 1), bool), (0, 1), (0, 1))]
        ),
        scenes.record(1, 2),
    ]
    flagged.write("surface", scenes.window(0, 2), made, records, scenes.commit("made"))
    again = [scenes.record(0, 1), scenes.record(1, 2)]
    report = flagged.write("surface", scenes.window(0, 2), made, again, scenes.commit("made"))
    assert (report.rewritten, report.kept) == ((scenes.day(0),), (scenes.day(1),))


def test_coverage_counts_what_is_measured(flagged: CubeStore):
    written(flagged, data(1))
    (slot,) = flagged.slots("surface", scenes.window(0))
    plain = open_store(f"{flagged.url}-plain")
    plain.ensure(scenes.SCHEMA)
    scenes.write(plain, {0: 1}, "made")
    assert slot.coverage == plain.slots("surface", scenes.window(0))[0].coverage


def test_slots_that_nobody_wrote_are_not_usable(flagged: CubeStore):
    found = flagged.open("surface")[NAME]
    assert (found[5] == Quality.NO_OBSERVATION).all()


def test_flags_describe_themselves_to_readers(versioned: CubeStore, tmp_path: Path):
    store = open_store(str(tmp_path / "plain"), kind="zarr")
    store.ensure(SCHEMA)
    written(store, data(1))
    attrs = store.open("surface")[NAME].attrs
    assert list(attrs["flag_masks"]) == [int(flag) for flag in Quality]
    assert attrs["flag_meanings"].split() == [
        "no_observation",
        "masked",
        "unreadable",
        "incomplete",
    ]
    path = f'ZARR:"{tmp_path / "plain"}":/surface/{NAME}:0'
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), data(1)[NAME][0])


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_parts_are_flagged_as_a_plain_array_would_be(draws):
    masks = st.lists(st.booleans(), min_size=70, max_size=70).map(
        lambda bits: np.array(bits).reshape(SHAPE)
    )
    lost = draws.draw(masks)
    expected = data(1, lost=lost)[NAME][0].to_numpy().copy()
    unset = data(1, lost=lost).B04[0].to_numpy() == 0
    parts = []
    for _ in range(draws.draw(st.integers(1, 3))):
        top, left = draws.draw(st.integers(0, 6)), draws.draw(st.integers(0, 9))
        bottom, right = draws.draw(st.integers(top + 1, 7)), draws.draw(st.integers(left + 1, 10))
        covered = draws.draw(masks)[top:bottom, left:right]
        parts.append(unread(covered, (top, bottom), (left, right)))
        hit = np.zeros(SHAPE, bool)
        hit[top:bottom, left:right] = covered
        expected[hit & unset] = Quality.UNREADABLE
    with TemporaryDirectory() as folder:
        store = open_store(f"{folder}/cube", kind="zarr")  # its lock lies beside it
        store.ensure(SCHEMA)
        lazy = data(1, lost=lost).chunk({"y": 4, "x": 4})
        assert isinstance(lazy.B04.data, da.Array)
        written(store, lazy, *parts)
        np.testing.assert_array_equal(flags_of(store), expected)
