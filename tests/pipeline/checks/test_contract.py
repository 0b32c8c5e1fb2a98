"""The radiometry contract over the twins: honest archives pass, a lie either way does not."""

import json

import pytest

from geostack_dagster.domain.dark_pixels import Verdict
from geostack_dagster.errors import IntegrityError
from geostack_dagster.pipeline import cube
from geostack_dagster.pipeline.check_spec import CheckSpec
from geostack_dagster.pipeline.checks.evidence import evidence_of, verdicts_of
from geostack_dagster.pipeline.holds import doubt_of, run_stage
from geostack_dagster.pipeline.stack import read_recipe
from geostack_dagster.providers import provider_named
from tests.pipeline.conftest import Chain, spec_of

FLAG = "earthsearch:boa_offset_applied"
DAY, OLD = "2024-07-03", "2024-06-13"


def verdicts(chain: Chain, day: str):
    partition = chain.partition(day)
    chain.run(day, "snapshot", "stack", "cube")
    recorded = cube.recorded(chain.spec, partition, chain.workspace)
    found = evidence_of(chain.spec, "cube", partition, chain.workspace, recorded)
    return verdicts_of(found, read_recipe(partition, chain.workspace))


@pytest.mark.parametrize(
    ("provider", "day"),
    [
        ("planetary_computer", DAY),  # baseline 05.10, offset in the pixels
        ("planetary_computer", OLD),  # baseline 02.12, none
        ("earth_search", OLD),  # processed twice, with and without
        ("sentinel_hub", DAY),  # harmonised by the service
        ("cdse", DAY),
    ],
)
def test_honest_archives_are_never_contradicted(in_sandbox, workspace, provider, day):
    assert provider_named(provider).collection("sentinel-2-l2a").dark
    found = verdicts(Chain(spec_of(provider), workspace), day)

    assert [one.verdict for one in found] == [Verdict.SOUND]
    assert all(-0.02 < pixels.least < 0.08 for pixels in found[0].pixels)


@pytest.mark.parametrize("lie", ["subtracted twice", "nothing is subtracted"])
def test_a_lie_either_way_is_found_and_stops_the_next_stage(in_sandbox, workspace, lie):
    chain, control = Chain(spec_of("earth_search"), workspace), in_sandbox.control
    listed = [one for one in control.listed() if one["archive"] == "earth_search"]
    name = next(one["id"] for one in listed if "20240703" in one["id"] and "32TMT" in one["id"])
    is_never = lie != "subtracted twice"
    if is_never:  # an Item of its own, with the offset in its pixels and unstated
        honest = json.dumps(item_of(chain, name))
        flagged = json.loads(honest.replace(name, name.replace("_0_L2A", "_7_L2A")))
        flagged["properties"][FLAG] = False
        control.publish("earth_search", [flagged])
        control.withdraw(name)
        name = flagged["id"]
    control.mislabel(name)
    try:
        (found,) = verdicts(chain, DAY)

        assert found.verdict is Verdict.CONTRADICTED
        assert lie in found.reason
        assert found.radiometry.offset == (0.0 if is_never else -0.1)
        partition = chain.partition(DAY)
        with pytest.raises(IntegrityError, match=name):
            run_stage(chain.spec, "indices", partition, chain.workspace)
        lenient = spec_of("earth_search", checks=CheckSpec(radiometry="warn"))
        assert doubt_of(lenient, partition, chain.workspace) is None
    finally:
        control.mislabel(name)
        if is_never:
            control.withdraw(name)
            control.arrive(name.replace("_7_L2A", "_0_L2A"))


def item_of(chain: Chain, name: str) -> dict:
    from geostack_dagster.catalog.snapshot import read

    chain.run(DAY, "snapshot")
    snapshot = read(chain.workspace.layout.snapshot(chain.partition(DAY)))
    return dict(next(item for item in snapshot.items if item["id"] == name))


def test_a_day_without_a_scene_says_nothing(in_sandbox, workspace):
    chain = Chain(spec_of("earth_search"), workspace)

    assert verdicts(chain, "2024-07-04") == ()
    assert doubt_of(chain.spec, chain.partition("2024-07-04"), chain.workspace) is None
