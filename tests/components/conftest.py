"""The code location, and an instance of Dagster over a small AOI inside the sandbox."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import dagster as dg
import pytest

from geostack_dagster.definitions import defs
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.sandbox import Sandbox
from tests.pipeline.conftest import FIELD

STAGES = ("snapshot", "stack", "cube", "indices")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@cache
def code() -> dg.Definitions:
    """The code location, loaded once."""
    return defs()


@pytest.fixture
def instance(
    in_sandbox: Sandbox, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    code()  # before any instance: it would cling to one that is gone
    monkeypatch.setenv("GEOSTACK_STORAGE", root)
    monkeypatch.setenv("GEOSTACK_AOIS", str(tmp_path / "aois"))
    Workspace(root).pin(FIELD)
    (tmp_path / "home").mkdir()
    with dg.instance_for_test(temp_dir=str(tmp_path / "home")) as instance:
        instance.add_dynamic_partitions("aoi", [FIELD.name])
        yield instance


def materialise(
    instance: dg.DagsterInstance, pipeline: str, nouns: Sequence[str] = STAGES, **asked: object
) -> dg.ExecuteInProcessResult:
    """A run of some of a pipeline's assets; `asked` as for `execute_in_process`."""
    return (
        code()
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey([pipeline, noun]) for noun in nouns],
            run_config=QUIET,
            raise_on_error=False,
            **asked,
        )
    )
