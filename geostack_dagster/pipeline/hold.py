"""The document of a hold: why a partition's cube is kept as it is."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, override

from geostack_dagster import storage
from geostack_dagster.domain.documents import read_back
from geostack_dagster.domain.partition import Partition
from geostack_dagster.pipeline.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A partition of a cube that was rolled back."""

    refused: str
    """Fingerprint of the inputs whose cube was bad: it is not made of them again."""
    snapshot: str
    since: str
    reason: str = ""
    pending: bool = False
    """Whether the rollback is under way: if nobody has the claim, its process died."""

    @override
    def __str__(self) -> str:
        """One sentence for people."""
        why = f" ({self.reason})" if self.reason else ""
        return (
            f"held: rolled back to snapshot {self.snapshot} on {self.since[:10]}{why}; until its "
            "inputs change, or `geostack rollback --release`"
        )

    def dumps(self) -> bytes:
        """JSON text."""
        return json.dumps(asdict(self), indent=1).encode()


def read_hold(partition: Partition, workspace: Workspace) -> Hold | None:
    """The hold on a partition, whatever its inputs; None if there is none.

    Raises:
        DamagedError: If it is damaged: nobody knows then what is not to be made again.
    """
    url = workspace.layout.hold(partition)
    try:
        content = storage.read_bytes(url)
    except FileNotFoundError:
        return None
    where = f"{partition.pipeline} {partition.aoi} {partition.date}"
    return read_back(
        content,
        url,
        _hold_of,
        remedy="its partition is not made until it is rolled back again, or "
        f"`geostack rollback {where} --release` ends the hold",
    )


def _hold_of(document: Mapping[str, Any]) -> Hold:
    hold = Hold(**document)
    if not all(isinstance(one, str) for one in (hold.refused, hold.snapshot, hold.since)):
        raise TypeError("its members are no texts")
    return hold
