"""The four assets materialised by Dagster over the twins."""

import json
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq

from geostack_dagster.auth.redaction import scan
from geostack_dagster.components.partitions import key_of, range_tags
from tests.components.conftest import STAGES, code, materialise

PIPELINE = "planetary_computer_s2"
PLOTTED = {
    "snapshot": ("items", "cloud_cover", "seconds", "bytes_read"),
    "stack": ("items", "days", "pixels", "seconds", "bytes_read"),
    "cube": ("coverage", "bytes_stored", "chunks_written", "seconds", "bytes_read"),
    "indices": ("clear_fraction", "NDVI_mean", "bytes_stored", "seconds", "bytes_read"),
}


def _latest(instance, noun: str) -> dict[str, dg.AssetMaterialization]:
    records = instance.fetch_materializations(dg.AssetKey([PIPELINE, noun]), limit=100).records
    latest: dict[str, dg.AssetMaterialization] = {}
    for record in records:
        latest.setdefault(record.partition_key, record.asset_materialization)
    return latest


def stated_columns(noun: str) -> list[dg.TableColumn]:
    spec = code().resolve_asset_graph().get(dg.AssetKey([PIPELINE, noun]))
    return spec.metadata["dagster/column_schema"].columns


def _versions(instance) -> dict[tuple[str, str], str]:
    return {
        (noun, key): event.tags["dagster/data_version"]
        for noun in STAGES
        for key, event in _latest(instance, noun).items()
    }


def test_a_partition_becomes_four_events_worth_a_look(instance, tmp_path):
    key = key_of("2024-07-03", "field")

    assert materialise(instance, PIPELINE, partition_key=key).success

    events = {noun: _latest(instance, noun)[key] for noun in STAGES}
    for event in events.values():
        metadata = event.metadata
        assert metadata["outcome"].value == "written"
        assert metadata["fingerprint"].value == event.tags["dagster/data_version"]
    assert events["snapshot"].metadata["items"].value == 1
    assert "cloud_cover" in events["snapshot"].metadata
    assert events["snapshot"].metadata["footprints"].value.startswith("![footprints](data:image")
    assert events["stack"].metadata["radiometry"].records
    assert events["cube"].metadata["bytes_read"].value > 0
    assert any("data:image" in str(value.value) for value in events["indices"].metadata.values())
    for parent, noun in pairwise(STAGES):
        # Each says where its file lies, and where that of its parent does.
        path = events[noun].metadata[f"parent_{parent}"].value
        assert events[parent].metadata["dagster/uri"].value == Path(path).as_uri()
        assert Path(path).exists()
    snapshot = events["snapshot"].metadata
    rows = pq.read_table(events["stack"].metadata["parent_snapshot"].value)
    assert snapshot["dagster/partition_row_count"].value == rows.num_rows
    schema = snapshot["dagster/column_schema"].value
    assert [column.name for column in schema.columns] == rows.column_names
    recipe = json.loads(Path(events["cube"].metadata["parent_stack"].value).read_text())
    assert recipe.keys() == {one.name for one in stated_columns("stack")}
    for noun, numbers in PLOTTED.items():
        for name in numbers:
            assert isinstance(events[noun].metadata[name].value, int | float), (noun, name)
    # Neither the events, nor logs, nor any artefact holds a signature.
    assert scan([tmp_path]) == []


def test_materializing_again_changes_no_data_version(instance):
    tags = range_tags(["2024-07-03", "2024-07-04"], ["field"])
    assert materialise(instance, PIPELINE, tags=tags).success
    before = _versions(instance)

    assert materialise(instance, PIPELINE, tags=tags).success

    assert _versions(instance) == before
    outcomes = {
        key: event.metadata["outcome"].value for key, event in _latest(instance, "cube").items()
    }
    assert outcomes == {
        key_of("2024-07-03", "field"): "unchanged",
        key_of("2024-07-04", "field"): "empty",
    }


def test_a_broken_partition_fails_alone_and_by_name(instance, in_sandbox):
    in_sandbox.control.fault(path="*20240708T*B04*", status=404)

    result = materialise(
        instance, PIPELINE, tags=range_tags(["2024-07-03", "2024-07-08"], ["field"])
    )

    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_key == f"{PIPELINE}__cube"
    assert "2024-07-08" in failure.step_failure_data.user_failure_data.description
    assert "B04" in failure.step_failure_data.user_failure_data.description
    done = _latest(instance, "cube")
    assert done[key_of("2024-07-03", "field")].metadata["outcome"].value == "written"
    assert key_of("2024-07-08", "field") not in done


def test_a_backfill_of_nothing_new_asks_the_catalogue_once_for_each_aoi(instance, in_sandbox):
    tags = range_tags(["2024-07-01", "2024-07-08"], ["field"])
    assert materialise(instance, PIPELINE, tags=tags).success
    in_sandbox.control.clear_log()

    assert materialise(instance, PIPELINE, tags=tags).success

    asked = [entry for entry in in_sandbox.control.log() if "search" in entry["path"]]
    assert len(asked) == 1
    latest = _latest(instance, "snapshot")
    assert len(latest) == 8
    assert {event.metadata["outcome"].value for event in latest.values()} == {"empty", "unchanged"}
