"""Granules in a repository: whole partitions or nothing, whole columns, cubes beside them."""

import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr

from geostack_dagster.cube.ledger import LedgerEntry, Status
from geostack_dagster.cube.store import Commit, open_store
from geostack_dagster.cube.swaths.store import SwathStore, open_swaths
from geostack_dagster.cube.swaths.writing import GranuleRecord, path_of
from geostack_dagster.domain.days import Window
from geostack_dagster.errors import (
    ConfigurationError,
    ConflictError,
    IntegrityError,
    NoDataError,
    ServiceError,
)
from tests.cube.scenes import SCHEMA

DAY = date(2024, 7, 3)
WEEK = Window(DAY, DAY + timedelta(days=7))
ONE = Window(DAY, DAY + timedelta(days=1))
LINES, WIDTH, BANDS = 20, 90, 6


def scene(seed: int = 0, *, lazy: bool = False, width: int = WIDTH) -> xr.Dataset:
    """A granule's Dataset, every value known."""
    values = np.random.default_rng(seed).random((LINES, width, BANDS), np.float32)
    values[2, 3] = np.nan
    y, x = np.mgrid[:LINES, :width]
    array = da.from_array(values, chunks=(LINES, 32, BANDS)) if lazy else values
    return xr.Dataset(
        {
            "radiance": (
                ("downtrack", "crosstrack", "band"),
                array,
                {"units": "uW/cm^2/SR/nm"},
            ),
            "lon": (("downtrack", "crosstrack"), 8 + x / 1000),
            "lat": (("downtrack", "crosstrack"), 47 - y / 1000),
            "sun_zenith": (("downtrack", "crosstrack"), np.full((LINES, width), 30, np.float32)),
            "glt_x": (
                ("ortho_y", "ortho_x"),
                np.array([[1, -2], [0, 3]], np.int32),
                {"geotransform": [8.0, 0.1, 0.0, 47.0, 0.0, -0.1]},
            ),
            "glt_y": (("ortho_y", "ortho_x"), np.array([[1, -1], [0, 2]], np.int32)),
        },
        coords={
            "wavelength_nm": ("band", np.linspace(2100, 2400, BANDS)),
            "fwhm_nm": ("band", np.full(BANDS, 8.6)),
            "good_band": ("band", np.array([1, 1, 1, 0, 1, 1], np.int8)),
            "column": ("crosstrack", np.arange(100, 100 + width, dtype=np.int32)),
        },
        attrs={"item": f"scene {seed}", "granule_shape": [LINES, width, BANDS], "notes": []},
    )


def a_record(name: str = "E1", seed: int = 0, day: date = DAY, **changes: Any) -> GranuleRecord:
    @contextmanager
    def opened():
        yield scene(seed, lazy=True)

    return GranuleRecord(
        **{
            "id": name,
            "day": day,
            "acquired": datetime(day.year, day.month, day.day, 10, tzinfo=UTC),
            "fingerprint": f"of {name} {seed}",
            "open": opened,
            **changes,
        }
    )


def a_commit(fingerprint: str = "f1") -> Commit:
    return Commit(pipeline="emit", partition="emit/here/day", fingerprint=fingerprint)


@pytest.fixture(params=["icechunk", "zarr"])
def store(request, tmp_path: Path) -> SwathStore:
    return open_swaths(str(tmp_path / "cube"), "radiance", kind=request.param)


def ids(store: SwathStore, window: Window | None = None) -> list[str]:
    return [one.id for one in store.granules(window)]


def test_a_granule_reads_back_as_it_was(store):
    report = store.write(ONE, [a_record()], a_commit())
    assert report.written
    assert report.rewritten == ("E1",)
    assert report.raw_bytes == LINES * WIDTH * BANDS * 4
    (stored,) = store.granules(ONE)
    assert (stored.shape, stored.path) == ((LINES, WIDTH, BANDS), "radiance/E1")
    assert stored.coverage == pytest.approx(1 - 1 / (LINES * WIDTH))
    found, expected = store.open(stored), scene()
    for name in (*expected.data_vars, *expected.coords):
        np.testing.assert_array_equal(found[name], expected[name])
        assert found[name].dtype == expected[name].dtype
        assert found[name].dims == expected[name].dims
    assert set(found.coords) >= {"wavelength_nm", "column"}
    assert found.attrs["item"] == "scene 0"
    assert found["glt_x"].attrs["geotransform"] == [8.0, 0.1, 0.0, 47.0, 0.0, -0.1]


def test_columns_are_cut_and_lines_never(store):
    store.write(ONE, [a_record()], a_commit())
    (stored,) = store.granules()
    values = store.granule(stored).values
    assert values.chunks == (LINES, 64, BANDS)
    lazy = store.open(stored, columns=64)["radiance"]
    assert lazy.chunks[0] == (LINES,)


def test_a_retrieval_gets_arrays_and_a_mask(store):
    store.write(ONE, [a_record()], a_commit())
    found = store.granule(store.granules()[0])
    expected = scene()
    columns, bands = slice(10, 26), np.array([1, 2, 4])
    np.testing.assert_array_equal(
        found.values[:, columns, bands], expected["radiance"].to_numpy()[:, columns, bands]
    )
    valid = found.valid()
    assert valid.shape == found.shape == (LINES, WIDTH)
    assert not valid[2, 3]
    assert valid.sum() == LINES * WIDTH - 1
    assert found.units == "uW/cm^2/SR/nm"
    assert found.geotransform == (8.0, 0.1, 0.0, 47.0, 0.0, -0.1)
    np.testing.assert_array_equal(found.glt_x, [[1, -2], [0, 3]])
    np.testing.assert_array_equal(found.good_bands, [1, 1, 1, 0, 1, 1])
    assert found.sun_zenith_deg.dtype == np.float32
    assert found.view_zenith_deg is None


def test_what_is_current_is_not_touched(store):
    store.write(ONE, [a_record()], a_commit())
    assert store.is_current(ONE, "f1")

    def unread():
        raise AssertionError("nothing needs to be read")

    again = store.write(ONE, [replace(a_record(), open=unread)], a_commit())
    assert not again.written
    # Another reason for the same granule: only the days are written.
    kept = store.write(ONE, [replace(a_record(), open=unread)], a_commit("f2"))
    assert (kept.written, kept.kept, kept.rewritten) == (True, ("E1",), ())
    assert store.fingerprint_of(ONE) == "f2"


def test_a_changed_granule_replaces_itself_and_a_withdrawn_one_goes(store):
    store.write(ONE, [a_record("E1"), a_record("E2", 2)], a_commit())
    report = store.write(ONE, [a_record("E1", 5)], a_commit("f2"))
    assert (report.rewritten, report.cleared) == (("E1",), ("E2",))
    assert ids(store) == ["E1"]
    found = store.open(store.granules()[0])
    np.testing.assert_array_equal(found["radiance"], scene(5)["radiance"])
    root = zarr.open_group(store._backend.reader().store, path="radiance", mode="r")
    assert sorted(name for name, _ in root.groups()) == ["E1", "days"]


def test_a_replaced_granule_may_have_another_shape(store):
    store.write(ONE, [a_record()], a_commit())

    @contextmanager
    def narrow():
        yield scene(1, width=17)

    store.write(ONE, [a_record(fingerprint="narrow", open=narrow)], a_commit("f2"))
    found = store.open(store.granules()[0])
    np.testing.assert_array_equal(found["radiance"], scene(1, width=17)["radiance"])


def test_an_empty_partition_is_remembered(store):
    store.write(ONE, [a_record()], a_commit())
    report = store.clear(ONE, a_commit("empty"))
    assert (report.written, report.cleared) == (True, ("E1",))
    assert store.granules() == []
    assert store.is_current(ONE, "empty")
    assert not store.clear(ONE, a_commit("empty")).written


def test_partitions_do_not_touch_one_another(store):
    later = Window(DAY + timedelta(days=1), DAY + timedelta(days=2))
    store.write(ONE, [a_record("E1")], a_commit("a"))
    store.write(later, [a_record("E2", 2, later.start)], a_commit("b"))
    assert (store.fingerprint_of(ONE), store.fingerprint_of(later)) == ("a", "b")
    assert ids(store) == ["E1", "E2"]
    assert ids(store, later) == ["E2"]
    assert store.fingerprint_of(WEEK) is None


def test_a_week_is_one_partition(store):
    late = DAY + timedelta(days=5)
    store.write(WEEK, [a_record("E2", 2, late), a_record("E1")], a_commit())
    assert ids(store) == ["E1", "E2"]
    assert store.is_current(WEEK, "f1")
    store.write(WEEK, [a_record("E1")], a_commit("f2"))
    assert ids(store) == ["E1"]


def test_a_read_that_fails_leaves_everything_as_it_was(store):
    store.write(ONE, [a_record()], a_commit())

    @contextmanager
    def broken():
        values = scene(3, lazy=True)

        def fail(block):
            raise ServiceError("the archive is busy")

        yield values.assign(
            radiance=values["radiance"].copy(
                data=values["radiance"].data.map_blocks(fail, dtype="f4")
            )
        )

    with pytest.raises(ServiceError, match="busy"):
        store.write(ONE, [a_record(fingerprint="new", open=broken)], a_commit("f2"))
    if store._backend.transactional:
        assert store.is_current(ONE, "f1")
        np.testing.assert_array_equal(
            store.open(store.granules()[0])["radiance"], scene()["radiance"]
        )
    else:  # readers may not take what is half written for what was there
        assert store.fingerprint_of(ONE) is None
        assert store.granules(ONE) == []
    assert store.write(ONE, [a_record()], a_commit("f3")).written
    assert store.is_current(ONE, "f3")
    np.testing.assert_array_equal(store.open(store.granules()[0])["radiance"], scene()["radiance"])


def test_the_ledger_says_what_became_of_the_files(store):
    entries = [
        LedgerEntry(item="E1", asset="observation", status=Status.MISSING, reason="http-404"),
        LedgerEntry(item="E1", asset="radiance", status=Status.READ),
    ]
    store.write(ONE, [a_record(ledger=lambda: entries)], a_commit())
    assert [(row.day, row.entry) for row in store.ledger(ONE)] == [(DAY, one) for one in entries]


def test_snapshots_hold_still_while_others_write(tmp_path):
    store = open_swaths(str(tmp_path / "cube"), "radiance")
    store.write(ONE, [a_record()], a_commit())
    before = store.open(store.granules()[0])
    store.write(ONE, [a_record(seed=9)], a_commit("f2"))
    np.testing.assert_array_equal(before["radiance"], scene()["radiance"])


def test_another_writer_of_the_same_day_is_told(tmp_path):
    first, second = (open_swaths(str(tmp_path / "cube"), "radiance") for _ in range(2))
    first.clear(ONE, a_commit("start"))

    @contextmanager
    def meanwhile():
        first.write(ONE, [a_record("E9", 9)], a_commit("theirs"))
        yield scene(1)

    with pytest.raises(ConflictError, match="another writer changed 2024-07-03"):
        second.write(ONE, [a_record(open=meanwhile)], a_commit("mine"))
    assert ids(first) == ["E9"]
    np.testing.assert_array_equal(first.open(first.granules()[0])["radiance"], scene(9)["radiance"])


def test_another_writer_of_the_same_work_is_no_conflict(tmp_path):
    first, second = (open_swaths(str(tmp_path / "cube"), "radiance") for _ in range(2))
    first.clear(ONE, a_commit("start"))

    @contextmanager
    def meanwhile():
        first.write(ONE, [a_record()], a_commit("same"))
        yield scene()

    assert not second.write(ONE, [a_record(open=meanwhile)], a_commit("same")).written
    assert ids(second) == ["E1"]
    np.testing.assert_array_equal(
        second.open(second.granules()[0])["radiance"], scene()["radiance"]
    )


def test_writers_of_many_days_at_once_lose_nothing(tmp_path):
    days = [DAY + timedelta(days=n) for n in range(6)]
    errors = []

    def write(n: int) -> None:
        try:
            store = open_swaths(str(tmp_path / "cube"), "radiance")
            window = Window(days[n], days[n] + timedelta(days=1))
            store.write(window, [a_record(f"E{n}", n, days[n])], a_commit(f"f{n}"))
        except Exception as error:  # noqa: BLE001 a thread has nobody to raise to
            errors.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    store = open_swaths(str(tmp_path / "cube"), "radiance")
    assert ids(store) == [f"E{n}" for n in range(6)]
    for n, stored in enumerate(store.granules()):
        np.testing.assert_array_equal(store.open(stored)["radiance"], scene(n)["radiance"])


def test_cubes_and_granules_share_a_repository(tmp_path):
    url = str(tmp_path / "cube")
    cubes = open_store(url)
    cubes.ensure(SCHEMA)
    store = open_swaths(url, "radiance")
    store.write(ONE, [a_record()], a_commit())
    assert cubes.schema(SCHEMA.name) == SCHEMA
    actions = [entry.action for entry in cubes.history()]
    assert actions[:2] == ["write", "ensure radiance"]
    assert cubes.history()[0].commit == a_commit()
    with pytest.raises(IntegrityError, match="is a cube on a grid"):
        open_swaths(url, SCHEMA.name).write(ONE, [], a_commit())


@pytest.mark.parametrize("name", ["SC:ATL08.005:229324795", "a/b", "é", "x" * 300])
def test_any_id_has_a_place_of_its_own(store, name):
    store.write(ONE, [a_record(name), a_record(name.replace(":", "_").replace("/", "_") + "_", 2)],
                a_commit())  # fmt: skip
    assert ids(store)[0] == name
    np.testing.assert_array_equal(store.open(store.granules()[0])["radiance"], scene()["radiance"])
    assert len({one.path for one in store.granules()}) == 2


def test_what_does_not_fit_is_refused(store):
    with pytest.raises(ConfigurationError, match="cannot be called 'days'"):
        path_of("radiance", "days")
    tomorrow = DAY + timedelta(days=1)
    for bad in (
        [a_record(day=tomorrow)],
        [a_record(), a_record()],
        [a_record(acquired=datetime(2024, 7, 3))],  # noqa: DTZ001 what is refused
    ):
        with pytest.raises(ConfigurationError, match="listed once, of its days"):
            store.write(ONE, bad, a_commit())

    @contextmanager
    def wrong():
        yield scene().assign(radiance=scene()["radiance"].astype(np.float64))

    with pytest.raises(ConfigurationError, match="stored as float32"):
        store.write(ONE, [a_record(open=wrong)], a_commit())


def test_nothing_is_there_before_the_first_write(store):
    assert store.granules() == []
    assert store.fingerprint_of(ONE) is None
    assert store.ledger() == []
    store.write(ONE, [a_record()], a_commit())
    (stored,) = store.granules()
    store.clear(ONE, a_commit("gone"))
    with pytest.raises(NoDataError, match="no granule E1"):
        store.open(stored)
