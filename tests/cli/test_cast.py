"""What the person of the demonstration makes of a queue: what the archive outlined, no more."""

import json

from shapely.geometry import box, mapping, shape

from geostack_dagster.cli.cast import PIPELINE, _judge, _squares
from geostack_dagster.inference.plumes import State
from geostack_dagster.learning.labels import Label
from geostack_dagster.pipeline.reviewed import read_review
from geostack_dagster.sandbox.emit_scenes import FIELD_GRANULES

SEEN, OTHER = FIELD_GRANULES[:2]


def feature(name, geometry, granule, *, kind="plume"):
    return {
        "type": "Feature",
        "geometry": mapping(geometry),
        "properties": {
            "id": f"{PIPELINE}/{granule.aoi}/{granule.day}/{name}",
            "state": None,
            "kind": kind,
            "aoi": granule.aoi,
            "day": granule.day.isoformat(),
            "observed": granule.start.isoformat(),
        },
    }


def listed(name, geometry, granule):
    return Label(
        id=name,
        geometry=geometry,
        state=State.PLUME,
        observed=granule.start,
        source="CH4PLM",
    )


def test_what_the_archive_outlined_is_confirmed_and_the_rest_is_ground():
    west, south, east, north = SEEN.bbox
    x, y = (west + east) / 2, (south + north) / 2
    outline = box(x, y, x + 0.02, y + 0.01)
    features = [
        feature("found", box(x + 0.005, y, x + 0.03, y + 0.02), SEEN),
        feature("nothing", box(x + 0.1, y, x + 0.11, y + 0.01), SEEN),
        feature("scene", box(west, south, east, north), SEEN, kind="scene"),
        feature("later", box(x, y, x + 0.01, y + 0.01), OTHER),
    ]
    _judge(features, [SEEN], [listed("a", outline, SEEN)])
    states = [one["properties"]["state"] for one in features]
    assert states == ["PLUME", "NO_PLUME", "NO_PLUME", None]
    assert shape(features[0]["geometry"]).equals(outline)

    document = {"type": "FeatureCollection", "features": features}
    reviewed = read_review(json.dumps(document).encode())
    assert (len(reviewed.labels), reviewed.left_open) == (3, 1)


def test_an_outline_of_another_day_confirms_nothing():
    west, south, east, north = SEEN.bbox
    features = [feature("found", box(west, south, east, north), SEEN)]
    _judge(features, [SEEN], [listed("a", box(west, south, east, north), OTHER)])
    assert SEEN.day != OTHER.day
    assert features[0]["properties"]["state"] == "NO_PLUME"


def test_the_bad_source_writes_what_an_import_accepts():
    squares = list(_squares(SEEN))
    document = {"type": "FeatureCollection", "features": squares}
    labels = read_review(json.dumps(document).encode()).labels
    assert {one.state for one in labels} == {State.PLUME}
    assert len({one.id for one in labels}) == len(squares) == 3
    assert all(box(*SEEN.bbox).contains(one.geometry) for one in labels)
