"""Storage that is full or read-only in any stage of a pipeline: a typed error, and nothing lost."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from geostack_dagster.errors import GeostackError
from tests.faults.chains import chain_at, everything, stale, state
from tests.pipeline.conftest import STAGES, Chain

pytestmark = pytest.mark.faults

PROVIDER, DAY = "earth_search", "2024-07-03"
LIMITS = (0, 6_000, 12_000, 24_000)
"""Largest file that the disk still takes [bytes]: stages write files of all these sizes."""
ATTEMPTS = (
    "import sys; from tests.faults.test_chain_storage import attempts; attempts(*sys.argv[1:])"
)
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" || exit 77; exec "$@"'


@pytest.fixture(scope="module")
def roots(sandbox, tmp_path_factory) -> Path:
    """The state of a pipeline before each of its stages has followed a reprocessed scene."""
    folder = tmp_path_factory.mktemp("roots")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sandbox.environment.items():
            patch.setenv(name, value)
        chain = chain_at(folder / "whole", PROVIDER)
        chain.run(DAY)
        old = next(
            one["id"]
            for one in sandbox.control.listed()
            if one["archive"] == PROVIDER and DAY.replace("-", "") in one["id"]
            if "32TMT" in one["id"]
        )
        sandbox.control.reprocess(old)
        for stage in STAGES:
            shutil.copytree(folder / "whole", folder / stage)
            chain.run(DAY, stage)
    return folder


def attempts(folder: str, limit: str) -> None:
    """Run each stage where no file may grow beyond a limit; prints what came of them."""
    found = {}
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    for stage in STAGES:
        chain = Chain(chain_at(Path(folder) / "whole", PROVIDER).spec, workspace_of(folder, stage))
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), unlimited[1]))
        try:
            chain.run(DAY, stage)
            found[stage] = ""
        except GeostackError as error:
            found[stage] = f"{type(error).__name__}: {error}"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    print(json.dumps(found))  # noqa: T201


def workspace_of(folder: str | Path, stage: str) -> Any:
    from geostack_dagster.pipeline.workspace import Workspace

    return Workspace(str(Path(folder) / stage))


def attempted(folder: Path, limit: int, *, prefix: Sequence[str] = ()) -> dict[str, str]:
    """What each stage failed with, in a process of its own; empty where it went well."""
    child = subprocess.run(
        [*prefix, sys.executable, "-c", ATTEMPTS, str(folder), str(limit)],
        capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    if child.returncode == 77 or "unshare" in child.stderr:
        pytest.skip(f"may not mount here: {child.stderr.strip()[-200:]}")
    assert child.returncode == 0, child.stderr[-2000:]
    found: dict[str, str] = json.loads(child.stdout.splitlines()[-1])
    return found


def assert_nothing_lost(before: Path, after: Path, found: dict[str, str]) -> None:
    """Stages that failed left the state as it was, and do their work once they can."""
    whole = chain_at(before / "whole", PROVIDER)
    for stage, error in found.items():
        chain = Chain(whole.spec, workspace_of(after, stage))
        if error:
            former = Chain(whole.spec, workspace_of(before, stage))
            assert recorded(chain, stage) == recorded(former, stage)
            assert state(chain) == state(former)
        chain.run(DAY, *list(STAGES)[list(STAGES).index(stage) :])
        assert stale(chain, DAY) is None
        assert everything(chain) == everything(whole)


def recorded(chain: Chain, stage: str) -> str | None:
    return STAGES[stage].current(chain.spec, chain.partition(DAY), chain.workspace)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.usefixtures("in_sandbox")
def test_a_full_disk(roots, tmp_path, limit):
    folder = tmp_path / "roots"
    shutil.copytree(roots, folder)
    found = attempted(folder, limit)
    failed = {stage for stage, error in found.items() if error}
    assert all(error.startswith("ServiceError") for error in filter(None, found.values())), found
    assert failed == set(STAGES) if limit == LIMITS[0] else failed
    assert limit < LIMITS[-1] or failed != set(STAGES), "no stage found room"
    assert_nothing_lost(roots, folder, found)


@pytest.mark.usefixtures("in_sandbox")
def test_a_read_only_disk(roots, tmp_path):
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare to mount a folder read-only")
    folder = tmp_path / "roots"
    shutil.copytree(roots, folder)
    mounted = ("unshare", "-m", "sh", "-c", READ_ONLY, str(folder))
    found = attempted(folder, sys.maxsize, prefix=mounted)
    assert all(error.startswith("ConfigurationError") for error in found.values()), found
    assert_nothing_lost(roots, folder, found)
