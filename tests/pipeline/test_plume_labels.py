"""EMIT's own list of plumes becomes labels: outlines as drawn, once, and withdrawn when it is."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from shapely.geometry import shape

from geostack_dagster.auth.redaction import scan
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import CredentialError
from geostack_dagster.inference.plumes import State
from geostack_dagster.pipeline import plume_labels, snapshot
from geostack_dagster.pipeline.labels import add_labels, label_log, stored_labels
from geostack_dagster.pipeline.reconcile import find_stale
from geostack_dagster.pipeline.spec import STAGE_CODE
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.sandbox import AOIS
from geostack_dagster.sandbox.emit_plumes import COMPLEXES
from tests.pipeline.test_methane import AREA, DAY, GIVEN, run, spec_of

SPEC = spec_of("lpcloud_emit", GIVEN)
PARTITION = Partition(SPEC.name, AREA, DAY, SPEC.cadence)
LISTED_IN = "EMITL2BCH4PLM_002"
(COMPLEX,) = (
    one
    for one in COMPLEXES
    if one.granule.aoi == AREA and one.granule.day == date.fromisoformat(DAY)
)


@pytest.fixture
def workspace(tmp_path, in_sandbox) -> Workspace:
    found = Workspace(str(tmp_path / "storage"))
    found.pin(AOI.from_file(AOIS / f"{AREA}.geojson"))
    return found


def test_an_outline_of_the_archive_becomes_a_label_with_its_provenance(workspace, in_sandbox):
    report = run(SPEC, workspace, "plume_labels")["plume_labels"]
    assert (report.outcome.value, report.facts["labels_changed"]) == ("written", 1)
    (label,) = stored_labels(workspace).labels
    assert label.state is State.PLUME
    assert label.id == f"CH4_PlumeComplex-{COMPLEX.number}"
    assert label.source == COMPLEX.name
    assert label.observed == COMPLEX.granule.start.replace(microsecond=0)
    drawn = shape(COMPLEX.metadata()["features"][0]["geometry"])
    assert label.geometry.equals(drawn)
    (entry,) = label_log(workspace)
    assert (entry.source, entry.reviewer) == ("lpcloud", LISTED_IN)
    # The outlines lie behind Earthdata Login, and nothing of it is kept.
    asked = [one for one in in_sandbox.control.log() if "CH4PLMMETA" in str(one)]
    assert asked
    assert scan([Path(workspace.root)]) == []


def test_without_metadata_the_raster_s_outline_is_the_label(workspace, monkeypatch):
    monkeypatch.setattr(plume_labels, "_METADATA", "no such file")
    report = run(SPEC, workspace, "plume_labels")["plume_labels"]
    assert report.facts["labels_changed"] == 1
    assert report.tables["unreadable"] == []
    (label,) = stored_labels(workspace).labels
    assert label.id == f"CH4_PlumeComplex-{COMPLEX.number}"
    drawn = shape(COMPLEX.metadata()["features"][0]["geometry"])
    assert label.geometry.symmetric_difference(drawn).area < 0.02 * drawn.area


def test_what_was_read_is_not_added_again(workspace):
    run(SPEC, workspace, "snapshot", "plume_labels")
    before = stored_labels(workspace).digest
    again = run(SPEC, workspace, "plume_labels")["plume_labels"]
    assert (again.outcome.value, again.facts["labels_changed"]) == ("unchanged", 0)
    assert (len(label_log(workspace)), stored_labels(workspace).digest) == (1, before)
    stale = [one.stage for one in find_stale(SPEC, workspace, [PARTITION])]
    assert "plume_labels" not in stale
    assert plume_labels.current(SPEC, PARTITION, workspace) == again.fingerprint


def test_a_person_s_word_outlives_the_archive_s(workspace, monkeypatch):
    run(SPEC, workspace, "plume_labels")
    (label,) = stored_labels(workspace).labels
    judged = replace(label, state=State.NO_PLUME, source="review")
    add_labels(workspace, [judged], source="review", reviewer="ada")
    # Read anew by other code: the archive says what it said before.
    monkeypatch.setitem(STAGE_CODE, "plume_labels", 99)
    assert plume_labels.current(SPEC, PARTITION, workspace) is None
    report = run(SPEC, workspace, "plume_labels")["plume_labels"]
    assert report.facts["labels_changed"] == 0
    assert [one.state for one in stored_labels(workspace).labels] == [State.NO_PLUME]


def test_a_day_without_plumes_has_no_label(workspace):
    quiet = replace(PARTITION, date="2024-06-03")
    report = plume_labels.run(SPEC, quiet, workspace)
    assert report.outcome.value == "empty"
    assert stored_labels(workspace).labels == ()


def test_without_an_account_the_variable_is_named(workspace, monkeypatch):
    for name in ("EARTHDATA_USERNAME", "EARTHDATA_PASSWORD", "EARTHDATA_TOKEN", "NETRC", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", workspace.root)
    with pytest.raises(CredentialError, match="EARTHDATA_"):
        run(SPEC, workspace, "plume_labels")
    assert snapshot.current(SPEC, PARTITION, workspace) is None


def test_what_the_archive_withdraws_teaches_nothing_any_more(workspace, in_sandbox):
    run(SPEC, workspace, "plume_labels")
    in_sandbox.control.withdraw(COMPLEX.name)  # the last test: the sandbox belongs to the module
    report = run(SPEC, workspace, "plume_labels")["plume_labels"]
    assert report.facts["withdrawn"] == 1
    (label,) = stored_labels(workspace).labels
    assert label.state is State.UNCERTAIN
    states = [one.labels[0].state for one in stored_labels(workspace).sets]
    assert states == [State.PLUME, State.UNCERTAIN]  # and what was said stays on record
