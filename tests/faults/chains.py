"""Pipelines that are disturbed, what an undisturbed one makes, and readers that look on."""

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geostack_dagster.cube.store import open_store
from geostack_dagster.engine import Engine
from geostack_dagster.errors import NoDataError
from geostack_dagster.pipeline.reconcile import Stale, ask_again, find_stale
from geostack_dagster.pipeline.workspace import Workspace
from tests.pipeline.conftest import FIELD, STAGES, Chain, spec_of

NOTHING = "nothing"
"""What a reader sees of a cube without days."""


def chain_at(root: Path, provider: str, *, engine: Engine | None = None, **changes: Any) -> Chain:
    """A pipeline over the field with its state below a folder."""
    workspace = Workspace(str(root), engine=engine or Engine())
    workspace.pin(FIELD)
    return Chain(spec_of(provider, **changes), workspace)


def cube_url(chain: Chain) -> str:
    return chain.workspace.layout.cube(chain.spec.name, FIELD.name)


def everything(chain: Chain) -> dict[str, bytes]:
    """Every key of the pipeline's repository and its bytes."""
    return open_store(cube_url(chain))._backend.reader().everything()


def state(chain: Chain) -> str:
    """Digest of all chunks of the cube that a reader finds: pixels, bookkeeping and ledger."""
    try:
        found = everything(chain)
    except NoDataError:
        return NOTHING
    slots = re.compile(rf"{chain.spec.record.quantity}/(?!time/|x/|y/|spatial_ref/)\w+/c/")
    held = sorted((key, value) for key, value in found.items() if slots.match(key))
    return hashlib.sha256(repr(held).encode()).hexdigest() if held else NOTHING


@contextmanager
def onlooker(chain: Chain) -> Iterator[Counter[str]]:
    """States that a reader sees who never stops looking while the block runs."""
    seen: Counter[str] = Counter()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            seen[state(chain)] += 1

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
    assert sum(seen.values())


def stale(chain: Chain, day: str) -> Stale | None:
    """What the reconcile finds of a partition."""
    partition = chain.partition(day)
    present = ask_again(chain.spec, chain.workspace, FIELD.name, partition.window)
    found = list(find_stale(chain.spec, chain.workspace, [partition], present))
    return found[0] if found else None


def reconcile(chain: Chain, day: str) -> str | None:
    """Run what the reconcile asks for; the stage where that begins, None if nothing is stale."""
    found = stale(chain, day)
    if found is None:
        return None
    nouns = list(STAGES)
    chain.run(day, *nouns[nouns.index(found.stage) :])
    assert stale(chain, day) is None
    return found.stage
