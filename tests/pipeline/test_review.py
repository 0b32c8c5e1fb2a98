"""The review queue: what is uncertain and what was drawn, out to a person and back as labels."""

import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import geopandas
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from geostack_dagster.cli.app import app
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.plumes import State
from geostack_dagster.pipeline import review
from geostack_dagster.pipeline.labels import labels_during, stored_labels
from geostack_dagster.pipeline.reconcile import find_stale
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.sandbox import AOIS
from tests.pipeline.test_methane import AREA, DAY, GIVEN, RELATIVE, run, spec_of


@pytest.fixture
def workspace(tmp_path, in_sandbox, monkeypatch) -> Workspace:
    found = Workspace(str(tmp_path / "storage"))
    found.pin(AOI.from_file(AOIS / f"{AREA}.geojson"))
    monkeypatch.setenv("GEOSTACK_STORAGE", found.root)
    return found


def spec_with(audit: float, facts: dict[str, object] = RELATIVE) -> PipelineSpec:
    spec = spec_of("enmap", facts)  # the name of a pipeline that the CLI knows
    return replace(spec, methane=replace(spec.methane, audit=audit))


def folder_of(spec: PipelineSpec, workspace: Workspace) -> Path:
    return Path(workspace.layout.review(Partition(spec.name, AREA, DAY, spec.cadence)))


def test_uncertain_plumes_are_queued_with_their_reasons_and_pictures(workspace):
    spec = spec_with(audit=0)
    report = run(spec, workspace)["review"]
    folder = folder_of(spec, workspace)
    table = geopandas.read_parquet(folder / "queue.parquet")
    assert report.facts["candidates"] == len(table) > 0
    assert set(table["found"]) == {"UNCERTAIN"}
    assert set(table["why"]) == {"uncertain"}
    assert table["state"].isna().all()
    assert table["reasons"].str.contains("below|fewer|unobserved").all()
    assert table["peak_score"].gt(0).all()
    assert table.crs == "OGC:CRS84"
    document = json.loads((folder / "queue.geojson").read_text())
    ids = [one["properties"]["id"] for one in document["features"]]
    assert list(table["id"]) == ids
    assert all(name.startswith(f"enmap/{AREA}/{DAY}/") for name in ids)
    for name in table["picture"]:
        content = (folder / name).read_bytes()
        assert len(content) < 100_000
        with Image.open(io.BytesIO(content)) as image:
            assert np.asarray(image.convert("L")).std() > 10
    assert report.pictures
    assert len(report.tables["queue"]) == len(ids)


def test_a_queue_is_made_once_and_again_when_its_plumes_change(workspace):
    spec = spec_with(audit=0)
    partition = Partition(spec.name, AREA, DAY, spec.cadence)
    run(spec, workspace)
    assert run(spec, workspace, "review")["review"].outcome.value == "unchanged"
    assert list(find_stale(spec, workspace, [partition])) == []
    audited = spec_with(audit=1.0)
    (stale,) = find_stale(audited, workspace, [partition])
    assert stale.stage == "review"
    report = run(audited, workspace, "review")["review"]
    assert report.facts["audited_scenes"] == 1
    kinds = [
        row["kind"] for row in review.read_queue(f"{folder_of(spec, workspace)}/queue.geojson")
    ]
    assert kinds.count("scene") == 1
    # The sure plume of a drawn scene is looked at as well.
    found = [row["found"] for row in report.tables["queue"]]
    assert "PLUME" in found
    run(spec, workspace, "review")
    left = {path.name for path in folder_of(spec, workspace).glob("*.png")}
    named = {
        row["picture"] for row in review.read_queue(f"{folder_of(spec, workspace)}/{review.QUEUE}")
    }
    assert left == named


def test_without_plumes_the_remedy_is_told(workspace):
    spec = spec_with(audit=0)
    run(spec, workspace, "snapshot", "stack", "cube")
    with pytest.raises(ConfigurationError, match="materialize enmap/plumes first"):
        run(spec, workspace, "review")


def test_scenes_are_drawn_by_lot_irrespective_of_what_is_in_them():
    days = [
        date(2020, 1, 1).isoformat(),
        *(f"2024-{m:02}-{d:02}" for m in range(1, 13) for d in range(1, 29)),
    ]
    names = [(f"p{n}", "a", day) for n in range(5) for day in days]
    drawn = [review.is_drawn(*name, 0.1) for name in names]
    assert np.mean(drawn) == pytest.approx(0.1, abs=0.025)
    assert drawn == [review.is_drawn(*name, 0.1) for name in names]
    assert not any(review.is_drawn(*name, 0.0) for name in names)
    assert all(review.is_drawn(*name, 1.0) for name in names)
    # A larger share only adds scenes.
    assert all(review.is_drawn(*name, 0.3) for name, one in zip(names, drawn, strict=True) if one)


def test_a_person_labels_the_queue_and_the_labels_come_back(workspace, tmp_path):
    spec = spec_with(audit=1.0)
    run(spec, workspace)
    out = tmp_path / "work" / "queue.geojson"
    runner = CliRunner()
    exported = runner.invoke(app, ["review", "export", "enmap", "--out", str(out), "--json"])
    assert exported.exit_code == 0, exported.output
    facts = json.loads(exported.stdout)
    document = json.loads(out.read_text())
    assert facts["to_label"] == len(document["features"]) >= 3
    for one in document["features"]:
        assert (out.parent / one["properties"]["picture"]).is_file()

    first, *others = (one for one in document["features"] if one["properties"]["kind"] == "plume")
    (scene,) = (one for one in document["features"] if one["properties"]["kind"] == "scene")
    first["properties"]["state"] = "PLUME"
    others[0]["properties"]["state"] = "NO_PLUME"
    scene["properties"]["state"] = "NO_PLUME"
    out.write_text(json.dumps(document))
    taken = runner.invoke(app, ["review", "import", str(out), "--reviewer", "ada", "--json"])
    assert taken.exit_code == 0, taken.output
    told = json.loads(taken.stdout)
    assert (told["labels"], told["new"], told["PLUME"], told["NO_PLUME"]) == (3, 3, 1, 2)
    assert told["left_open"] == len(document["features"]) - 3

    found = {label.id: label for label in stored_labels(workspace).labels}
    assert found[first["properties"]["id"]].state is State.PLUME
    assert found[scene["properties"]["id"]].state is State.NO_PLUME
    day = datetime(2024, 6, 13, tzinfo=UTC), datetime(2024, 6, 14, tzinfo=UTC)
    assert len(labels_during(found.values(), *day)) == 3
    assert all(label.scenes for label in found.values())

    # What has a label is not asked for again; importing it again adds nothing.
    again = runner.invoke(app, ["review", "export", "enmap", "--out", str(out) + "2", "--json"])
    assert json.loads(again.stdout)["to_label"] == facts["to_label"] - 3
    second = runner.invoke(app, ["review", "import", str(out), "--reviewer", "ada", "--json"])
    assert json.loads(second.stdout)["new"] == 0


def test_a_wrong_file_leaves_the_store_as_it_was(workspace, tmp_path):
    wrong = tmp_path / "labels.geojson"
    wrong.write_text(
        '{"type": "FeatureCollection", "features": [{"properties": {"state": "PLUME"}}]}'
    )
    result = CliRunner().invoke(app, ["review", "import", str(wrong)])
    assert result.exit_code == 2
    assert stored_labels(workspace).labels == ()
    missing = CliRunner().invoke(app, ["review", "import", str(tmp_path / "nowhere.geojson")])
    assert missing.exit_code == 2


def test_the_archive_s_own_enhancement_is_reviewed_like_any_other(workspace):
    spec = spec_with(
        audit=1.0,
        facts=GIVEN | {"methane": replace(GIVEN["methane"], wind=RELATIVE["methane"].wind)},
    )
    report = run(spec, workspace)["review"]
    assert report.facts["audited_scenes"] == 1
    (row,) = (
        r
        for r in review.read_queue(report.facts["queue_file"])
        if r["found"] == "PLUME" and r["kind"] == "plume"
    )
    assert row["rate_68_low_kg_h"] < row["rate_kg_h"] < row["rate_68_high_kg_h"]
    assert row["why"] == "audit"
