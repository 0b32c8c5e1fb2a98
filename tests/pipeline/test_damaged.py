"""Documents of the storage that were damaged from outside: named with a remedy, or made again."""

import re
from collections.abc import Callable

import pytest

from geostack_dagster import storage
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import DamagedError
from geostack_dagster.pipeline import attempt, plume_labels, stack
from geostack_dagster.pipeline.checks.evidence import kept_evidence
from geostack_dagster.pipeline.labels import label_log
from geostack_dagster.pipeline.review import QUEUE, read_queue
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.publish.product import product_id, published
from tests.pipeline.conftest import FIELD, spec_of

SPEC = spec_of("earth_search")
PARTITION = Partition(SPEC.name, FIELD.name, "2024-07-03")
WRONG = [
    b"",
    b'{"a": [1, ',
    b"\xff\xfe",
    b"[]",
    b"null",
    b"{}",
    b'{"features": [1], "entries": [1]}',
]

type Read = Callable[[Workspace], object]


def queue_url(workspace: Workspace) -> str:
    return f"{workspace.layout.review(PARTITION)}/{QUEUE}"


NAMED: dict[str, tuple[Callable[[Workspace], str], Read, str]] = {
    "pin": (
        lambda workspace: workspace.layout.pin(FIELD.name),
        lambda workspace: workspace.pinned(FIELD.name),
        "register the same geometry again",
    ),
    "attempt": (
        lambda workspace: workspace.layout.attempt(PARTITION),
        lambda workspace: attempt.read(PARTITION, workspace),
        "delete it",
    ),
    "labels": (lambda workspace: workspace.layout.label_log, label_log, "restore it"),
    "queue": (
        queue_url,
        lambda workspace: read_queue(queue_url(workspace)),
        "materialize the review queue again",
    ),
}


@pytest.mark.parametrize("content", WRONG)
@pytest.mark.parametrize("kind", NAMED)
def test_it_is_named_with_a_remedy(tmp_path, kind, content):
    workspace = Workspace(str(tmp_path))
    place, read, remedy = NAMED[kind]
    storage.write_bytes(place(workspace), content)

    with pytest.raises(DamagedError, match=re.escape(place(workspace))) as error:
        read(workspace)

    assert remedy in str(error.value)


@pytest.mark.parametrize("content", [b'{"labels": [1', b"[]"])
def test_what_was_made_of_a_list_of_plumes_is_named(tmp_path, content):
    workspace = Workspace(str(tmp_path))
    url = workspace.layout.plume_labels(PARTITION).removesuffix(".parquet") + ".labels.json"
    storage.write_bytes(url, content)

    with pytest.raises(DamagedError, match=r"delete it and materialize .*/plume_labels again"):
        plume_labels.current(SPEC, PARTITION, workspace)


@pytest.mark.parametrize("content", WRONG)
def test_what_can_be_made_again_counts_as_not_made(tmp_path, content):
    workspace = Workspace(str(tmp_path))
    folder = workspace.layout.published(PARTITION, "indices")
    for url in (
        workspace.layout.recipe(PARTITION),
        workspace.layout.evidence(PARTITION, "cube"),
        f"{folder}/{product_id(PARTITION, 'indices')}.json",
    ):
        storage.write_bytes(url, content)

    assert stack.current(SPEC, PARTITION, workspace) is None
    assert kept_evidence("cube", PARTITION, workspace) is None
    assert published(PARTITION, "indices", folder) is None
