"""The state is read from the storage, and says what the stages reported."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from geostack_dagster import storage
from geostack_dagster.pipeline.state import read_state
from geostack_dagster.pipeline.workspace import Workspace
from tests.pipeline.conftest import FIELD, Chain, spec_of

DAY, EMPTY = "2024-07-03", "2024-07-04"


@pytest.fixture
def chain(in_sandbox, workspace) -> Chain:
    return Chain(spec_of("earth_search"), workspace)


def test_partitions_pictures_and_sizes_are_those_of_the_runs(chain):
    reports = chain.run(DAY)
    chain.run(EMPTY)
    chain.run("2024-06-28", "snapshot")

    state = read_state([chain.spec, spec_of("planetary_computer")], chain.workspace)

    (pipeline,) = state.pipelines  # nothing was asked of the other
    cells = {cell.day.isoformat(): cell for cell in pipeline.calendar[FIELD.name]}
    assert list(cells) == ["2024-06-28", DAY, EMPTY]
    assert cells[DAY].items == reports["snapshot"].facts["items"]
    assert cells[DAY].coverage == pytest.approx(reports["cube"].facts["coverage"])
    assert (cells[EMPTY].items, cells[EMPTY].coverage) == (0, None)
    assert cells["2024-06-28"].items > 0
    assert cells["2024-06-28"].coverage is None
    (picture,) = pipeline.pictures
    assert picture.png == next(iter(reports["indices"].pictures.values()))
    assert set(pipeline.sizes) == {"snapshots", "recipes", "cubes", "published"}
    assert sum(pipeline.sizes.values()) < sum(storage.listing(chain.workspace.root).values())
    assert [(area.name, area.crs) for area in state.areas] == [(FIELD.name, "EPSG:32632")]
    assert state.failures == []


def test_what_could_not_be_read_is_on_the_page_until_it_can(chain):
    chain.run(DAY, "snapshot", "stack")
    attempt = {
        "stage": "cube",
        "failed_at": datetime.now(UTC).isoformat(),
        "error": "AssetError",
        "message": "gone",
        "ledger": {
            DAY: [{"item": "S2A", "asset": "red", "status": "failed", "detail": "gone for good"}]
        },
    }
    url = chain.workspace.layout.attempt(chain.partition(DAY))
    storage.write_bytes(url, json.dumps(attempt).encode())

    (failure,) = read_state([chain.spec], chain.workspace).failures
    assert (failure.day.isoformat(), failure.asset) == (DAY, "red")
    assert failure.reason == "gone for good"

    chain.run(DAY, "cube")
    assert read_state([chain.spec], chain.workspace).failures == []


def test_a_registry_of_models_is_found_and_told(workspace):
    document = {
        "id": "plume-detector",
        "geostack:aliases": {"champion": "m2", "challenger": None},
        "geostack:history": [
            {"event": "registered", "model": "m2", "by": "training", "at": "2024-07-01T00:00:00"},
            {
                "event": "promoted",
                "model": "m2",
                "by": "gate",
                "at": "2024-07-02T00:00:00",
                "previous": "m1",
                "decision": {"reasons": ["AP 0.9 over 0.8", "canary ok"]},
            },
        ],
    }
    url = f"{workspace.root}/models/plume-detector/collection.json"
    storage.write_bytes(url, json.dumps(document).encode())

    assert read_state([], workspace).promotions == []
    picture = workspace.layout.before_after("plume-detector", "m2", "m1")
    storage.write_bytes(picture, b"png")

    state = read_state([], workspace)

    assert [one.png for one in state.promotions] == [b"png"]
    assert state.champion == "m2"
    assert [(one.event, one.why) for one in state.models] == [
        ("registered", ""),
        ("promoted", "AP 0.9 over 0.8; canary ok"),
    ]


def test_damaged_objects_are_named_with_a_remedy_and_the_rest_is_shown(chain):
    chain.run(DAY)
    chain.run(EMPTY, "snapshot")
    sound, layout = chain.partition(DAY), chain.workspace.layout
    plumes = f"{layout.published(sound, 'plumes')}/plumes.geojson"
    urls = {
        layout.snapshot(chain.partition(EMPTY)): "write the snapshot again",
        layout.attempt(sound): "delete it",
        layout.pin("lost"): "register the same geometry again",
        plumes: f"delete its folder and materialize {chain.spec.name}/plumes again",
        f"{layout.models('plume-detector')}/collection.json": "restore it",
    }
    for url in urls:
        storage.write_bytes(url, b'{"geostack:history": [{}], "features": [{}], "ledger"')

    state = read_state([chain.spec], chain.workspace)

    problems = {f"{layout.root}/{one.path}": one.problem for one in state.damages}
    assert problems.keys() == urls.keys()
    for url, remedy in urls.items():
        assert url.rpartition("/")[2] in problems[url]
        assert remedy in problems[url]
    (pipeline,) = state.pipelines
    (cell,) = pipeline.calendar[FIELD.name]
    assert cell.coverage is not None
    assert len(pipeline.pictures) == 1

    cube = Path(layout.cube(chain.spec.name, FIELD.name))
    for path in (cube / "snapshots").iterdir():
        path.write_bytes(path.read_bytes()[:-40])
    state = read_state([chain.spec], chain.workspace)

    problems = {one.path: one.problem for one in state.damages}
    assert "restore it from a copy" in problems[f"{chain.spec.name}/cubes/{FIELD.name}"]
    (cell,) = state.pipelines[0].calendar[FIELD.name]
    assert (cell.items > 0, cell.coverage) == (True, None)


@pytest.mark.parametrize("document", ["{}", "null", '{"geostack:history": [{}]}', "{"])
def test_a_registry_that_lacks_something_does_not_bring_the_page_down(workspace, document):
    storage.write_bytes(f"{workspace.root}/models/m/collection.json", document.encode())

    damages = read_state([], workspace).damages

    # A Collection without a history is somebody else's.
    assert [one.path for one in damages] == ["models/m/collection.json"] * (document != "{}")


def test_a_storage_that_is_not_there_yet_is_empty(tmp_path):
    state = read_state([spec_of("earth_search")], Workspace(str(tmp_path / "none")))

    assert (list(state.areas), state.pipelines, state.champion) == ([], [], None)
