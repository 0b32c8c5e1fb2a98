"""The state is read from the storage, and says what the stages reported."""

import json
from datetime import UTC, datetime

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


def test_a_storage_that_is_not_there_yet_is_empty(tmp_path):
    state = read_state([spec_of("earth_search")], Workspace(str(tmp_path / "none")))

    assert (list(state.areas), state.pipelines, state.champion) == ([], [], None)
