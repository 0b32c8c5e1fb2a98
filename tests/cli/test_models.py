"""`geostack model` as a person types it, over a real registry: roles, reasons, and the way back."""

import json
import shutil

import dagster as dg
import pytest
from typer.testing import CliRunner

from geostack_dagster.cli import models
from geostack_dagster.cli.app import app
from geostack_dagster.learning.gate import Outcome
from geostack_dagster.learning.registry import Registry
from geostack_dagster.pipeline.learning import challenger, evaluation
from geostack_dagster.pipeline.workspace import Workspace
from tests.learning.test_registry import NOW, card, decision
from tests.pipeline.learning.conftest import cubes, trained  # noqa: F401 - fixtures
from tests.pipeline.learning.sites import SETTINGS, loop_in

RUN = CliRunner()
SAID = ("--by", "ada", "--reason", "blind over snow")
# Dagster's component loader; nothing of ours calls it.
pytestmark = pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")


def geostack(*words: str) -> dict:
    result = RUN.invoke(app, ["model", *words, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def refused(*words: str) -> str:
    result = RUN.invoke(app, ["model", *words], catch_exceptions=False)
    assert result.exit_code == 2
    return " ".join(result.stderr.split())


@pytest.fixture
def registry(tmp_path, monkeypatch) -> Registry:
    """Of the shipped detector, with two champions one after the other and a rejected model."""
    monkeypatch.setenv("GEOSTACK_STORAGE", str(tmp_path))
    found = Registry(Workspace(str(tmp_path)).layout.models("plume_detector"), "plume_detector")
    first, second, third = (found.add(card(seed, name=found.name), NOW) for seed in range(3))
    found.apply(decision(first, None), by="gate", at=NOW)
    found.apply(decision(second, first), by="gate", at=NOW)
    found.apply(decision(third, second, Outcome.REJECT), by="gate", at=NOW)
    return found


def test_models_are_listed_with_their_roles(registry):
    first, second, third = registry.models
    found = geostack("list")
    assert found["champion"] == second
    assert [(row["model"], row["role"], row["last"]) for row in found["models"]] == [
        (first, "", "promoted"),
        (second, "champion", "promoted"),
        (third, "", "rejected"),
    ]
    shown = RUN.invoke(app, ["model", "list"]).stdout
    assert "champion" in shown


def test_a_model_is_shown_by_its_id_and_by_its_role(registry):
    _, second, third = registry.models
    champion = geostack("show", "champion")
    assert champion == geostack("show", second)
    assert champion["digest"] == registry.digest_of(second)
    assert champion["hyperparameters"]["seed"] == 1
    assert champion["derived_from"] == ["s3://bucket/chips.parquet"]
    rejected = geostack("show", third)
    assert [event["event"] for event in rejected["history"]] == ["registered", "rejected"]
    assert rejected["reasons"] == ["c: f"]
    assert "has no model nobody" in refused("show", "nobody")


def test_there_is_a_way_back_and_it_is_on_record(registry):
    first, second, _ = registry.models
    assert "name who decides" in refused("rollback", "--by", " ", "--reason", "x")
    assert registry.aliases.champion == second
    assert geostack("rollback", *SAID) == {"champion": first, "challenger": None}
    last = registry.history[-1]
    assert (last["event"], last["by"], last["reason"]) == ("rolled back", "ada", SAID[-1])
    assert last["previous"] == second
    assert "no champion before" in refused("rollback", *SAID)
    assert geostack("list")["champion"] == first


def test_the_way_back_is_on_the_page_of_the_champion(registry, tmp_path, monkeypatch):
    first, second, _ = registry.models
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    geostack("rollback", *SAID)

    with dg.DagsterInstance.get() as instance:
        key = dg.AssetKey(["plume_detector", "champion"])
        event = instance.get_latest_materialization_event(key).asset_materialization
    assert event.metadata["champion"].value == first
    assert event.metadata["note"].value == f"ada rolled {second} back to {first}: {SAID[-1]}"
    assert event.metadata["history"].records[-1].data["why"] == SAID[-1]
    assert event.tags["dagster/data_version"] == registry.digest_of(first)


def test_a_storage_and_a_detector_have_to_be_named(monkeypatch):
    monkeypatch.delenv("GEOSTACK_STORAGE", raising=False)
    assert "set GEOSTACK_STORAGE" in refused("list")
    monkeypatch.setenv("GEOSTACK_STORAGE", "/nowhere")
    assert "no detector 'unheard'" in refused("list", "--detector", "unheard")


@pytest.mark.timeout(600)
def test_a_person_decides_against_the_gate(trained, tmp_path, monkeypatch):  # noqa: F811
    shutil.copytree(trained, tmp_path / "storage")
    loop = loop_in(tmp_path / "storage", training=SETTINGS["training"] | {"seed": 5, "steps": 20})
    challenger.run(loop)
    evaluation.run(loop)
    before = loop.registry.aliases.champion
    # The shipped detector would be trained for minutes; all but the look-up is as shipped.
    monkeypatch.setattr(models, "loop_named", lambda name: loop)
    assert "is none of promote, shadow, reject" in refused("override", "challenger", "yes", *SAID)
    assert "is not what the gate looks at" in refused("override", before, "promote", *SAID)
    assert loop.registry.aliases.champion == before

    found = geostack("override", "challenger", "promote", *SAID)
    assert found["champion"] == loop.registry.aliases.champion != before
    shown = geostack("show", "champion")
    assert shown["reasons"][0] == "ada decided promote: blind over snow"
    assert shown["history"][-1]["by"] == "ada"
    decided = loop.registry.history[-1]["decision"]
    assert decided["verdict"] != "promote" or decided["override"]["outcome"] == "promote"
