"""The re-inference sensor: exactly the outputs of other models, newest first, each but once."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from geostack_dagster.components.detector_sensors import AGAIN
from geostack_dagster.components.partitions import key_of
from geostack_dagster.domain.partition import Partition
from geostack_dagster.inference.detector import Detector
from geostack_dagster.learning.gate import Decision
from geostack_dagster.learning.splits import Split
from geostack_dagster.pipeline import cube, probability
from geostack_dagster.pipeline.enhancement import GROUP
from geostack_dagster.pipeline.learning import challenger, training_set
from tests.components.test_detector import Code, code, instance  # noqa: F401 - fixtures
from tests.pipeline.learning.conftest import cubes, trained  # noqa: F401 - fixtures
from tests.pipeline.learning.sites import SPEC, sites

NOW = datetime(2024, 8, 1, tzinfo=UTC)
pytestmark = pytest.mark.timeout(600)


def promote(loop, seed: int) -> str:
    """Another model is champion, untrained: what it finds does not matter here."""
    found = training_set.required(loop)
    detector = Detector.untrained(loop.training.architecture, seed=seed)
    card = replace(challenger.card_of(loop, found, detector), data=f"other {seed}")
    model = loop.registry.add(card, NOW)
    decision = Decision(challenger=model, champion=loop.registry.aliases.champion, checks=())
    loop.registry.apply(decision, by="ada", at=NOW)
    return model


@pytest.fixture
def watched(code):  # noqa: F811
    """Five outputs of the first champion, newest first."""
    chosen = [one for one in sites(code.loop) if one.split is Split.GATE][:5]
    for site in chosen:
        assert code.look(site).success
    return sorted(chosen, key=lambda one: (one.day, one.name), reverse=True)


def keys(chosen):
    return [key_of(site.day.isoformat(), site.name) for site in chosen]


def ask(code, cursor=None):  # noqa: F811
    found = code.tick("reinfer", cursor)
    return [request.partition_key for request in found.run_requests or ()], found


def run_of(code, request, status):  # noqa: F811
    """A run of a request that came so far."""
    run = dg.DagsterRun(
        job_name="__ASSET_JOB",
        status=status,
        asset_selection=frozenset(request.asset_selection),
        tags={**request.tags, "dagster/partition": request.partition_key},
    )
    code.instance.add_run(run)
    return run


def test_exactly_the_outputs_of_other_models_are_asked_for(code, watched):  # noqa: F811
    promote(code.loop, 1)
    for site in (watched[0], watched[3]):  # by hand, after the promotion
        assert code.look(site).success
    wanted = keys([watched[1], watched[2], watched[4]])
    asked, found = ask(code)
    assert asked == wanted[:2]  # two a tick
    said = found.run_requests[0].tags["geostack/reason"]
    assert said.startswith("3 of 5 partitions were made by another model than finder-")
    assert "the newest 2 are asked for" in said
    assert ask(code, found.cursor)[1].run_requests == found.run_requests  # nothing ran yet
    for request in found.run_requests:
        assert code.execute(request).success
    asked, found = ask(code, found.cursor)
    assert asked == wanted[2:]
    assert code.execute(found.run_requests[0]).success
    asked, found = ask(code, found.cursor)
    assert not asked
    assert found.skip_message.startswith("all of 5 partitions were made by finder-")


def test_what_is_under_way_is_not_asked_for_again_and_counts(code, watched):  # noqa: F811
    promote(code.loop, 1)
    _, first = ask(code)
    run_of(code, first.run_requests[0], dg.DagsterRunStatus.STARTED)
    asked, found = ask(code, first.cursor)
    assert asked == keys(watched[1:2])  # two may be under way, and one is
    assert "runs of 1 are under way" in found.run_requests[0].tags["geostack/reason"]
    run_of(code, found.run_requests[0], dg.DagsterRunStatus.STARTING)
    asked, found = ask(code, found.cursor)
    assert not asked
    assert "runs of 2 are under way" in found.skip_message


def test_runs_that_fail_are_tried_again_and_then_do_not_stand_in_the_way(code, watched):  # noqa: F811
    promote(code.loop, 1)
    seen = set()
    for _ in range(3):
        asked, found = ask(code)
        assert asked == keys(watched[:2])
        run_keys = {request.run_key for request in found.run_requests}
        assert not run_keys & seen  # Dagster would drop what it knows
        seen |= run_keys
        for request in found.run_requests:
            run_of(code, request, dg.DagsterRunStatus.FAILURE)
    asked, found = ask(code)
    assert asked == keys(watched[2:4])
    assert f"3 runs did not mend {SPEC.name}/" in found.run_requests[0].tags["geostack/reason"]

    promote(code.loop, 2)  # another champion has attempts of its own
    assert ask(code)[0] == keys(watched[:2])


def test_older_partitions_have_their_turn(code, watched):  # noqa: F811
    """However many there are: a tick looks at so many, and the next one at those before them."""
    small = Code(code.loop.workspace.root, code.instance, look={"most_partitions": 2})
    promote(code.loop, 1)
    for site in watched[:3]:
        assert code.look(site).success
    asked, first = ask(small)
    assert not asked
    assert first.skip_message.startswith("all of 2 partitions looked at, of 5, were made by ")
    asked, second = ask(small, first.cursor)
    assert asked == keys(watched[3:4])
    assert code.execute(second.run_requests[0]).success
    asked, third = ask(small, second.cursor or first.cursor)
    assert not asked
    asked, fourth = ask(small, third.cursor)
    assert asked == keys(watched[4:])
    assert code.execute(fourth.run_requests[0]).success
    _, fifth = ask(small, fourth.cursor or third.cursor)
    assert json.loads(fifth.cursor)["after"] is None  # round again

    promote(code.loop, 2)  # whose outputs begin at the newest, wherever the cursor was
    assert ask(small, third.cursor)[0] == keys(watched[:2])


def test_where_there_was_nothing_to_look_at_no_champion_matters(code, watched):  # noqa: F811
    site = watched[0]
    empty = Partition(SPEC.name, site.name, (site.day + timedelta(days=1)).isoformat())
    store = cube.cube_store(SPEC, empty, code.loop.workspace)
    store.clear(GROUP, empty.window, cube.commit_of(SPEC, GROUP, empty, "no scene"))
    key = key_of(empty.date, empty.aoi)
    made = code.run([dg.AssetKey([SPEC.name, "probability"])], partition_key=key)
    assert made.success
    before = probability.current(SPEC, empty, code.loop.workspace)
    assert before is not None
    promote(code.loop, 1)
    assert probability.current(SPEC, empty, code.loop.workspace) == before
    asked, found = ask(code)
    assert asked == keys(watched[:2])
    assert "5 of 6 partitions" in found.run_requests[0].tags["geostack/reason"]


def test_the_attempts_of_an_output_are_found_by_its_tag(code, watched):  # noqa: F811
    promote(code.loop, 1)
    tags = [request.tags[AGAIN] for request in ask(code)[1].run_requests]
    digest = code.loop.registry.digest_of("champion")
    assert tags == [f"{SPEC.name}/{key}/{digest}/2" for key in keys(watched[:2])]
