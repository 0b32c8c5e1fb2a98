"""Every partition of a run has its own data version, whatever the run's size."""

import dagster as dg
import pytest

from geostack_dagster.components.events import materializations
from geostack_dagster.components.partitions import AOIS, key_of, range_tags
from geostack_dagster.pipeline.report import Outcome, StageReport

DATES = ["2024-06-01", "2024-06-02", "2024-06-03"]
PARTITIONS = dg.MultiPartitionsDefinition(
    {"date": dg.DailyPartitionsDefinition("2024-06-01", end_date="2024-07-01"), "aoi": AOIS}
)


def _asset(noun: str, deps: list[list[str]], suffix: str = "") -> dg.AssetsDefinition:
    @dg.asset(
        key=["p", noun],
        deps=[dg.AssetKey(dep) for dep in deps],
        partitions_def=PARTITIONS,
        backfill_policy=dg.BackfillPolicy.multi_run(10),
        code_version="1",
    )
    def body(context: dg.AssetExecutionContext):
        yield from materializations(
            context,
            {
                key: StageReport(
                    outcome=Outcome.WRITTEN,
                    fingerprint=f"{noun}-{key}{suffix}",
                    note="written",
                    facts={"items": 3, "cloud": 1.5, "store": "/tmp/x", "odd": {"a": 1}},
                    tables={"superseded": [{"id": "x", "kept": "y"}]},
                    pictures={"quicklook": b"png"},
                )
                for key in context.partition_keys
            },
        )

    return body


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("aoi", ["a", "b"])
        yield instance


def _versions(instance: dg.DagsterInstance, noun: str) -> dict[str, str]:
    records = instance.fetch_materializations(dg.AssetKey(["p", noun]), limit=100).records
    latest: dict[str, str] = {}
    for record in records:  # newest first
        tags = record.asset_materialization.tags
        latest.setdefault(record.partition_key, tags["dagster/data_version"])
    return latest


def test_a_range_run_records_a_data_version_for_each_partition(instance):
    assets = [_asset("snapshot", []), _asset("stack", [["p", "snapshot"]])]
    tags = range_tags([DATES[0], DATES[-1]], ["a", "b"])

    assert dg.materialize(assets, instance=instance, tags=tags).success

    keys = [key_of(date, aoi) for date in DATES for aoi in "ab"]
    for noun in ("snapshot", "stack"):
        assert _versions(instance, noun) == {key: f"{noun}-{key}" for key in keys}


def test_a_partition_has_one_event_of_a_run_in_its_history(instance):
    tags = range_tags([DATES[0], DATES[-1]], ["a", "b"])

    result = dg.materialize([_asset("snapshot", [])], instance=instance, tags=tags)

    recorded = instance.fetch_materializations(dg.AssetKey(["p", "snapshot"]), limit=100).records
    keys = sorted(key_of(date, aoi) for date in DATES for aoi in "ab")
    assert sorted(record.partition_key for record in recorded) == keys
    assert len(result.get_asset_materialization_events()) == len(keys)


def test_partitions_of_a_range_run_are_in_step_with_their_parents(instance):
    from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus

    assets = [_asset("snapshot", []), _asset("stack", [["p", "snapshot"]])]
    dg.materialize(assets, instance=instance, tags=range_tags(DATES[:2], ["a", "b"]))

    graph = dg.Definitions(assets=assets).resolve_asset_graph()
    from dagster._core.loader import LoadingContextForTest

    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    for key in (key_of(DATES[0], "a"), key_of(DATES[1], "b")):
        status = resolver.get_status(dg.AssetKey(["p", "stack"]), key)
        assert status is StaleStatus.FRESH


def test_a_single_partition_run_replaces_only_its_own_version(instance):
    tags = range_tags([DATES[0], DATES[-1]], ["a", "b"])
    dg.materialize([_asset("snapshot", [])], instance=instance, tags=tags)
    before = _versions(instance, "snapshot")
    key = key_of(DATES[1], "a")

    dg.materialize([_asset("snapshot", [], "-new")], instance=instance, partition_key=key)

    assert _versions(instance, "snapshot") == before | {key: f"snapshot-{key}-new"}


def test_metadata_holds_numbers_tables_and_pictures(instance):
    result = dg.materialize(
        [_asset("snapshot", [])], instance=instance, partition_key=key_of(DATES[0], "a")
    )

    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert metadata["items"].value == 3
    assert metadata["superseded"].records[0].data == {"id": "x", "kept": "y"}
    assert metadata["quicklook"].value.startswith("![quicklook](data:image/png;base64,")
    assert metadata["store"] == dg.MetadataValue.path("/tmp/x")
