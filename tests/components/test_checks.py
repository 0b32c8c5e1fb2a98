"""Asset checks in the runs of a pipeline: what they show, and what they stop."""

import dagster as dg
import pytest

from geostack_dagster.components.partitions import key_of, range_tags
from tests.components.conftest import QUIET, STAGES, code, materialise

PIPELINE = "earth_search_s2"
CUBE, INDICES = dg.AssetKey([PIPELINE, "cube"]), dg.AssetKey([PIPELINE, "indices"])
STACK = dg.AssetKey([PIPELINE, "stack"])
DAY, OTHER = "2024-07-03", "2024-07-08"


@pytest.fixture
def liar(in_sandbox):
    """An Item that says its pixels hold the offset, which its archive had subtracted."""
    name = scene_of(in_sandbox.control, DAY)
    in_sandbox.control.mislabel(name)
    yield name
    in_sandbox.control.mislabel(name)


def scene_of(control, day: str) -> str:
    stamp = day.replace("-", "")
    found = [one for one in control.listed() if one["archive"] == "earth_search"]
    return next(one["id"] for one in found if stamp in one["id"] and "32TMT" in one["id"])


def run(instance, *nouns: str, **asked) -> dg.ExecuteInProcessResult:
    return materialise(instance, PIPELINE, nouns or STAGES, **asked)


def results(found: dg.ExecuteInProcessResult) -> dict[tuple[str, str, str | None], object]:
    return {
        (one.asset_key.path[1], one.check_name, one.partition): one
        for one in found.get_asset_check_evaluations()
    }


def made(instance, noun: str) -> set[str]:
    return instance.get_materialized_partitions(dg.AssetKey([PIPELINE, noun]))


def test_an_honest_partition_passes_with_numbers_that_plot(instance):
    found = run(instance, partition_key=key_of(DAY, "field"))

    assert found.success
    seen = results(found)
    assert {(noun, name) for noun, name, _ in seen} == {
        *(("cube", name) for name in ("radiometry", "coverage", "nodata", "ledger", "schema")),
        *(("cube", name) for name in ("fingerprint", "freshness", "values")),
        ("indices", "values"),
        *((noun, "fingerprint") for noun in ("snapshot", "stack")),
    }
    for (_, name, _), one in seen.items():
        assert one.passed or name == "freshness", one  # the scene is years old
        assert any(
            isinstance(value, dg.IntMetadataValue | dg.FloatMetadataValue)
            for value in one.metadata.values()
        )
    contract = seen["cube", "radiometry", key_of(DAY, "field")]
    assert contract.blocking
    assert contract.metadata["contradicted"].value == 0
    assert -0.02 < contract.metadata["darkest_reflectance"].value < 0.08


def test_a_lying_item_stops_what_would_be_made_of_it(instance, liar):
    found = run(instance, partition_key=key_of(DAY, "field"))

    assert not found.success
    contract = results(found)["cube", "radiometry", key_of(DAY, "field")]
    assert (contract.passed, contract.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert liar in contract.description
    assert "subtracted twice" in contract.description
    evidence = contract.metadata["evidence"].records[0].data
    assert "earthsearch:boa_offset_applied False" in evidence["metadata"]
    assert "darkest 0.1 %" in evidence["pixels"]
    assert made(instance, "cube")
    assert not made(instance, "indices")


def test_in_a_run_of_many_only_the_lying_partition_is_stopped(instance, liar):
    found = run(instance, tags=range_tags([DAY, OTHER], ["field"]))

    assert not found.success
    seen = results(found)
    assert not seen["cube", "radiometry", key_of(DAY, "field")].passed
    assert seen["cube", "radiometry", key_of(OTHER, "field")].passed
    assert key_of(OTHER, "field") in made(instance, "indices")
    assert key_of(DAY, "field") not in made(instance, "indices")
    (failure,) = [event for event in found.all_events if event.is_step_failure]
    assert failure.step_key == f"{PIPELINE}__indices"
    assert liar in failure.step_failure_data.user_failure_data.description


def test_no_way_around_the_check(instance, liar):
    run(instance, partition_key=key_of(DAY, "field"))

    found = run(instance, "indices", partition_key=key_of(DAY, "field"))

    assert not found.success
    assert not made(instance, "indices")
    # The reconcile sensor says so, and asks for nothing that would fail again.
    repository = code().get_repository_def()
    with dg.build_sensor_context(
        instance_ref=instance.get_ref(),
        repository_def=repository,
        resources=repository.get_top_level_resources(),
    ) as context:
        tick = repository.get_sensor_def(f"{PIPELINE}_reconcile").evaluate_tick(context)
    assert not tick.run_requests
    assert "pixels contradict the metadata" in tick.skip_message
    assert liar in tick.skip_message


def test_a_recipe_of_an_older_snapshot_is_seen_by_a_check(instance, in_sandbox):
    key = key_of(DAY, "field")
    assert run(instance, "snapshot", "stack", partition_key=key).success
    in_sandbox.control.reprocess(scene_of(in_sandbox.control, DAY))

    found = results(run(instance, "snapshot", partition_key=key))
    assert found["snapshot", "fingerprint", None].passed
    job = dg.define_asset_job(
        "only_checks", selection=dg.AssetSelection.checks(dg.AssetCheckKey(STACK, "fingerprint"))
    )
    alone = dg.Definitions.merge(code(), dg.Definitions(jobs=[job])).resolve_job_def("only_checks")
    (result,) = alone.execute_in_process(
        instance=instance, run_config=QUIET, raise_on_error=False
    ).get_asset_check_evaluations()

    assert not result.passed
    assert result.metadata["stale"].value == 1
    row = result.metadata["evidence"].records[0].data
    assert row["partition"] == f"field {DAY}"


def test_a_check_by_itself_looks_at_the_newest_partitions(instance):
    assert run(instance, "snapshot", "stack", "cube", partition_key=key_of(DAY, "field")).success
    chosen = dg.AssetSelection.checks(dg.AssetCheckKey(CUBE, "fingerprint"))
    job = dg.define_asset_job("only_a_check", selection=chosen)
    alone = dg.Definitions.merge(code(), dg.Definitions(jobs=[job]))

    found = alone.resolve_job_def("only_a_check").execute_in_process(
        instance=instance, run_config=QUIET, raise_on_error=False
    )

    assert found.success
    (result,) = found.get_asset_check_evaluations()
    assert result.passed
    assert result.metadata["partitions"].value == 1
