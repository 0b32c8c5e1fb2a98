"""Pixels written by the processes of a Dask cluster, each block as a part of the transaction.

A block is read, encoded and stored where the scheduler puts it; what comes back is a few hundred
bytes that say where its chunks are (Icechunk's forked sessions). Nobody sees them before this
process merges all parts and commits. What a worker that dies had stored is stored again by another
and the first copy is garbage, which no snapshot names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import xarray as xr

from geostack_dagster import __version__
from geostack_dagster.cube.backend import Part, Transaction
from geostack_dagster.cube.encode import Pixels
from geostack_dagster.cube.schema import Variable
from geostack_dagster.cube.stream import Sink, Tally, computed
from geostack_dagster.engine import Engine
from geostack_dagster.errors import ConfigurationError


def scatter(
    sinks: Mapping[int, Sink],
    data: xr.Dataset,
    *,
    order: Sequence[int],
    transaction: Transaction,
    engine: Engine,
) -> dict[int, Tally]:
    """Store the slots that have a sink, from a cluster; how much of each holds values.

    Args:
        sinks: What becomes of each slot.
        data: The dataset, of Dask arrays; checked already.
        order: Slot of each step of its time axis.
        transaction: Takes the parts; nothing is committed.
        engine: The cluster.

    Raises:
        ConfigurationError: If a worker runs another version of this package.
        ServiceError: If the cluster goes away.
    """
    tallies = {slot: Tally() for slot in order if slot in sinks}
    if not tallies:
        return tallies
    write = PartWriter(sinks, transaction.part(), __version__)
    parts = []
    for slot, (tally, part) in computed(sinks, data, order=order, write=write, engine=engine):
        tallies[slot] += tally
        parts.append(part)
    transaction.merge(parts)
    return tallies


@dataclass(frozen=True, slots=True)
class PartWriter:
    """Travels to the workers: makes a block a part of the transaction."""

    sinks: Mapping[int, Sink]
    part: Part
    version: str

    def __call__(
        self, variable: Variable, slot: int, corner: tuple[int, int], block: Pixels
    ) -> tuple[Tally, Part]:
        """What the block holds, and where its chunks are."""
        if self.version != __version__:
            raise ConfigurationError(
                f"a Dask worker runs geostack_dagster {__version__} and the writer "
                f"{self.version}: the same image must run in both"
            )
        chunks, tally = self.sinks[slot].encode(variable, corner, block)
        return tally, self.part.holding(chunks)
