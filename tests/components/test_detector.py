"""A detector through Dagster: sensors with reasons, a blocking gate, and only what is stale."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from geostack_dagster.components.assets import _following
from geostack_dagster.components.detector_assets import detector_assets
from geostack_dagster.components.detector_sensors import Look, reinfer_sensor, retrain_sensor
from geostack_dagster.components.partitions import AOIS, key_of, partitions_of
from geostack_dagster.learning.gate import Outcome
from geostack_dagster.learning.splits import Split
from geostack_dagster.pipeline import probability
from geostack_dagster.pipeline.learning import challenger, evaluation, verdict
from geostack_dagster.resources.storage import Storage
from tests.pipeline.learning.conftest import cubes, trained  # noqa: F401 - fixtures
from tests.pipeline.learning.sites import (
    DETECTOR,
    SETTINGS,
    SPEC,
    label,
    loop_in,
    names,
    poison_of,
    sites,
)

LOOK = Look(most_requests=2)
pytestmark = pytest.mark.timeout(600)  # trainings, on machines that others use as well


class Code:
    """A code location with one detector, over the cubes of a storage."""

    def __init__(self, root, instance, *, look=None, **settings) -> None:
        look = replace(LOOK, **(look or {}))
        self.loop = loop_in(root, **settings)
        self.instance = instance
        instance.add_dynamic_partitions(AOIS.name, names(self.loop))
        self.definitions = dg.Definitions(
            assets=[*detector_assets(self.loop.spec, owners=[]), self._probability()],
            sensors=[retrain_sensor(self.loop.spec, look), reinfer_sensor(self.loop.spec, look)],
            resources={"storage": Storage(root=str(root), aoi_folder="")},
            executor=dg.in_process_executor,
        )

    def tick(self, sensor: str, cursor: str | None = None):
        repository = self.definitions.get_repository_def()
        with dg.build_sensor_context(
            instance_ref=self.instance.get_ref(),  # as the daemon does: AOIs are looked up by it
            cursor=cursor,
            repository_def=repository,
            resources={"storage": Storage(root=self.loop.workspace.root, aoi_folder="")},
        ) as context:
            return repository.get_sensor_def(f"{DETECTOR}_{sensor}").evaluate_tick(context)

    def run(self, keys, **asked) -> dg.ExecuteInProcessResult:
        job = self.definitions.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=list(keys),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
            **asked,
        )

    def execute(self, request) -> dg.ExecuteInProcessResult:
        return self.run(
            request.asset_selection,
            partition_key=request.partition_key,
            tags=dict(request.tags),
        )

    def look(self, site):
        return self.run(
            [dg.AssetKey([SPEC.name, "probability"])],
            partition_key=key_of(site.day.isoformat(), site.name),
        )

    def _probability(self):
        workspace = self.loop.workspace

        @dg.asset(
            key=[SPEC.name, "probability"],
            deps=[dg.AssetKey([DETECTOR, "champion"])],
            partitions_def=partitions_of(SPEC),
        )
        def look(context: dg.AssetExecutionContext) -> None:
            from geostack_dagster.components.partitions import partition_of

            probability.run(SPEC, partition_of(SPEC, context.partition_key), workspace)

        return look


@pytest.fixture
def instance():
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def code(trained, tmp_path, instance):  # noqa: F811
    """With a champion."""
    shutil.copytree(trained, tmp_path / "storage")
    return Code(tmp_path / "storage", instance)


@pytest.fixture
def blank(cubes, tmp_path, instance):  # noqa: F811
    """With cubes alone."""
    shutil.copytree(cubes, tmp_path / "storage")
    return Code(tmp_path / "storage", instance)


def taught(loop):
    return [site for site in sites(loop) if site.split is not Split.GATE]


def test_sensors_say_why_there_is_nothing_to_do(blank):
    assert blank.tick("retrain").skip_message == "nothing was labelled yet: nothing to learn from"
    assert "no champion of finder yet" in blank.tick("reinfer").skip_message


def test_labels_ask_for_a_training_once(blank):
    label(blank.loop, sites(blank.loop))
    first = blank.tick("retrain")
    (request,) = first.run_requests
    assert request.tags["geostack/reason"].startswith("first training, on ")
    assert [key.path[-1] for key in request.asset_selection] == [
        "training_set",
        "challenger",
        "evaluation",
        "gate",
        "champion",
    ]
    assert blank.tick("retrain").run_requests[0].run_key == request.run_key  # nothing happened yet
    again = blank.tick("retrain", first.cursor)
    assert not again.run_requests
    assert again.skip_message

    result = blank.execute(request)
    assert result.success
    champion = blank.loop.registry.aliases.champion
    assert champion is not None
    event = blank.instance.get_latest_materialization_event(dg.AssetKey([DETECTOR, "champion"]))
    tags = event.asset_materialization.tags
    assert tags["dagster/data_version"] == blank.loop.registry.digest_of(champion)
    assert_pages_tell_numbers_and_pictures(blank)
    assert_every_check_passed(result)
    quiet = blank.tick("retrain", first.cursor)
    assert "0 of 6 new labels" in quiet.skip_message


def assert_pages_tell_numbers_and_pictures(code):
    """The asset pages of a run: numbers to plot, pictures, where it lies and from what."""
    wanted = {
        "training_set": ({"chips", "sites", "labels", "leaks", "nearest_km"}, set()),
        "challenger": ({"loss", "parameters", "training_seconds"}, {"loss_curve"}),
        "evaluation": (
            {"average_precision", "object_f1", "false_per_1000_km2", "calibration_error"},
            {"reliability", "before_after"},
        ),
        "gate": ({"failed_checks"}, {"before_after"}),
        "champion": ({"models"}, {"before_after"}),
    }
    for noun, (numbers, pictures) in wanted.items():
        event = code.instance.get_latest_materialization_event(dg.AssetKey([DETECTOR, noun]))
        metadata = event.asset_materialization.metadata
        for name in {"seconds", *numbers}:
            assert isinstance(metadata[name].value, int | float), (noun, name)
        for name in pictures:
            assert metadata[name].value.startswith(f"![{name}](data:image/png;base64,")
        path = Path(metadata["dagster/uri"].value.removeprefix("file://"))
        assert path.is_file(), path
        if path.suffix == ".json":
            stated = code.definitions.resolve_asset_graph().get(dg.AssetKey([DETECTOR, noun]))
            columns = [one.name for one in stated.metadata["dagster/column_schema"].columns]
            assert columns == members(json.loads(path.read_text()), noun)
        parents = [value.value for name, value in metadata.items() if name.startswith("parent_")]
        assert parents
        assert all(Path(parent).is_file() for parent in parents)


def assert_every_check_passed(result):
    found = result.get_asset_check_evaluations()
    names = ["integrity", "learns", "no_leakage", "promotable", "weights"]
    assert sorted(one.check_name for one in found) == names
    assert all(one.passed for one in found), found


def test_a_champion_whose_weights_were_damaged_is_seen_by_a_check(code):
    (weights,) = Path(code.loop.registry.item_url(code.loop.registry.aliases.champion)).parent.glob(
        "weights*"
    )
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    result = code.run([dg.AssetKey([DETECTOR, "champion"])])
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert "are not those that were registered" in check.description


def members(document, noun):
    """Of the document that an asset is; the gate's is a part of the evaluation."""
    if noun == "gate":
        return [f"decision.{name}" for name in document["decision"]]
    return list(document)


def test_few_new_labels_are_not_enough_and_many_are_named(code):
    site, *others = taught(code.loop)
    wrong = poison_of(code.loop.workspace, site)
    label(code.loop, [site], lambda *_: wrong[:1])
    said = code.tick("retrain").skip_message
    assert said.startswith("1 of ")
    label(code.loop, others[:4], poison_of)
    (request,) = code.tick("retrain").run_requests
    assert "new labels" in request.tags["geostack/reason"]


def test_a_training_cools_down(trained, tmp_path, instance):  # noqa: F811
    shutil.copytree(trained, tmp_path / "storage")
    code = Code(tmp_path / "storage", instance, retrain={"cool_down_hours": 5})
    label(code.loop, taught(code.loop)[:5], poison_of)
    said = code.tick("retrain").skip_message
    assert said.startswith("cooling down for another ")
    assert "new labels" in said


def test_drift_is_a_reason_but_nothing_is_trained_twice(code):
    from geostack_dagster.pipeline.learning.documents import write_document

    loop = code.loop
    found = {"drifted": True, "reason": "drift: chance 0.002", "champion": "finder-before"}
    write_document(loop.url("drift.json"), found)
    assert "no drift" in code.tick("retrain").skip_message  # of another champion's scenes

    champion = loop.registry.aliases.champion
    write_document(loop.url("drift.json"), found | {"champion": champion})
    said = code.tick("retrain").skip_message
    assert said.startswith("drift: chance 0.002; but the same pixels and labels")

    label(loop, taught(loop)[:1], lambda *given: poison_of(*given)[:1])
    (request,) = code.tick("retrain").run_requests
    assert request.tags["geostack/reason"] == "drift: chance 0.002"


def test_a_training_under_way_is_left_alone(code):
    label(code.loop, taught(code.loop)[:5], poison_of)
    code.instance.add_run(
        dg.DagsterRun(
            job_name="__ASSET_JOB",
            status=dg.DagsterRunStatus.STARTED,
            asset_selection=frozenset({dg.AssetKey([DETECTOR, "challenger"])}),
        )
    )
    assert code.tick("retrain").skip_message == "a training is already under way"


def died(code, request, status=dg.DagsterRunStatus.FAILURE):
    """A run of a request that ended so."""
    run = dg.DagsterRun(job_name="__ASSET_JOB", status=status, tags=dict(request.tags))
    code.instance.add_run(run)


def test_a_training_that_died_is_asked_for_again_and_at_last_is_left_to_a_person(blank):
    label(blank.loop, sites(blank.loop))
    found = blank.tick("retrain")
    keys = [found.run_requests[0].run_key]
    for _ in range(2):
        died(blank, found.run_requests[0])
        found = blank.tick("retrain", found.cursor)
        (request,) = found.run_requests
        assert request.tags["geostack/data"] == keys[0]
        keys.append(request.run_key)
    assert len(set(keys)) == 3  # Dagster drops keys that it knows
    died(blank, found.run_requests[0])
    said = blank.tick("retrain", found.cursor).skip_message
    assert "3 runs did not mend it" in said


def test_labels_of_a_training_that_died_are_not_lost(code):
    """Neither if it died before the network was trained, nor before the gate had its say."""
    from geostack_dagster.pipeline.learning import training_set

    label(code.loop, taught(code.loop)[:5], poison_of)
    first = code.tick("retrain")
    training_set.run(code.loop, names(code.loop))  # this far it came
    died(code, first.run_requests[0])
    second = code.tick("retrain", first.cursor)
    said = second.run_requests[0].tags["geostack/reason"]
    assert "new labels" in said
    assert said.endswith("the last training ended without a verdict")

    challenger.run(code.loop)
    died(code, second.run_requests[0])
    third = code.tick("retrain", second.cursor)
    assert third.run_requests[0].tags["geostack/reason"] == (
        "the last training ended without a verdict"
    )
    challenger.run(code.loop)  # trained before
    evaluation.run(code.loop)
    verdict.judge(code.loop)
    died(code, third.run_requests[0])  # as a rejected one does
    assert code.tick("retrain", third.cursor).skip_message.startswith("0 of ")


def test_a_training_that_a_person_stopped_is_not_asked_for_again(code):
    label(code.loop, taught(code.loop)[:5], poison_of)
    first = code.tick("retrain")
    died(code, first.run_requests[0], dg.DagsterRunStatus.CANCELED)
    assert "0 of " in code.tick("retrain", first.cursor).skip_message
    label(code.loop, taught(code.loop)[5:6], poison_of)  # something new: all count again
    (request,) = code.tick("retrain", first.cursor).run_requests
    assert "new labels" in request.tags["geostack/reason"]


def test_the_gate_blocks_what_was_poisoned(code):
    champion = code.loop.registry.aliases.champion
    label(code.loop, taught(code.loop), poison_of, reviewer="bulk import")
    (request,) = code.tick("retrain").run_requests
    result = code.execute(request)
    assert not result.success
    checks = {one.check_name: one for one in result.get_asset_check_evaluations()}
    assert checks["no_leakage"].passed
    assert checks["no_leakage"].metadata["nearest_km"].value > code.loop.splits.buffer_km
    check = checks["promotable"]
    assert not check.passed
    assert check.description.startswith("reject: ")
    assert code.loop.registry.aliases.champion == champion
    made = {event.asset_key.path[-1] for event in result.get_asset_materialization_events()}
    assert "champion" not in made


def test_only_what_another_model_made_is_made_again_newest_first(code):
    watched = [site for site in sites(code.loop) if site.split is Split.GATE][:4]
    for site in watched:
        assert code.look(site).success
    champion = code.loop.registry.aliases.champion
    assert f"all of 4 partitions were made by {champion}" in code.tick("reinfer").skip_message

    other = loop_in(
        code.loop.workspace.root, training=SETTINGS["training"] | {"seed": 3, "steps": 40}
    )
    challenger.run(other)
    evaluation.run(other)
    verdict.override(other, "challenger", Outcome.PROMOTE, person="ada", reason="test")
    assert code.look(watched[0]).success  # by hand: no more stale

    stale = sorted(watched[1:], key=lambda site: (site.day, site.name), reverse=True)
    asked, keys = [], set()
    while requests := code.tick("reinfer").run_requests:
        assert len(requests) <= 2
        for request in requests:
            assert [key.path for key in request.asset_selection] == [[SPEC.name, "probability"]]
            assert "made by another model" in request.tags["geostack/reason"]
            asked.append(request.partition_key)
            keys.add(request.run_key)
            assert code.execute(request).success
    assert asked == [key_of(site.day.isoformat(), site.name) for site in stale]

    code.loop.registry.rollback(by="ada", reason="test", at=watched[0].acquired)
    again = code.tick("reinfer").run_requests
    assert len(again) == 2
    assert not {request.run_key for request in again} & keys  # Dagster drops keys that it knows


def test_a_promotion_does_not_ask_for_every_date_there_could_be(instance):
    champion = dg.AssetKey(["m", "champion"])
    content = {"cube": "1", "champion": "1"}
    parts = dg.StaticPartitionsDefinition(["a", "b"])

    @dg.asset(key=champion)
    def model() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion(content["champion"]))

    @dg.asset(key=["p", "cube"], partitions_def=parts)
    def pixels() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion(content["cube"]))

    @dg.asset(
        key=["p", "probability"],
        deps=[champion, dg.AssetKey(["p", "cube"])],
        partitions_def=parts,
        automation_condition=_following([champion]),
    )
    def look() -> None:
        return None

    definitions = dg.Definitions(assets=[model, pixels, look])
    dg.materialize([model], instance=instance)
    dg.materialize([pixels, look], instance=instance, partition_key="a")
    cursor = dg.evaluate_automation_conditions(definitions, instance=instance).cursor

    content["champion"] = "2"
    dg.materialize([model], instance=instance)
    result = dg.evaluate_automation_conditions(definitions, instance=instance, cursor=cursor)
    assert result.total_requested == 0

    content["cube"] = "2"
    dg.materialize([pixels], instance=instance, partition_key="a")
    result = dg.evaluate_automation_conditions(definitions, instance=instance, cursor=result.cursor)
    assert result.get_requested_partitions(dg.AssetKey(["p", "probability"])) == {"a"}
