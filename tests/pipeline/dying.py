"""Stages of a pipeline in a process that is killed at a write of its choice; few imports."""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from geostack_dagster.domain.partition import Partition
from geostack_dagster.pipeline.holds import run_stage
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace
from tests.cube.scenes import spawner

PRELOADED = ("odc.stac", "tests.pipeline.dying")


def run_and_die(
    spec: PipelineSpec,
    partition: Partition,
    workspace: Workspace,
    environment: Mapping[str, str],
    stages: Sequence[str],
    at: int,
) -> None:
    """Run stages and die before or after one of the writes: files, chunks and commits are counted.

    Exits with 0 if there are fewer writes than `at`.
    """
    import icechunk  # not before the process is forked: it starts threads

    from geostack_dagster.cube.keys import Keys

    os.environ.update(environment)
    numbers = count(1)

    def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            _die_at(at, next(numbers))
            result = call(*args, **options)
            _die_at(at, next(numbers))
            return result

        return counted

    Path.replace = deadly(Path.replace)  # how every file comes into its place
    Path.unlink = deadly(Path.unlink)
    Keys.put = deadly(Keys.put)
    icechunk.Session.commit = deadly(icechunk.Session.commit)
    for stage in stages:
        run_stage(spec, stage, partition, workspace)


def killed_rolling_back(
    spec: PipelineSpec, partition: Partition, workspace: Workspace, snapshot: str, at: int
) -> bool:
    """Whether a process that rolls back was killed before its commit (1) or after it (2)."""
    process = spawner(*PRELOADED).Process(
        target=_roll_back_and_die, args=(spec, partition, workspace, snapshot, at)
    )
    process.start()
    process.join()
    return process.exitcode == -signal.SIGKILL


def _roll_back_and_die(
    spec: PipelineSpec, partition: Partition, workspace: Workspace, snapshot: str, at: int
) -> None:
    import icechunk  # here for the same reason

    from geostack_dagster.pipeline.upkeep import roll_back

    commit = icechunk.Session.commit

    def deadly(*args: Any, **options: Any) -> Any:
        _die_at(at, 1)
        result = commit(*args, **options)
        _die_at(at, 2)
        return result

    icechunk.Session.commit = deadly
    roll_back(spec, partition, workspace, snapshot, "stripes")


def _die_at(at: int, number: int) -> None:
    if number == at:
        os.kill(os.getpid(), signal.SIGKILL)
