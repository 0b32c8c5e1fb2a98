"""`geostack report` over a storage of which a part is damaged."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geostack_dagster.cli.app import app
from geostack_dagster.pipeline.workspace import Workspace
from tests.pipeline.conftest import FIELD

# Dagster's component loader; nothing of ours calls it.
pytestmark = pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")


def test_the_page_is_written_and_the_command_says_what_is_damaged(root, tmp_path, monkeypatch):
    monkeypatch.setenv("GEOSTACK_STORAGE", root)
    Workspace(root).pin(FIELD)
    registry = Path(root) / "models" / "plume-detector" / "collection.json"
    page = tmp_path / "report.html"

    sound = CliRunner().invoke(app, ["report", "--out", str(page)], catch_exceptions=False)
    assert sound.exit_code == 0
    assert "Damaged" not in page.read_text()

    registry.parent.mkdir(parents=True)
    registry.write_text('{"id": "plume-detector", "geostack:hist')
    asked = ["report", "--out", str(page), "--json"]
    result = CliRunner().invoke(app, asked, catch_exceptions=False)

    assert result.exit_code == 1
    (damage,) = json.loads(result.stdout)["damaged"]
    assert damage["object"] == "models/plume-detector/collection.json"
    assert "restore it" in damage["problem"]
    text = page.read_text()
    assert "Damaged objects" in text
    assert damage["object"] in text
    assert FIELD.name in text
