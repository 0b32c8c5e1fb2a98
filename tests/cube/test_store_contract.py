"""What every store of cubes promises; run against each kind."""

import dataclasses
import math
from datetime import UTC, datetime

import numpy as np
import pytest

from geostack_dagster.cube.ledger import LedgerEntry, LedgerRow, Status
from geostack_dagster.cube.schema import EXTENT, Variable
from geostack_dagster.cube.slots import SlotRecord
from geostack_dagster.cube.store import CubeStore
from geostack_dagster.errors import ConfigurationError, IntegrityError, NoDataError
from tests.cube import scenes
from tests.cube.scenes import SCHEMA, assert_holds, commit, day, window, write


class TestBeforeAnything:
    def test_an_absent_cube_holds_nothing_and_says_so(self, store: CubeStore):
        assert store.slots("other") == []
        assert store.ledger("other") == []
        assert store.fingerprint_of("other", window(0)) is None
        assert not store.is_current("other", window(0), "x")
        with pytest.raises(NoDataError, match="'other'"):
            store.open("other")

    def test_a_fresh_cube_costs_nothing_and_holds_nothing(self, store: CubeStore):
        assert store.slots(SCHEMA.name) == []
        assert store.open(SCHEMA.name).sizes["time"] == EXTENT
        assert_holds(store, {0: None, EXTENT - 1: None})

    def test_the_schema_reads_back(self, store: CubeStore):
        assert store.schema(SCHEMA.name) == SCHEMA
        assert store.ensure(SCHEMA) == SCHEMA
        assert [entry.action for entry in store.history()].count("ensure surface") == 1


class TestWrite:
    def test_pixels_and_bookkeeping_read_back(self, store: CubeStore):
        report = write(store, {1: 7, 3: 8}, "made", span=window(0, 7))
        assert (report.written, report.rewritten) == (True, (day(1), day(3)))
        # Six chunks a day and variable; the one in the corner holds nothing.
        assert report.chunks == 2 * 2 * 5
        assert_holds(store, {0: None, 1: 7, 2: None, 3: 8, 4: None})
        slot = store.slots(SCHEMA.name)[1]
        assert slot.day == day(1)
        assert (slot.fingerprint, slot.made_from, slot.item_count) == ("slot-7", "made", 8)
        assert slot.acquired == datetime(2024, 1, 2, 10, 30, 5, 123456, tzinfo=UTC)
        assert slot.coverage == pytest.approx(1 - 16 / 70)
        assert [found.day for found in store.slots(SCHEMA.name)] == [day(n) for n in range(7)]
        assert store.slots(SCHEMA.name, window(1)) == [slot]

    def test_physical_values_decode(self, store: CubeStore):
        write(store, {0: 7}, "made")
        raw = scenes.pixels(7)["B04"].astype(float)
        expected = np.where(raw == 0, np.nan, raw * 1e-4 - 0.1)
        found = store.open(SCHEMA.name).B04.isel(time=0).values
        np.testing.assert_allclose(found, expected, rtol=1e-12)

    def test_physical_floats_are_packed(self, store: CubeStore):
        data = scenes.dataset({0: 7})
        raw = data.B04.values
        data["B04"] = data.B04.dims, np.where(raw == 0, np.nan, raw * 1e-4 - 0.1)
        store.write(SCHEMA.name, window(0), data, [scenes.record(0, 7)], commit("made"))
        assert_holds(store, {0: 7})

    @pytest.mark.parametrize("beyond", [7.0, -0.2, -0.1])
    def test_values_that_cannot_be_packed_are_not_invented(self, store: CubeStore, beyond: float):
        data = scenes.dataset({0: 7})
        physical = data.B04.values * 1e-4 - 0.1
        physical[0, 6, 9] = beyond
        data["B04"] = data.B04.dims, physical
        data["B04"] = data.B04.where(scenes.pixels(7)["B04"] != 0)
        with pytest.raises(IntegrityError, match=f"'B04': 1 values such as {beyond:g}"):
            store.write(SCHEMA.name, window(0), data, [scenes.record(0, 7)], commit("made"))
        assert store.slots(SCHEMA.name) == []

    @pytest.mark.parametrize("chunk", [(4, 4), (7, 10), (3, 5), (1, 10)])
    def test_lazy_data_is_computed_once_whatever_its_chunks(
        self, store: CubeStore, chunk: tuple[int, int]
    ):
        seen: list[tuple[int, ...]] = []
        data = scenes.lazy(scenes.dataset({0: 7, 1: 8}), chunk, seen)
        records = [scenes.record(0, 7), scenes.record(1, 8)]
        report = store.write(SCHEMA.name, window(0, 2), data, records, commit("made"))
        assert_holds(store, {0: 7, 1: 8})
        blocks = 2 * math.ceil(7 / chunk[0]) * math.ceil(10 / chunk[1])
        assert len(seen) == 2 * blocks
        assert report.chunks == 2 * 2 * 5
        assert store.slots(SCHEMA.name)[0].coverage == pytest.approx(1 - 16 / 70)

    def test_the_same_fingerprint_again_computes_and_writes_nothing(self, store: CubeStore):
        write(store, {0: 7}, "made")
        before, seen = len(store.history()), []
        data = scenes.lazy(scenes.dataset({0: 9}), (4, 4), seen)
        report = store.write(SCHEMA.name, window(0), data, [scenes.record(0, 9)], commit("made"))
        assert not report.written
        assert (len(store.history()), seen) == (before, [])
        assert_holds(store, {0: 7})

    def test_force_writes_what_is_current(self, store: CubeStore):
        write(store, {0: 7}, "made")
        assert write(store, {0: 7}, "made", force=True).rewritten == (day(0),)

    def test_only_days_that_changed_are_rewritten(self, store: CubeStore):
        write(store, {0: 1, 2: 2}, "one", span=window(0, 7))
        report = write(store, {0: 1, 2: 5, 4: 6}, "two", span=window(0, 7))
        assert (report.rewritten, report.kept) == ((day(2), day(4)), (day(0),))
        assert_holds(store, {0: 1, 1: None, 2: 5, 3: None, 4: 6})
        assert store.is_current(SCHEMA.name, window(0, 7), "two")

    def test_a_rewrite_replaces_chunks_that_now_hold_nothing(self, store: CubeStore):
        write(store, {0: 1}, "one")
        data = scenes.dataset({0: 5})
        data.B04.values[:, 4:, :] = 0
        data.ndvi.values[:] = np.nan
        store.write(SCHEMA.name, window(0), data, [scenes.record(0, 5)], commit("two"))
        found = scenes.stored(store, [0])
        np.testing.assert_array_equal(found.B04.values, data.B04.values)
        assert np.isnan(found.ndvi.values).all()

    def test_a_day_that_vanished_from_the_inputs_is_emptied(self, store: CubeStore):
        write(store, {0: 1, 1: 2}, "one")
        report = write(store, {1: 2}, "two", span=window(0, 2))
        assert (report.cleared, report.kept) == ((day(0),), (day(1),))
        assert_holds(store, {0: None, 1: 2})
        assert store.slots(SCHEMA.name)[0].fingerprint is None

    def test_a_day_of_which_nothing_was_readable_keeps_its_record(self, store: CubeStore):
        failed = LedgerEntry(
            item="a", asset="B04", status=Status.FAILED, reason="http-503", http_status=503
        )
        lost = SlotRecord(day=day(0), item_count=1, ledger=lambda: [failed])
        store.write(SCHEMA.name, window(0), scenes.dataset({}), [lost], commit("made"))
        (slot,) = store.slots(SCHEMA.name)
        assert (slot.fingerprint, slot.item_count, slot.coverage) == ("made", 1, 0.0)
        assert store.ledger(SCHEMA.name) == [LedgerRow(day(0), failed)]

    def test_a_ledger_that_refuses_abandons_the_write(self, store: CubeStore):
        def refuse() -> list[LedgerEntry]:
            raise IntegrityError("budget spent")

        write(store, {0: 1}, "one")
        with pytest.raises(IntegrityError, match="budget"):
            write(store, {0: 2}, "two", ledger=refuse)
        assert not store.is_current(SCHEMA.name, window(0), "two")

    def test_the_time_axis_grows_in_one_step(self, store: CubeStore):
        write(store, {0: 1}, "one")
        write(store, {EXTENT + 3: 2}, "far")
        assert store.open(SCHEMA.name).sizes["time"] == 2 * EXTENT
        assert_holds(store, {0: 1, EXTENT + 2: None, EXTENT + 3: 2})
        times = store.open(SCHEMA.name).time.values
        assert times[0] == np.datetime64("2024-01-01")
        assert (np.diff(times) == np.timedelta64(1, "D")).all()


class TestClear:
    def test_a_withdrawn_scene_leaves_an_empty_slot(self, store: CubeStore):
        write(store, {0: 1, 1: 2}, "one")
        report = store.clear(SCHEMA.name, window(0, 2), commit("gone"))
        assert report.cleared == (day(0), day(1))
        assert_holds(store, {0: None, 1: None})
        for slot in store.slots(SCHEMA.name):
            assert (slot.fingerprint, slot.item_count, slot.made_from) == (None, 0, "gone")
        assert store.ledger(SCHEMA.name) == []

    def test_clearing_what_is_empty_records_the_fingerprint(self, store: CubeStore):
        assert store.clear(SCHEMA.name, window(0), commit("nothing")).written
        assert store.is_current(SCHEMA.name, window(0), "nothing")
        assert not store.clear(SCHEMA.name, window(0), commit("nothing")).written


class TestFingerprints:
    def test_a_partition_has_one_only_if_it_was_written_as_a_whole(self, store: CubeStore):
        write(store, {0: 1}, "one")
        assert store.fingerprint_of(SCHEMA.name, window(0)) == "one"
        assert store.fingerprint_of(SCHEMA.name, window(0, 2)) is None
        write(store, {1: 1}, "two")
        assert store.fingerprint_of(SCHEMA.name, window(0, 2)) is None

    def test_the_newest_commit_of_another_store_object_is_seen(self, store: CubeStore, tmp_path):
        from geostack_dagster.cube.store import open_store

        kind = "icechunk" if store.history()[0].snapshot else "zarr"
        other = open_store(f"file://{tmp_path / 'cube'}", kind=kind)
        write(other, {0: 1}, "one")
        assert store.is_current(SCHEMA.name, window(0), "one")


class TestLedger:
    def test_entries_read_back_by_day(self, store: CubeStore):
        many = [
            LedgerEntry(item=f"item-{n:02}", asset="B04", status=Status.MISSING, reason="http-404")
            for n in range(40)
        ]
        write(store, {0: 1}, "one", ledger=lambda: many)
        write(store, {2: 1}, "two")
        rows = store.ledger(SCHEMA.name)
        assert [row.entry for row in rows[:40]] == many
        assert rows[40] == LedgerRow(day(2), scenes.entry(2))
        assert store.ledger(SCHEMA.name, window(1, 2)) == rows[40:]

    def test_signatures_never_reach_it(self, store: CubeStore):
        detail = "GET https://a.blob.core.windows.net/c/b?sig=abcdefghijklmnopqrstuv failed"
        failed = LedgerEntry(item="a", asset="b", status=Status.FAILED, detail=detail)
        write(store, {0: 1}, "one", ledger=lambda: [failed])
        (row,) = store.ledger(SCHEMA.name)
        assert row.entry.detail is not None
        assert "abcdefgh" not in row.entry.detail


class TestSchema:
    def test_a_variable_can_be_added(self, store: CubeStore):
        write(store, {0: 1}, "one")
        added = Variable(name="B08", dtype="uint16", fill_value=0)
        store.ensure(dataclasses.replace(SCHEMA, variables=(*SCHEMA.variables, added)))
        assert_holds(store, {0: 1})
        assert (store.open(SCHEMA.name, decode=False).B08.isel(time=0) == 0).all()

    def test_descriptions_can_change(self, store: CubeStore):
        red = dataclasses.replace(SCHEMA.variables[0], attrs={"long_name": "visible red"})
        store.ensure(dataclasses.replace(SCHEMA, title="New", variables=(red, SCHEMA.variables[1])))
        cube = store.open(SCHEMA.name)
        assert (cube.title, cube.B04.long_name) == ("New", "visible red")

    @pytest.mark.parametrize(
        ("change", "member"),
        [
            ({"start": day(1)}, "start"),
            ({"chunk": (5, 4)}, "chunk"),
            ({"grid": dataclasses.replace(scenes.GRID, left=5e5 + 10)}, "grid"),
            ({"variables": SCHEMA.variables[:1]}, "'ndvi'"),
            ("dtype", "variables.B04.dtype"),
            ("fill_value", "variables.B04.fill_value"),
            ("scale_factor", "variables.B04.scale_factor"),
        ],
    )
    def test_drift_is_refused_and_named(self, store: CubeStore, change, member: str):
        if isinstance(change, str):
            value = {"dtype": "int16", "fill_value": 1, "scale_factor": 1e-3}[change]
            red = dataclasses.replace(SCHEMA.variables[0], **{change: value})
            change = {"variables": (red, SCHEMA.variables[1])}
        with pytest.raises(IntegrityError, match=member):
            store.ensure(dataclasses.replace(SCHEMA, **change))

    def test_two_products_live_side_by_side(self, store: CubeStore):
        index = dataclasses.replace(SCHEMA, name="indices", variables=SCHEMA.variables[1:])
        store.ensure(index)
        write(store, {0: 1}, "one")
        data = scenes.dataset({0: 2})[["ndvi"]]
        store.write("indices", window(0), data, [scenes.record(0, 2)], commit("two"))
        assert_holds(store, {0: 1})
        found = store.open("indices").ndvi.isel(time=0).values
        np.testing.assert_array_equal(found, scenes.pixels(2)["ndvi"])
        assert store.fingerprint_of("indices", window(0)) == "two"


class TestRefusals:
    """Nothing was read or written when one of these is raised."""

    def refused(self, store: CubeStore, message: str, *, data=None, slots=None, span=None):
        seen: list = []
        data = scenes.lazy(scenes.dataset({0: 1}) if data is None else data, (4, 4), seen)
        before = len(store.history())
        with pytest.raises(ConfigurationError, match=message):
            store.write(
                SCHEMA.name,
                span or window(0),
                data,
                [scenes.record(0, 1)] if slots is None else slots,
                commit("made"),
            )
        assert (seen, len(store.history())) == ([], before)

    def test_a_day_of_another_partition(self, store: CubeStore):
        self.refused(store, "2024-01-01 is not in the partition 2024-01-02", span=window(1))

    def test_days_before_the_cube_begins(self, store: CubeStore):
        self.refused(store, "before the first day", span=window(-1, 3))

    def test_a_shifted_grid_names_both(self, store: CubeStore):
        data = scenes.dataset({0: 1}).assign_coords(x=lambda found: found.x + 5)
        self.refused(store, r"from 500010 to 500100.*from 500005 to 500095.*EPSG:32632", data=data)

    def test_part_of_the_grid(self, store: CubeStore):
        self.refused(store, "y axis", data=scenes.dataset({0: 1}).isel(y=slice(0, 4)))

    def test_an_upside_down_grid(self, store: CubeStore):
        self.refused(store, "y axis", data=scenes.dataset({0: 1}).isel(y=slice(None, None, -1)))

    def test_missing_and_unknown_variables(self, store: CubeStore):
        data = scenes.dataset({0: 1}).rename(ndvi="evi")
        self.refused(store, r"missing \['ndvi'\], unknown \['evi'\]", data=data)

    def test_a_type_that_does_not_fit(self, store: CubeStore):
        data = scenes.dataset({0: 1})
        self.refused(store, "B04.*int64", data=data.assign(B04=data.B04.astype("int64")))

    def test_other_dims(self, store: CubeStore):
        self.refused(store, "dims", data=scenes.dataset({0: 1}).transpose("y", "x", "time"))

    def test_instants_in_place_of_days(self, store: CubeStore):
        data = scenes.dataset({0: 1})
        data = data.assign_coords(time=data.time + np.timedelta64(10, "h"))
        self.refused(store, "solar days", data=data)

    def test_a_day_without_a_record(self, store: CubeStore):
        self.refused(store, "without one 2024-01-01", slots=[])

    def test_a_record_of_another_partition(self, store: CubeStore):
        slots = [scenes.record(0, 1), scenes.record(5, 1)]
        self.refused(store, "not in .* 2024-01-06", slots=slots)


class TestHistory:
    def test_commits_say_who_wrote_what_from_what(self, store: CubeStore):
        write(store, {0: 1}, "one")
        newest = store.history(limit=1)
        assert len(newest) == 1
        assert (newest[0].action, newest[0].commit) == ("write", commit("one"))
        assert newest[0].written_at is not None


def test_an_unknown_kind_or_scheme_is_refused(tmp_path):
    from geostack_dagster.cube.store import open_store

    with pytest.raises(ConfigurationError, match="'netcdf'"):
        open_store(str(tmp_path), kind="netcdf")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="ftp"):
        open_store("ftp://host/cube")
    with pytest.raises(ConfigurationError, match="prefix"):
        open_store("s3://bucket")
