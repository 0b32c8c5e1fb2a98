"""A cube stage as a process of its own, which a test kills; few imports, for it starts often."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from geostack_dagster.domain.partition import Partition
from geostack_dagster.pipeline import cube
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace

PRELOADED = ("odc.stac", "tests.faults.killed")


def run_cube(
    spec: PipelineSpec,
    partition: Partition,
    workspace: Workspace,
    environment: Mapping[str, str],
    folder: Path,
) -> None:
    """Run the stage; files say that it begins, and how many seconds it took."""
    os.environ.update(environment)
    began = time.perf_counter()
    (folder / "running").touch()
    cube.run(spec, partition, workspace)
    (folder / "took").write_text(str(time.perf_counter() - began))
