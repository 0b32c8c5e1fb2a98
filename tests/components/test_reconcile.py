"""The reconcile sensor: what its ticks ask for, what they say, and when they stop asking."""

import dagster as dg

from geostack_dagster.components.partitions import key_of
from geostack_dagster.components.reconcile import MARK, _next_dates
from tests.components.conftest import STAGES, code, materialise

PIPELINE = "earth_search_s2"
DAY = "2024-07-13"


def tick(instance, cursor: str | None = None) -> dg.SensorResult:
    repository = code().get_repository_def()
    sensor = repository.get_sensor_def(f"{PIPELINE}_reconcile")
    with dg.build_sensor_context(
        instance_ref=instance.get_ref(),  # as the daemon does: its AOIs are looked up by it
        cursor=cursor,
        repository_def=repository,
        resources=repository.get_top_level_resources(),
    ) as context:
        return sensor.evaluate_tick(context)


def run(instance, request: dg.RunRequest | None = None, *, nouns: tuple[str, ...] = STAGES) -> bool:
    if request is None:
        return materialise(instance, PIPELINE, nouns, partition_key=key_of(DAY, "field")).success
    chosen = [key.path[-1] for key in request.asset_selection]
    asked = {"partition_key": request.partition_key, "tags": dict(request.tags)}
    return materialise(instance, PIPELINE, chosen, **asked).success


def late_scene(control) -> str:
    found = [one for one in control.pending() if one["archive"] == "earth_search"]
    return next(one["id"] for one in found if "32TMT" in one["id"])


def test_nothing_is_asked_for_before_anyone_asked(instance):
    assert "was ever asked for" in tick(instance).skip_message


def test_a_late_scene_is_asked_for_once_and_then_all_is_well(instance, in_sandbox):
    assert run(instance)
    assert "all as they should be" in tick(instance).skip_message

    late = late_scene(in_sandbox.control)
    in_sandbox.control.arrive(late)
    try:
        (request,) = tick(instance).run_requests
        assert request.partition_key == key_of(DAY, "field")
        assert request.tags["geostack/reason"] == "the catalogue says something else now"
        (again,) = tick(instance).run_requests
        assert again.run_key == request.run_key  # Dagster drops what it has seen

        assert run(instance, request)
        assert "all as they should be" in tick(instance).skip_message
    finally:
        in_sandbox.control.withdraw(late)


def test_a_run_that_died_is_asked_for_again_but_not_for_ever(instance, in_sandbox):
    assert run(instance, nouns=("snapshot",))
    (request,) = tick(instance).run_requests
    assert [key.path[-1] for key in request.asset_selection] == ["stack", "cube", "indices"]

    keys = set()
    for _ in range(3):
        (request,) = tick(instance).run_requests
        keys.add(request.run_key)
        instance.add_run(
            dg.DagsterRun(
                job_name="__ASSET_JOB",
                status=dg.DagsterRunStatus.FAILURE,
                tags={MARK: request.tags[MARK]},
            )
        )
    assert len(keys) == 3
    assert "3 runs did not mend it" in tick(instance).skip_message


def test_a_partition_under_way_is_left_alone(instance):
    assert run(instance, nouns=("snapshot",))
    instance.add_run(
        dg.DagsterRun(
            job_name="__ASSET_JOB",
            status=dg.DagsterRunStatus.STARTED,
            tags={"dagster/partition": key_of(DAY, "field")},
        )
    )
    assert "already under way" in tick(instance).skip_message


def test_the_sweep_goes_round():
    known = ["a", "b", "c", "d", "e"]
    assert _next_dates(known, None, 2) == ["a", "b"]
    assert _next_dates(known, "b", 2) == ["c", "d"]
    assert _next_dates(known, "d", 2) == ["e"]
    assert _next_dates(known, "e", 2) == ["a", "b"]
