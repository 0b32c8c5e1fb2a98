"""Dagster's migration scripts: read once, and still held against the database at every opening."""

import shutil
import sqlite3
from pathlib import Path

import dagster as dg
import pytest
from alembic.script import ScriptDirectory
from dagster._core.storage import sql
from dagster._core.storage.runs.sqlite import sqlite_run_storage

SETTINGS = Path(__file__).parents[2] / "dagster.yaml"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """One that an instance with the project's settings was opened in."""
    shutil.copyfile(SETTINGS, tmp_path / "dagster.yaml")
    opened(tmp_path)
    return tmp_path


def opened(home: Path) -> dict[str, object]:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        kept = instance.run_storage, instance.event_log_storage, instance.schedule_storage
        return {type(one).__name__: one.alembic_version() for one in kept}


def test_an_instance_that_is_opened_again_reads_no_script(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = opened(home)
    assert len(before) == 3
    assert all(database == newest is not None for database, newest in before.values())

    def read(_: ScriptDirectory) -> None:
        raise AssertionError("it reads migration scripts")

    monkeypatch.setattr(ScriptDirectory, "_load_revisions", read)
    assert opened(home) == before


def test_a_database_of_an_older_revision_is_seen_as_old(home: Path) -> None:
    (newest,) = {new for name, (_, new) in opened(home).items() if name == "SqliteRunStorage"}
    config = sql.get_alembic_config(sqlite_run_storage.__file__)
    older = ScriptDirectory.from_config(config).get_revision(newest).down_revision
    with sqlite3.connect(home / "history" / "runs.db") as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (older,))
    database.close()
    assert opened(home)["SqliteRunStorage"] == (older, newest)
