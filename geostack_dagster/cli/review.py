"""`geostack review`: the queue of uncertain plumes out to a person, and their labels back in."""

import getpass
import json
from collections import Counter
from pathlib import Path
from typing import Any

from geostack_dagster import storage
from geostack_dagster.cli.terminal import required
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.pipeline.labels import add_labels, stored_labels
from geostack_dagster.pipeline.review import QUEUE, queued
from geostack_dagster.pipeline.reviewed import read_review
from geostack_dagster.pipeline.workspace import Workspace


def export(
    pipeline: str, out: Path, *, aoi: str | None = None, again: bool = False
) -> dict[str, Any]:
    """Write one GeoJSON of a pipeline's queues, and their pictures into a folder beside it.

    What has a label in the store already is left out unless `again`.

    Raises:
        ConfigurationError: If no partition of the pipeline has a queue yet.
    """
    workspace = Workspace(required("GEOSTACK_STORAGE"))
    folder = workspace.layout.reviews(pipeline)
    names = sorted(name for name in storage.listing(folder) if name.endswith(f"/{QUEUE}"))
    queues = [f"{folder}/{name}" for name in names if aoi in (None, name.partition("/")[0])]
    if not queues:
        raise ConfigurationError(
            f"{pipeline} has no review queue{'' if aoi is None else f' over {aoi}'} yet; "
            f"materialize {pipeline}/review first"
        )
    known = set() if again else {label.id for label in stored_labels(workspace).labels}
    features = [one for queue in queues for one in _taken(queue, out, known)]
    document = {"type": "FeatureCollection", "features": features}
    storage.write_bytes(str(out), (json.dumps(document, indent=1) + "\n").encode())
    return {
        "queue": str(out),
        "pictures": str(_pictures(out)),
        "partitions": len(queues),
        "to_label": len(features),
        **Counter(str(one["properties"]["why"]) for one in features),
    }


def take(file: Path, reviewer: str | None = None) -> dict[str, Any]:
    """Add the labels of a reviewed GeoJSON file to the store.

    Raises:
        ConfigurationError: If the file is wrong, naming the feature and the remedy.
    """
    workspace = Workspace(required("GEOSTACK_STORAGE"))
    reviewed = read_review(_content(file))
    who = reviewer or getpass.getuser()
    entry = add_labels(workspace, reviewed.labels, source="review", reviewer=who)
    return {
        "reviewer": who,
        "labels": len(reviewed.labels),
        "new": 0 if entry is None else entry.count,
        "left_open": reviewed.left_open,
        **Counter(label.state.value for label in reviewed.labels),
        "stored_as": None if entry is None else workspace.layout.label_set(entry.digest),
    }


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error


def _pictures(out: Path) -> Path:
    return out.with_name(f"{out.stem}_pictures")


def _taken(queue: str, out: Path, known: set[str]) -> list[dict[str, Any]]:
    """Features of a queue that are not known yet, their pictures copied and named from `out`."""
    features = [one for one in queued(queue) if one["properties"]["id"] not in known]
    folder = queue.rpartition("/")[0]
    for one in features:
        row = one["properties"]
        copy = _pictures(out) / f"{row['id'].replace('/', '_')}.png"
        storage.write_bytes(str(copy), storage.read_bytes(f"{folder}/{row['picture']}"))
        row["picture"] = f"{copy.parent.name}/{copy.name}"
        one["id"] = row["id"]
    return features
