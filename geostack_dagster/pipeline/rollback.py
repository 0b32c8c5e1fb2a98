"""The two last steps of a rollback, also of one that died before them: commit, and settle."""

from dataclasses import replace

from geostack_dagster import storage
from geostack_dagster.cube.store import Commit
from geostack_dagster.domain.partition import Partition
from geostack_dagster.domain.swath import Geometry
from geostack_dagster.pipeline.cube import cube_store
from geostack_dagster.pipeline.hold import Hold
from geostack_dagster.pipeline.spec import PipelineSpec
from geostack_dagster.pipeline.workspace import Workspace


def commit(
    spec: PipelineSpec, partition: Partition, workspace: Workspace, hold: Hold
) -> str | None:
    """Make the cube hold what a hold says that it was rolled back to; the snapshot of the commit.

    Twice does no harm: what is there already is read as before. The caller holds the claim.

    Raises:
        ConfigurationError: If the store keeps no such snapshot.
        ConflictError: If another writer changed the partition meanwhile; nothing was rolled back.
    """
    said, window = f"as in {hold.snapshot}", partition.window
    note = Commit(pipeline=partition.pipeline, partition=str(partition), fingerprint=said)
    if spec.record.geometry is Geometry.SWATH:
        from geostack_dagster.pipeline.swath.cube import swath_store

        swaths = swath_store(spec, partition, workspace)
        return swaths.rollback(window, hold.snapshot, note).snapshot
    store = cube_store(spec, partition, workspace)
    return store.rollback(spec.record.quantity, window, hold.snapshot, note).snapshot


def settle(partition: Partition, workspace: Workspace, hold: Hold) -> Hold:
    """The hold as it stands after the commit, written."""
    stands = replace(hold, pending=False)
    storage.write_bytes(workspace.layout.hold(partition), stands.dumps())
    return stands
