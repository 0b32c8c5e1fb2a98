"""Automation by content: what is asked for when a parent's data version changes."""

from uuid import uuid4

import dagster as dg
import pytest

from geostack_dagster.components.assets import FOLLOW
from geostack_dagster.components.events import materializations
from geostack_dagster.components.partitions import AOIS, key_of, range_tags
from geostack_dagster.definitions import defs
from geostack_dagster.pipeline.report import Outcome, StageReport

DATES = ["2024-06-01", "2024-06-02", "2024-06-03"]
CHAIN = ("snapshot", "stack", "cube")
KEY = key_of(DATES[1], "a")


class World:
    """A chain of assets whose content is what `content` says, and the daemon's cursor."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.content = "first"
        self.definitions = dg.Definitions(assets=[self._asset(noun) for noun in CHAIN])
        self.cursor = None
        self.before_cube = lambda: None

    def make(self, *nouns: str, **asked) -> None:
        job = self.definitions.resolve_implicit_global_asset_job_def()
        keys = [dg.AssetKey(["p", noun]) for noun in nouns]
        assert job.execute_in_process(instance=self.instance, asset_selection=keys, **asked).success

    def tick(self) -> dict[str, set[str]]:
        """Partitions asked for, by noun."""
        result = dg.evaluate_automation_conditions(
            self.definitions, instance=self.instance, cursor=self.cursor
        )
        self.cursor = result.cursor
        asked = {
            noun: result.get_requested_partitions(dg.AssetKey(["p", noun])) for noun in CHAIN[1:]
        }
        return {noun: keys for noun, keys in asked.items() if keys}

    def _asset(self, noun: str) -> dg.AssetsDefinition:
        position = CHAIN.index(noun)

        @dg.asset(
            key=["p", noun],
            deps=[dg.AssetKey(["p", CHAIN[position - 1]])] if position else [],
            partitions_def=dg.MultiPartitionsDefinition(
                {"date": dg.DailyPartitionsDefinition(DATES[0]), "aoi": AOIS}
            ),
            backfill_policy=dg.BackfillPolicy.multi_run(10),
            code_version="1",
            automation_condition=FOLLOW if position else None,
        )
        def body(context: dg.AssetExecutionContext):
            if noun == "cube":
                self.before_cube()
            yield from materializations(
                context,
                {
                    key: StageReport(
                        outcome=Outcome.WRITTEN, fingerprint=f"{key} {self.content}", note=""
                    )
                    for key in context.partition_keys
                },
            )

        return body


@pytest.fixture
def world():
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(AOIS.name, ["a", "b"])
        world = World(instance)
        world.make(*CHAIN, tags=range_tags([DATES[0], DATES[-1]], ["a", "b"]))
        assert world.tick() == {}  # the baseline
        yield world


def test_a_changed_snapshot_is_followed_by_the_whole_rest_of_its_chain(world):
    world.content = "second"
    world.make("snapshot", partition_key=KEY)

    assert world.tick() == {"stack": {KEY}, "cube": {KEY}}
    assert world.tick() == {}


def test_the_same_content_again_is_followed_by_nothing(world):
    world.make("snapshot", tags=range_tags([DATES[0], DATES[-1]], ["a", "b"]))

    assert world.tick() == {}


@pytest.mark.parametrize(
    "asked", [{"partition_key": KEY}, {"tags": range_tags(DATES, ["a", "b"])}], ids=str
)
def test_what_the_same_run_makes_is_not_made_again(world, asked):
    world.content = "second"
    world.make(*CHAIN, **asked)

    assert world.tick() == {}


@pytest.mark.parametrize(
    "asked", [{"partition_key": KEY}, {"tags": range_tags(DATES, ["a", "b"])}], ids=str
)
def test_a_tick_in_the_middle_of_a_run_asks_for_nothing(world, asked):
    ticks = []
    world.before_cube = lambda: ticks.append(world.tick())
    world.content = "second"
    world.make(*CHAIN, **asked)

    assert ticks == [{}]
    assert world.tick() == {}


@pytest.mark.parametrize("content", ["first", "second"])
def test_a_tick_between_two_partitions_events_sees_no_version_that_is_not_theirs(world, content):
    run_id, asked = str(uuid4()), []
    world.content = content

    def tick(entry: dg.EventLogEntry) -> None:
        if entry.dagster_event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
            asked.append(world.tick().get("stack", set()))

    world.instance.add_event_listener(run_id, tick)
    dates = range_tags([DATES[0], DATES[-1]], ["a", "b"])
    world.make("snapshot", tags=dates, run_id=run_id)

    changed = [] if content == "first" else [key_of(date, aoi) for date in DATES for aoi in "ab"]
    assert len(asked) == 6
    assert sorted(key for keys in asked for key in keys) == sorted(changed)


def test_a_run_that_stopped_half_way_is_followed_from_where_it_stopped(world):
    world.content = "second"
    world.make("snapshot", "stack", partition_key=KEY)

    assert world.tick() == {"cube": {KEY}}


def test_every_asset_with_a_parent_follows_it():
    for spec in defs().resolve_all_asset_specs():
        if spec.key.path[-1] in ("stack", "cube", "indices", "enhancement", "plumes"):
            assert spec.automation_condition == FOLLOW
        if spec.key.path[-1] == "snapshot":
            assert spec.automation_condition is None
