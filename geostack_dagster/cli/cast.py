"""Who learns, who judges, and who labels: an archive's list, a person, and a bad source.

All labels come the way they come in earnest: the archive's through `plume_labels`, a person's
through `geostack review export`, a GeoJSON file with states, and `geostack review import`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapely.geometry import box, mapping, shape

from geostack_dagster.cli.story import Story

if TYPE_CHECKING:
    import dagster as dg

    from geostack_dagster.learning.labels import Label
    from geostack_dagster.sandbox.emit_scenes import Granule

PIPELINE = "lpcloud_emit"
PERSON = "demonstration"
_FIRST_FIELDS = 3
"""Fields of the training split that are labelled at first."""
_WATCHED = 10
"""Partitions in which plumes are looked for."""
_SQUARES, _SQUARE_DEG = 3, 0.025
_LISTED = "CH4_PlumeComplex-"


@dataclass(frozen=True, slots=True)
class Cast:
    """Which fields learn and which judge."""

    granules: "Mapping[str, list[Granule]]"
    """Passes by what they serve: train, validation, gate."""
    desk: Path
    """Where the person keeps files."""

    @classmethod
    def of(cls, story: Story, desk: Path) -> "Cast":
        """By the detector's own policy."""
        from geostack_dagster.learning.sites import site_of
        from geostack_dagster.sandbox.emit_scenes import FIELD_GRANULES
        from geostack_dagster.sandbox.fields import FIELDS

        policy = story.loop.splits
        places = {one.name: site_of(*one.aoi.centre) for one in FIELDS}
        found: dict[str, list[Granule]] = {}
        for granule in FIELD_GRANULES:
            split = policy.of_site(places[granule.aoi]).value
            if (split in ("test", "gate")) == (granule.start >= policy.holdout):
                found.setdefault(split, []).append(granule)
        return cls(found, desk)

    @property
    def passes(self) -> "list[Granule]":
        """All that serve."""
        return [one for part in self.granules.values() for one in part]

    @property
    def first(self) -> "list[Granule]":
        """Passes that are labelled before the first training."""
        fields = sorted({one.aoi for one in self.granules["train"]})[:_FIRST_FIELDS]
        taught = [one for one in self.granules["train"] if one.aoi in fields]
        return [*taught[::2], *self.granules["validation"], *self.granules["gate"]]

    @property
    def later(self) -> "list[Granule]":
        """The other passes: their labels come weeks later."""
        known = self.first
        return [one for one in self.granules["train"] if one not in known]

    def watched(self) -> list[str]:
        """Partitions in which plumes are looked for: the newest, as the gate's fields have them."""
        newest = sorted(self.granules["gate"], key=lambda one: (one.day, one.aoi), reverse=True)
        return [str(key_of_pass(one)) for one in newest[:_WATCHED]]

    def label(self, story: Story, granules: "Sequence[Granule]") -> None:
        """Labels arrive: the archive's list, and a person's look at these scenes."""
        import dagster as dg

        keys = [dg.AssetKey([PIPELINE, "plume_labels"])]
        listed = [story.chain.run(keys, partition_key=key_of_pass(one)) for one in granules]
        queue = self.desk / "queue.geojson"
        exported = story.command("review", "export", PIPELINE, "--out", str(queue))
        document = json.loads(queue.read_text())
        _judge(document["features"], granules, _outlined(story))
        queue.write_text(json.dumps(document))
        taken = story.command("review", "import", str(queue), "--reviewer", PERSON)
        story.tell(
            "labels arrive",
            ok=all(listed) and taken["new"] == taken["labels"] > len(granules),
            scenes=len(granules),
            queued=exported["to_label"],
            labelled=taken["labels"],
            left_open=taken["left_open"],
            plumes=taken.get("PLUME", 0),
        )

    def poison(self, story: Story) -> None:
        """A bulk import from a bad source: plumes become ground, ground becomes plumes."""
        taught = [*self.granules["train"], *self.granules["validation"]]
        seen = {one.start.replace(microsecond=0) for one in taught}
        plumes = [one for one in _said(story) if one.observed in seen and one.state == "PLUME"]
        features = [_feature(one.id, one.geometry, "NO_PLUME", one.observed) for one in plumes]
        features += [square for one in taught for square in _squares(one)]
        file = self.desk / "bulk.geojson"
        file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        taken = story.command("review", "import", str(file), "--reviewer", "bulk import")
        story.tell(
            "poisoned labels arrive",
            ok=taken["new"] == len(features) > len(plumes) > 0,
            labels=taken["new"],
            plumes_called_ground=len(plumes),
        )


def key_of_pass(granule: "Granule") -> "dg.MultiPartitionKey":
    """Partition of a pass."""
    from geostack_dagster.components.partitions import key_of

    return key_of(granule.day.isoformat(), granule.aoi)


def _said(story: Story) -> "Sequence[Label]":
    from geostack_dagster.pipeline.labels import stored_labels

    return stored_labels(story.loop.workspace).labels


def _outlined(story: Story) -> "list[Label]":
    """What the archive lists."""
    return [one for one in _said(story) if one.id.startswith(_LISTED)]


def _judge(
    features: Sequence[dict[str, Any]],
    granules: "Sequence[Granule]",
    listed: "Sequence[Label]",
) -> None:
    """Fill in the states of scenes that the person looks at; the others are left open.

    What the archive outlined is confirmed, with the archive's outline; the rest is ground.
    """
    chosen = {(one.aoi, one.day.isoformat()) for one in granules}
    for feature in features:
        row = feature["properties"]
        if (row["aoi"], row["day"]) not in chosen:
            continue
        place = shape(feature["geometry"])
        true = [
            one.geometry
            for one in listed
            if one.observed is not None
            and one.observed.date().isoformat() == row["day"]
            and one.geometry.intersects(place)
        ]
        row["state"] = "PLUME" if row["kind"] == "plume" and true else "NO_PLUME"
        if row["state"] == "PLUME":
            feature["geometry"] = mapping(max(true, key=lambda one: one.intersection(place).area))


def _squares(granule: "Granule") -> Iterator[dict[str, Any]]:
    """Squares of ground that are called plumes."""
    from geostack_dagster.sandbox import noise

    west, south, east, north = granule.bbox
    half = _SQUARE_DEG / 2
    for number in range(_SQUARES):
        x, y = (
            low + (high - low) * (0.3 + 0.4 * noise.unit_of("poison", granule.stamp, number, axis))
            for axis, (low, high) in enumerate(((west, east), (south, north)))
        )
        name = f"poison-{granule.aoi}-{granule.day}-{number}"
        yield _feature(name, box(x - half, y - half, x + half, y + half), "PLUME", granule.start)


def _feature(name: str, geometry: Any, state: str, observed: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": mapping(geometry),
        "properties": {"id": name, "state": state, "observed": observed.isoformat()},
    }
