"""A reviewed file is read as it was meant, or refused with the feature and the remedy."""

import json

import pytest
from shapely.geometry import Point, box, mapping

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.plumes import State
from geostack_dagster.pipeline.reviewed import read_review

OUTLINE = mapping(box(10.0, 45.0, 10.01, 45.01))


def feature(geometry: object = OUTLINE, **properties: object) -> dict[str, object]:
    usual = {"id": "p/a/2024-06-03/1", "state": "PLUME", "observed": "2024-06-03T10:34:05+00:00"}
    return {"type": "Feature", "geometry": geometry, "properties": usual | properties}


def file_of(*features: object) -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def test_states_are_read_and_open_features_are_counted():
    reviewed = read_review(
        file_of(
            feature(state="no_plume", scenes=["g1", "g2"], rate_kg_h=None),
            feature(id="own outline", state=" UNCERTAIN ", scenes="g1 g2"),
            feature(id="open", state=None),
            feature(id="empty", state=""),
        )
    )
    assert [(one.id, one.state) for one in reviewed.labels] == [
        ("p/a/2024-06-03/1", State.NO_PLUME),
        ("own outline", State.UNCERTAIN),
    ]
    assert {one.scenes for one in reviewed.labels} == {("g1", "g2")}
    assert {one.source for one in reviewed.labels} == {"review"}
    assert reviewed.left_open == 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"id,state\n1,PLUME\n", "no JSON.*export the reviewed layer as GeoJSON"),
        (b"[]", "no GeoJSON FeatureCollection"),
        (file_of(feature(state=None)), "none of 1 features has a `state`; set it to one of PLUME"),
        (file_of({"type": "Feature"}), "feature 1 has no properties"),
        (file_of(feature(id=None)), "feature 1 has no `id`; keep the one of the queue"),
        (file_of(feature(), feature()), "several features have the id p/a/2024-06-03/1"),
        (file_of(feature(state="maybe")), "2024-06-03/1 has the state 'maybe'; use one of PLUME"),
        (file_of(feature(kind="scene")), "is a whole scene and cannot be a PLUME; draw the plume"),
        (file_of(feature(observed=None)), "`observed` is None; copy it from the queue"),
        (file_of(feature(observed="yesterday")), "`observed` is 'yesterday'"),
        (file_of(feature(mapping(Point(1, 2)))), "is a Point; a label needs a polygon"),
        (file_of(feature(None)), "2024-06-03/1 has no readable outline; draw it again"),
        (
            file_of(
                feature(
                    {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
                )
            ),
            "not valid .*Self-intersection.*draw it again",
        ),
        (
            file_of(
                feature({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]})
            ),
            "does not end where it begins.*close it, or draw it again",
        ),
        (
            json.dumps(
                {
                    "type": "FeatureCollection",
                    "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32640"}},
                    "features": [feature()],
                }
            ).encode(),
            "the layer's `crs` is .*32640.*export it in EPSG:4326",
        ),
        (file_of(feature(mapping(box(4e5, 5e6, 4.1e5, 5.1e6)))), "not in degrees.*EPSG:4326"),
    ],
)
def test_a_wrong_file_is_refused_with_the_feature_and_the_remedy(content, told):
    with pytest.raises(ConfigurationError, match=told):
        read_review(content)


@pytest.mark.parametrize(
    "crs", ["urn:ogc:def:crs:OGC:1.3:CRS84", "urn:ogc:def:crs:EPSG::4326", "EPSG:4326"]
)
def test_degrees_may_be_said_as_older_editors_do(crs):
    document = json.loads(file_of(feature()))
    document["crs"] = {"type": "name", "properties": {"name": crs}}
    assert len(read_review(json.dumps(document).encode()).labels) == 1
