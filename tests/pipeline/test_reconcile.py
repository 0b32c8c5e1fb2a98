"""Reconcile: from the state alone it is seen what has to be made again, and nothing else is."""

from pathlib import Path

from geostack_dagster import storage
from geostack_dagster.domain.days import Window
from geostack_dagster.pipeline.reconcile import ask_again, find_stale
from tests.pipeline.conftest import STAGES

DAYS = ("2024-06-23", "2024-06-28", "2024-07-13")


def looked(chain, *days: str, again: bool = True) -> dict[str, tuple[str, str]]:
    """Stage and reason of every stale partition."""
    partitions = [chain.partition(day) for day in days or DAYS]
    window = Window(partitions[0].window.start, partitions[-1].window.end)
    present = ask_again(chain.spec, chain.workspace, "field", window) if again else None
    found = find_stale(chain.spec, chain.workspace, partitions, present)
    return {one.partition.date: (one.stage, one.reason) for one in found}


def scene(control, archive: str, stamp: str) -> str:
    everything = control.listed() + control.pending()
    found = [one["id"] for one in everything if one["archive"] == archive]
    return next(name for name in found if stamp in name and "32TMT" in name)


def test_what_was_never_asked_for_is_asked_for_where_there_are_items(chain):
    assert looked(chain) == {
        "2024-06-23": ("snapshot", "never taken"),
        "2024-06-28": ("snapshot", "never taken"),
    }
    assert looked(chain, again=False) == {}


def test_a_whole_chain_is_as_it_should_be(chain):
    for day in DAYS:
        chain.run(day)
    assert looked(chain) == {}


def test_late_reprocessed_and_withdrawn_scenes_are_found(chain, in_sandbox):
    control, archive = in_sandbox.control, chain.spec.provider.slug
    for day in DAYS:
        chain.run(day)
    late = scene(control, archive, "20240713")
    control.arrive(late)
    assert looked(chain) == {"2024-07-13": ("snapshot", "the catalogue says something else now")}
    chain.run("2024-07-13")
    assert looked(chain) == {}

    control.withdraw(late)
    assert set(looked(chain)) == {"2024-07-13"}
    chain.run("2024-07-13")
    assert looked(chain) == {}

    control.reprocess(scene(control, archive, "20240628"))
    assert set(looked(chain)) == {"2024-06-28"}
    assert looked(chain, again=False) == {}
    chain.run("2024-06-28")
    assert looked(chain) == {}


def test_the_stage_where_a_run_died_is_found(chain):
    chain.run(DAYS[0], "snapshot")
    assert looked(chain, DAYS[0])[DAYS[0]][0] == "stack"
    chain.run(DAYS[0], "stack")
    assert looked(chain, DAYS[0])[DAYS[0]][0] == "cube"
    chain.run(DAYS[0], "cube")
    assert looked(chain, DAYS[0])[DAYS[0]][0] == "indices"
    chain.run(DAYS[0], "indices")
    assert looked(chain, DAYS[0]) == {}

    folder = Path(chain.workspace.layout.published(chain.partition(DAYS[0]), "indices"))
    next(folder.glob("*.json")).unlink()
    assert looked(chain, DAYS[0])[DAYS[0]][0] == "indices"


def test_a_damaged_snapshot_is_taken_again(chain):
    chain.run("2024-07-03")
    kept = STAGES["snapshot"].current(chain.spec, chain.partition("2024-07-03"), chain.workspace)
    storage.write_bytes(chain.workspace.layout.snapshot(chain.partition("2024-07-03")), b"PAR")

    assert looked(chain, "2024-07-03") == {"2024-07-03": ("snapshot", "never taken")}
    assert chain.run("2024-07-03", "snapshot")["snapshot"].fingerprint == kept
    assert looked(chain, "2024-07-03") == {}
    assert chain.outcomes("2024-07-03") == dict.fromkeys(STAGES, "unchanged")


def test_the_same_trouble_has_the_same_mark_and_another_has_another(chain, in_sandbox):
    chain.run(DAYS[1])
    control = in_sandbox.control

    def marks() -> set[str]:
        present = ask_again(chain.spec, chain.workspace, "field", chain.partition(DAYS[1]).window)
        stale = find_stale(chain.spec, chain.workspace, [chain.partition(DAYS[1])], present)
        return {one.mark for one in stale}

    control.reprocess(scene(control, chain.spec.provider.slug, "20240628"), "05.12")
    first = marks()
    assert marks() == first
    assert len(first) == 1
    control.reprocess(scene(control, chain.spec.provider.slug, "20240628"), "05.13")
    assert marks().isdisjoint(first)
