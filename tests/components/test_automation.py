"""Sensor and schedules: what a tick does and what it says."""

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest

from geostack_dagster.components.partitions import AOIS
from geostack_dagster.definitions import defs
from geostack_dagster.defs.aois import aoi_sensor
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.resources.storage import Storage

SQUARE = {
    "type": "Polygon",
    "coordinates": [[[7.8, 46.95], [7.86, 46.95], [7.86, 47.0], [7.8, 47.0], [7.8, 46.95]]],
}


@pytest.fixture
def instance():
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def storage(tmp_path):
    (tmp_path / "aois").mkdir()
    return Storage(root=str(tmp_path / "storage"), aoi_folder=str(tmp_path / "aois"))


def _tick(instance, storage):
    return aoi_sensor(dg.build_sensor_context(instance=instance), storage=storage)


def _drop(storage, name, document):
    Path(storage.aoi_folder, name).write_text(json.dumps(document))


def test_a_new_file_becomes_a_pinned_partition(instance, storage):
    _drop(storage, "emmental.geojson", SQUARE)

    result = _tick(instance, storage)

    (request,) = result.dynamic_partitions_requests
    assert request.partition_keys == ["emmental"]
    assert Workspace(storage.root).pinned("emmental").crs == "EPSG:32632"


def test_a_known_file_is_not_asked_for_again(instance, storage):
    _drop(storage, "emmental.geojson", SQUARE)
    instance.add_dynamic_partitions(AOIS.name, ["emmental"])

    result = _tick(instance, storage)

    assert isinstance(result, dg.SkipReason)
    assert "1 AOI registered" in result.skip_message


def test_a_bad_file_is_named_and_stops_no_other(instance, storage):
    _drop(storage, "bad.geojson", {"type": "Point", "coordinates": [1, 2]})
    _drop(storage, "good.geojson", SQUARE)
    _drop(storage, "worn.geojson", SQUARE)  # registered once, and the document is damaged now
    pin = Path(Workspace(storage.root).layout.pin("worn"))
    pin.parent.mkdir(parents=True)
    pin.write_text("{")

    (request,) = _tick(instance, storage).dynamic_partitions_requests
    instance.add_dynamic_partitions(AOIS.name, request.partition_keys)

    assert request.partition_keys == ["good"]
    said = _tick(instance, storage).skip_message
    assert "AOI 'bad' is a Point" in said
    assert "worn.json is damaged" in said


def test_the_daily_schedule_asks_for_the_newest_dates_over_every_aoi(instance):
    schedule = defs().resolve_schedule_def("earth_search_s2_daily")
    now = datetime(2024, 7, 10, 6, tzinfo=UTC)
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=now)

    assert "no AOI" in schedule.evaluate_tick(context).skip_message

    instance.add_dynamic_partitions(AOIS.name, ["a", "b"])
    (request,) = schedule.evaluate_tick(context).run_requests
    assert request.tags["dagster/asset_partition_range_start"] == "a|2024-07-07"
    assert request.tags["dagster/asset_partition_range_end"] == "b|2024-07-09"


def test_the_daily_schedule_waits_for_its_last_look(instance):
    schedule = defs().resolve_schedule_def("earth_search_s2_daily")
    instance.add_dynamic_partitions(AOIS.name, ["a"])
    now = datetime(2024, 7, 10, 6, tzinfo=UTC)
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=now)

    def last_look(by: str, status: dg.DagsterRunStatus) -> None:
        tags = {"dagster/schedule_name": by}
        instance.add_run(
            dg.DagsterRun(job_name="look", run_id=str(uuid4()), tags=tags, status=status)
        )

    last_look(schedule.name, dg.DagsterRunStatus.SUCCESS)
    last_look("enmap_daily", dg.DagsterRunStatus.STARTED)
    assert len(schedule.evaluate_tick(context).run_requests) == 1
    last_look(schedule.name, dg.DagsterRunStatus.STARTED)
    assert "still under way" in schedule.evaluate_tick(context).skip_message
