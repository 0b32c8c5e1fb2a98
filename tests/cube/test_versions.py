"""What transactions give: snapshots, rollback, expiry, and no lost update."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from geostack_dagster.cube import icechunk_backend
from geostack_dagster.cube.icechunk_backend import IcechunkBackend
from geostack_dagster.cube.keys import Keys
from geostack_dagster.cube.ledger import LedgerEntry
from geostack_dagster.cube.schema import EXTENT
from geostack_dagster.cube.store import CubeStore, open_store
from geostack_dagster.errors import (
    ConfigurationError,
    ConflictError,
    IntegrityError,
    NoDataError,
    ServiceError,
)
from tests.cube import scenes
from tests.cube.scenes import SCHEMA, assert_holds, commit, day, window, write


class TestRollback:
    def test_one_partition_returns_and_others_stay(self, versioned: CubeStore):
        good = write(versioned, {0: 1, 1: 2}, "good").snapshot
        write(versioned, {0: 8}, "bad", span=window(0, 2))
        write(versioned, {2: 5}, "other")
        report = versioned.rollback(SCHEMA.name, window(0, 2), good, commit("why"))
        assert report.rewritten == (day(0), day(1))
        assert_holds(versioned, {0: 1, 1: 2, 2: 5})
        assert versioned.is_current(SCHEMA.name, window(0, 2), "good")
        assert [row.day for row in versioned.ledger(SCHEMA.name)] == [day(0), day(1), day(2)]
        assert versioned.history(1)[0].action == f"rollback surface to {good}"

    def test_to_before_the_partition_was_written(self, versioned: CubeStore):
        empty = versioned.history(1)[0].snapshot
        write(versioned, {0: 1}, "one")
        versioned.rollback(SCHEMA.name, window(0), empty, commit("why"))
        assert_holds(versioned, {0: None})
        assert versioned.fingerprint_of(SCHEMA.name, window(0)) == "why"
        assert versioned.ledger(SCHEMA.name) == []

    def test_of_a_partition_that_nobody_wrote_yet(self, versioned: CubeStore):
        empty = versioned.history(1)[0].snapshot
        far = window(EXTENT + 3)
        versioned.rollback(SCHEMA.name, far, empty, commit("why"))
        assert versioned.fingerprint_of(SCHEMA.name, far) == "why"
        assert [slot.item_count for slot in versioned.slots(SCHEMA.name)] == [0]

    def test_to_when_it_was_parts_of_others(self, versioned: CubeStore):
        days = write(versioned, {0: 1}, "a day").snapshot
        write(versioned, {0: 5, 1: 6}, "two days")
        versioned.rollback(SCHEMA.name, window(0, 2), days, commit("why"))
        assert_holds(versioned, {0: 1, 1: None})
        assert versioned.fingerprint_of(SCHEMA.name, window(0, 2)) == "why"

    def test_an_unknown_snapshot_is_refused(self, versioned: CubeStore):
        with pytest.raises(ConfigurationError, match="snapshot"):
            versioned.rollback(SCHEMA.name, window(0), "6Z56PMZ918XNM0ASMXRG", commit("why"))

    def test_a_plain_store_says_that_it_has_no_snapshots(self, tmp_path: Path):
        plain = open_store(str(tmp_path / "plain"), kind="zarr")
        plain.ensure(SCHEMA)
        with pytest.raises(ConfigurationError, match="keeps no snapshots"):
            plain.rollback(SCHEMA.name, window(0), "x", commit("why"))


class TestExpiry:
    def test_the_present_state_stays_and_the_past_goes(self, versioned: CubeStore):
        first = write(versioned, {0: 1, 1: 2}, "one").snapshot
        write(versioned, {0: 5}, "two")
        later = datetime.now(tz=UTC) + timedelta(hours=2)
        expired = versioned.expire(timedelta(hours=1), now=later)
        assert expired.snapshots >= 1
        assert expired.bytes > 0
        assert_holds(versioned, {0: 5, 1: 2})
        assert len(versioned.ledger(SCHEMA.name)) == 2
        with pytest.raises(ConfigurationError, match="snapshot"):
            versioned.open(SCHEMA.name, snapshot=first)
        write(versioned, {2: 6}, "three")
        assert_holds(versioned, {0: 5, 1: 2, 2: 6})

    def test_recent_snapshots_are_not_touched(self, versioned: CubeStore):
        first = write(versioned, {0: 1}, "one").snapshot
        reader = versioned.open(SCHEMA.name, decode=False)
        write(versioned, {0: 5}, "two")
        assert versioned.expire(timedelta(hours=1)).snapshots == 0
        np.testing.assert_array_equal(reader.B04[0], scenes.pixels(1)["B04"])
        assert versioned.open(SCHEMA.name, snapshot=first) is not None

    def test_an_old_snapshot_that_was_the_newest_until_lately_is_not_touched(
        self, versioned: CubeStore
    ):
        write(versioned, {0: 1}, "one")
        old = write(versioned, {0: 2, 1: 3}, "two").snapshot
        reader = versioned.open(SCHEMA.name, decode=False)
        write(versioned, {0: 4}, "three")
        changed_at = versioned.history(1)[0].written_at
        now = changed_at - timedelta(microseconds=1) + timedelta(hours=1)
        assert versioned.expire(timedelta(hours=1), now=now).snapshots >= 1
        np.testing.assert_array_equal(reader.B04[0], scenes.pixels(2)["B04"])
        assert_holds(versioned, {0: 4, 1: 3})
        again = versioned.open(SCHEMA.name, decode=False, snapshot=old)
        np.testing.assert_array_equal(again.B04[0], scenes.pixels(2)["B04"])

    def test_less_than_an_hour_is_refused(self, versioned: CubeStore):
        with pytest.raises(ConfigurationError, match="shorter"):
            versioned.expire(timedelta(minutes=59))


class TestConflicts:
    """A second writer commits while the first is still reading pixels."""

    def other(self, store: CubeStore, seeds: dict[int, int], made: str):
        def meanwhile() -> list[LedgerEntry]:
            if not done:
                done.append(True)
                write(open_store(store.url), seeds, made)
            return []

        done: list[bool] = []
        return meanwhile

    def test_another_partition_does_not_matter(self, versioned: CubeStore):
        meanwhile = self.other(versioned, {1: 2}, "two")
        assert write(versioned, {0: 1}, "one", ledger=meanwhile).written
        assert_holds(versioned, {0: 1, 1: 2})

    def test_an_extended_time_axis_does_not_matter(self, versioned: CubeStore):
        meanwhile = self.other(versioned, {3000: 2}, "two")
        assert write(versioned, {0: 1}, "one", ledger=meanwhile).written
        assert_holds(versioned, {0: 1, 3000: 2})

    def test_the_same_work_is_not_done_twice(self, versioned: CubeStore):
        meanwhile = self.other(versioned, {0: 1}, "one")
        assert not write(versioned, {0: 1}, "one", ledger=meanwhile).written
        assert_holds(versioned, {0: 1})

    def test_other_pixels_of_the_same_day_are_not_overwritten(self, versioned: CubeStore):
        meanwhile = self.other(versioned, {0: 5}, "newer")
        with pytest.raises(ConflictError, match="2024-01-01"):
            write(versioned, {0: 1}, "one", ledger=meanwhile)
        assert_holds(versioned, {0: 5})
        assert versioned.is_current(SCHEMA.name, window(0), "newer")

    def test_the_same_variable_is_added_once(self, versioned: CubeStore):
        open_store(versioned.url).ensure(SCHEMA)
        assert [entry.action for entry in versioned.history()].count("ensure surface") == 1


class TestWithoutLock:
    """Object stores: a commit is refused when another came first, and is tried again."""

    @pytest.fixture
    def backend(self, versioned: CubeStore, monkeypatch: pytest.MonkeyPatch) -> IcechunkBackend:
        monkeypatch.setattr(icechunk_backend, "_FIRST_WAIT_S", 0.001)
        monkeypatch.setattr(icechunk_backend, "_ATTEMPTS", 3)
        return self.unlocked(versioned.url)

    def unlocked(self, url: str) -> IcechunkBackend:
        backend = IcechunkBackend(url, {})
        backend.location = dataclasses.replace(backend.location, scheme="s3")
        return backend

    def beaten(self, backend: IcechunkBackend, times: int):
        """Settles only after another writer committed, so often."""
        key = f"{SCHEMA.name}/item_count/c"
        left = list(range(times))

        def settle(newest: Keys) -> bool:
            if left:
                slot = left.pop()
                other = self.unlocked(backend.url).begin()
                other.keys.put({f"{key}/{slot}": bytes([slot + 1, 0, 0, 0])})
                assert other.commit("other", lambda _: True) is not None
            newest.put({f"{key}/9": bytes([9, 0, 0, 0])})
            return True

        return settle

    def test_it_is_tried_again_on_the_newest_state(self, backend: IcechunkBackend):
        committed = backend.begin().commit("mine", self.beaten(backend, 2))
        assert committed is not None
        assert committed.attempts == 3
        counts = backend.column(backend.reader(), f"{SCHEMA.name}/item_count")
        assert {slot: chunk[0] for slot, chunk in counts.items()} == {0: 1, 1: 2, 9: 9}

    def test_attempts_are_bounded(self, backend: IcechunkBackend):
        with pytest.raises(ConflictError, match="after 3 attempts"):
            backend.begin().commit("mine", self.beaten(backend, 9))
        counts = backend.column(backend.reader(), f"{SCHEMA.name}/item_count")
        assert set(counts) == {6, 7, 8}


class TestDamage:
    def test_a_structure_changed_behind_our_back_is_drift(self, versioned: CubeStore):
        key = f"{SCHEMA.name}/B04/zarr.json"
        transaction = versioned._backend.begin()
        document = json.loads(transaction.keys.get([key])[key])
        document["fill_value"] = 7
        transaction.keys.put({key: json.dumps(document).encode()})
        transaction.commit("vandal", lambda newest: True)
        with pytest.raises(IntegrityError, match=r"B04\.fill_value is 7"):
            versioned.ensure(SCHEMA)

    def test_a_foreign_group_is_not_taken_for_a_cube(self, tmp_path: Path):
        import zarr

        zarr.open_group(tmp_path / "foreign").create_group("surface")
        store = open_store(str(tmp_path / "foreign"), kind="zarr")
        with pytest.raises(IntegrityError, match="no cube of this package"):
            store.ensure(SCHEMA)

    def test_a_folder_with_other_files_is_not_taken_over(self, tmp_path: Path):
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thesis.txt").write_text("mine")
        with pytest.raises(ConfigurationError, match="refused"):
            open_store(str(tmp_path / "full")).ensure(SCHEMA)
        assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"

    @pytest.mark.parametrize("kind", ["icechunk", "zarr"])
    def test_a_place_that_cannot_be_is_named(self, tmp_path: Path, kind):
        (tmp_path / "file").write_text("")
        store = open_store(str(tmp_path / "file" / "cube"), kind=kind)
        with pytest.raises((ConfigurationError, ServiceError, NoDataError), match="file"):
            store.ensure(SCHEMA)

    def test_foreign_commits_do_not_break_the_history(self, versioned: CubeStore):
        transaction = versioned._backend.begin()
        transaction.keys.put({"surface/item_count/c/9": bytes(4)})
        transaction.commit("by hand", lambda newest: True)
        assert versioned.history(1)[0].action == "by hand"


def test_options_are_checked_and_never_shown():
    with pytest.raises(ConfigurationError, match="secret_acess_key"):
        open_store("s3://bucket/cube", options={"secret_acess_key": "hunter2"})
    with pytest.raises(ConfigurationError, match="account"):
        open_store("az://container/cube")
    for url, options in (
        ("s3://bucket/cube", {"access_key_id": "me", "secret_access_key": "hunter2"}),
        ("az://container/cube", {"account": "me", "access_key": "aHVudGVyMg=="}),
        ("gs://bucket/cube", {"bearer_token": "hunter2"}),
    ):
        assert "hunter2" not in repr(open_store(url, options=options))
        assert url in repr(open_store(url, options=options))
