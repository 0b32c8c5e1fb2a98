"""The store of labels: append-only, content-addressed, safe with several writers."""

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from shapely.geometry import box

from geostack_dagster import storage
from geostack_dagster.errors import IntegrityError
from geostack_dagster.inference.plumes import State
from geostack_dagster.learning.labels import Label
from geostack_dagster.pipeline.labels import add_labels, label_log, labels_during, stored_labels
from geostack_dagster.pipeline.workspace import Workspace


def label(name: str, state: State = State.PLUME, **changes: object) -> Label:
    return Label(
        **{
            "id": name,
            "geometry": box(10.0, 45.0, 10.01, 45.01),
            "state": state,
            "scenes": ("EMIT_L2B_CH4ENH_002_20240603T103405_2415507_001",),
            "observed": datetime(2024, 6, 3, 10, 34, 5, tzinfo=UTC),
            "source": "review",
            **changes,
        }
    )


def test_labels_come_back_as_they_were_added(workspace):
    given = (label("a"), label("b", State.NO_PLUME, rate_kg_h=1500.0))
    entry = add_labels(workspace, given, source="review", reviewer="ada")
    found = stored_labels(workspace)
    assert found.labels == given
    assert label_log(workspace) == (entry,)
    assert (entry.reviewer, entry.count) == ("ada", 2)
    assert (datetime.now(UTC) - entry.added).total_seconds() < 600


def test_nothing_is_appended_that_was_said_already(workspace):
    add_labels(workspace, [label("a"), label("b")], source="review", reviewer="ada")
    before = stored_labels(workspace)
    assert add_labels(workspace, [label("b")], source="review", reviewer="ada") is None
    entry = add_labels(workspace, [label("a"), label("c")], source="review", reviewer="ada")
    assert entry.count == 1
    assert len(label_log(workspace)) == 2
    assert stored_labels(workspace).digest != before.digest


def test_the_latest_statement_counts_and_the_older_stays(workspace):
    add_labels(workspace, [label("a"), label("b")], source="review", reviewer="ada")
    add_labels(workspace, [label("a", State.NO_PLUME)], source="review", reviewer="bo")
    back = add_labels(workspace, [label("a")], source="review", reviewer="ada")
    assert back is not None
    found = stored_labels(workspace)
    assert [one.state for one in found.labels] == [State.PLUME, State.PLUME]
    states = [[one.state for one in part.labels] for part in found.sets]
    assert states == [[State.PLUME, State.PLUME], [State.NO_PLUME], [State.PLUME]]


def test_who_confirms_is_recorded_and_teaches_nothing_new(workspace):
    add_labels(workspace, [label("a")], source="review", reviewer="ada")
    before = stored_labels(workspace).digest
    assert add_labels(workspace, [label("a")], source="review", reviewer="bo") is not None
    assert stored_labels(workspace).digest == before
    assert [entry.reviewer for entry in label_log(workspace)] == ["ada", "bo"]


def test_writers_at_the_same_time_lose_nothing(workspace):
    def add(number: int) -> None:
        add_labels(workspace, [label(f"l{number}")], source="review", reviewer=f"r{number}")

    writers = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [one.id for one in stored_labels(workspace).labels] == [f"l{n}" for n in range(8)]
    assert len(label_log(workspace)) == 8


def test_a_bucket_holds_labels_too(bucket):
    workspace = Workspace("s3://cubes/root")
    add_labels(workspace, [label("a")], source="review", reviewer="ada")
    add_labels(workspace, [label("b")], source="review", reviewer="ada")
    assert [one.id for one in stored_labels(workspace).labels] == ["a", "b"]


def test_a_set_that_was_changed_or_lost_is_named(workspace):
    entry = add_labels(workspace, [label("a")], source="review", reviewer="ada")
    url = workspace.layout.label_set(entry.digest)
    document = json.loads(storage.read_bytes(url))
    document["features"][0]["properties"]["state"] = "NO_PLUME"
    storage.write_bytes(url, json.dumps(document).encode())
    with pytest.raises(IntegrityError, match=f"{entry.digest}.*changed after it was added"):
        stored_labels(workspace)
    storage.delete(url)
    with pytest.raises(IntegrityError, match="gone"):
        stored_labels(workspace)


def test_labels_of_a_time_and_a_place():
    day = datetime(2024, 6, 3, tzinfo=UTC), datetime(2024, 6, 4, tzinfo=UTC)
    here, next_day = label("a"), label("b", observed=day[1])
    timeless = replace(here, id="c", observed=None)
    found = labels_during([here, next_day, timeless], *day)
    assert found == (here,)
    assert labels_during([here], *day, box(10.005, 45.005, 11, 46)) == (here,)
    assert labels_during([here], *day, box(11, 45, 12, 46)) == ()
