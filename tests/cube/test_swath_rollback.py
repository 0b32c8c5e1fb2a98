"""A partition of granules goes back to what an earlier snapshot holds."""

from datetime import timedelta

import numpy as np
import pytest

from geostack_dagster.cube.store import open_store
from geostack_dagster.cube.swaths.store import open_swaths
from geostack_dagster.domain.days import Window
from geostack_dagster.errors import ConfigurationError
from tests.cube.test_swaths import DAY, ONE, WEEK, a_commit, a_record, ids, scene

NEXT = DAY + timedelta(days=1)


@pytest.fixture
def store(tmp_path):
    return open_swaths(str(tmp_path / "cube"), "radiance")


def values(store, name: str) -> np.ndarray:
    (stored,) = [one for one in store.granules(WEEK) if one.id == name]
    return store.open(stored)["radiance"].to_numpy()


def test_granules_come_back_go_away_and_change_back(store, tmp_path):
    good = store.write(ONE, [a_record("kept"), a_record("changed"), a_record("lost")], a_commit())
    later = Window(NEXT, NEXT + timedelta(days=1))
    store.write(later, [a_record("tomorrow", 9, NEXT)], a_commit("other day"))
    store.write(
        ONE, [a_record("kept"), a_record("changed", 5), a_record("new", 6)], a_commit("bad")
    )

    report = store.rollback(ONE, good.snapshot, a_commit("as before"))

    assert ids(store, ONE) == ["changed", "kept", "lost"]
    assert ids(store, later) == ["tomorrow"]
    assert store.fingerprint_of(ONE) == "f1"
    for name in ("kept", "changed", "lost"):
        np.testing.assert_array_equal(values(store, name), scene(0)["radiance"])
    np.testing.assert_array_equal(values(store, "tomorrow"), scene(9)["radiance"])
    assert open_store(store.url).history(1)[0].snapshot == report.snapshot
    # What was rolled back is no longer there, and its name is free again.
    assert store.write(ONE, [a_record("new", 7)], a_commit("good again")).written
    np.testing.assert_array_equal(values(store, "new"), scene(7)["radiance"])


def test_back_to_what_is_there_already_changes_nothing(store):
    written = store.write(ONE, [a_record()], a_commit())

    report = store.rollback(ONE, written.snapshot, a_commit("as before"))

    assert (report.written, report.snapshot) == (False, None)
    assert open_store(store.url).history(1)[0].snapshot == written.snapshot
    assert store.fingerprint_of(ONE) == "f1"


def test_back_to_before_there_was_anything(store):
    first = store.write(Window(NEXT, NEXT + timedelta(days=1)), [], a_commit("nothing there"))
    store.write(ONE, [a_record()], a_commit())

    store.rollback(ONE, first.snapshot, a_commit("as before"))

    assert ids(store, ONE) == []
    assert store.fingerprint_of(ONE) == "as before"


def test_an_unknown_snapshot_and_a_plain_store_are_refused(store, tmp_path):
    store.write(ONE, [a_record()], a_commit())
    with pytest.raises(ConfigurationError, match="no snapshot"):
        store.rollback(ONE, "0" * 20, a_commit())
    plain = open_swaths(str(tmp_path / "plain"), "radiance", kind="zarr")
    plain.write(ONE, [a_record()], a_commit())
    with pytest.raises(ConfigurationError, match="keeps no snapshots"):
        plain.rollback(ONE, "x", a_commit())
    assert ids(store, ONE) == ids(plain, ONE) == ["E1"]
