"""Labels as EMIT and people write them, and what they say of pixels."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from rasterio.io import MemoryFile
from rasterio.transform import from_origin
from shapely.geometry import box, mapping

from geostack_dagster.errors import IntegrityError
from geostack_dagster.inference.plumes import State
from geostack_dagster.learning.labels import (
    Label,
    outlined_by_raster,
    pixel_states,
    rasterize,
    read_labels,
)
from geostack_dagster.learning.scenes import PixelState, Scene
from tests.learning.world import maps, scene


def test_version_1_of_the_plume_complexes(shared_fixtures):
    path = "plume/EMIT_L2B_CH4PLMMETA_001_20220815T042826_000492.json"
    (label,) = read_labels(json.loads((shared_fixtures / path).read_text()))
    assert label.id == "CH4_PlumeComplex-492"
    assert label.state is State.PLUME
    assert label.scenes == (
        "EMIT_L2B_CH4ENH_V001_20220815T042826_2222703_002",
        "EMIT_L2B_CH4ENH_V001_20220815T042838_2222703_003",
    )
    assert label.orbit == "2222703"  # the one that is in both names
    assert label.observed == datetime(2022, 8, 15, 4, 28, 26, tzinfo=UTC)
    assert label.peak_ppm_m == 4626.0
    assert label.rate_kg_h is None
    assert label.geometry.bounds == pytest.approx((53.2865, 39.4400, 53.8282, 39.5604), abs=1e-4)


def test_version_2_says_na_where_nobody_estimated(shared_fixtures):
    path = "plume/EMIT_L2B_CH4PLMMETA_002_3374.geojson"
    (label,) = read_labels(json.loads((shared_fixtures / path).read_text()))
    assert label.scenes == ("EMIT_L2B_CH4ENH_V002_20250922T204933_2526514_006",)
    assert label.peak_ppm_m == 4699.0
    assert label.rate_kg_h is None
    # About 1 km across: its pixels on EMIT's own grid are those that the outline follows.
    left, _, _, top = label.geometry.bounds
    grid = Scene(
        id="s",
        acquired=label.observed,
        orbit="o",
        crs="EPSG:4326",
        transform=(0.000542232520256367, 0, left, 0, -0.000542232520256367, top),
        shape=(24, 24),
    )
    burned = rasterize([label], grid)
    area = burned.sum() * 0.000542232520256367**2
    assert area == pytest.approx(label.geometry.area, rel=0.03)


def review(**properties):
    outline = mapping(box(10.0, 45.0, 10.01, 45.01))
    return {"type": "Feature", "geometry": outline, "properties": {"id": "r1", **properties}}


def test_a_review_reads_back_as_it_was_written():
    label = Label(
        id="r1",
        geometry=box(10.0, 45.0, 10.01, 45.01),
        state=State.NO_PLUME,
        scenes=("a", "b"),
        orbit="7",
        observed=datetime(2024, 6, 1, 10, tzinfo=UTC),
        peak_ppm_m=900.0,
        source="Ada",
    )
    document = {"type": "FeatureCollection", "features": [label.to_feature()]}
    assert read_labels(json.loads(json.dumps(document))) == (label,)


@pytest.mark.parametrize("state", list(State))
def test_people_may_write_states_in_small_letters(state):
    (label,) = read_labels(review(state=state.value.lower()))
    assert label.state is state


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (review(state="maybe"), "r1 has state 'maybe'; use one of PLUME"),
        (review(state="PLUME") | {"geometry": None}, "r1 has no readable geometry"),
        (review(state="PLUME") | {"geometry": {"type": "Polygon"}}, "r1 has no readable geometry"),
        (review(state="PLUME", id=""), "neither `Plume ID` nor `id`"),
        ({"type": "FeatureCollection"}, "FeatureCollection or Feature"),
        ({"type": "FeatureCollection", "features": ["x"]}, "no GeoJSON feature"),
    ],
)
def test_what_is_wrong_with_a_label_is_said(document, said):
    with pytest.raises(IntegrityError, match=said):
        read_labels(document)


def test_points_at_the_peak_are_no_labels():
    point = review(state="PLUME") | {"geometry": {"type": "Point", "coordinates": [10, 45]}}
    assert read_labels({"type": "FeatureCollection", "features": [point]}) == ()


def test_outlines_fall_on_the_pixels_of_any_grid():
    utm = Scene(
        id="s",
        acquired=datetime(2024, 6, 1, tzinfo=UTC),
        orbit="o",
        crs="EPSG:32632",
        transform=(60.0, 0.0, 500_000.0, 0.0, -60.0, 5_000_000.0),
        shape=(50, 50),
    )
    west, north = utm.position(10, 20)
    east, south = utm.position(18, 30)
    inside = Label(id="a", geometry=box(west, south, east, north), state=State.PLUME)
    expected = np.zeros((50, 50), bool)
    expected[10:18, 20:30] = True
    assert (rasterize([inside], utm) == expected).mean() > 0.99  # a grid bends against degrees
    assert not rasterize([inside], utm, State.NO_PLUME).any()


class TestPixelStates:
    """One scene: a marked plume, a suspicious blob that nobody marked, a gap."""

    marked = np.zeros((96, 96), bool)
    marked[40:50, 40:60] = True

    def states(self, *, reviewed, **marks):
        drawn = maps(3, plumes=0)
        enhancement = drawn.enhancement.copy()
        enhancement[75:85, 20:30] += 2500.0
        marks = {State.PLUME: self.marked} | {State[name]: mask for name, mask in marks.items()}
        return pixel_states(marks, enhancement, drawn.uncertainty, reviewed=reviewed)

    def test_an_unreviewed_scene_has_no_negatives(self):
        states = self.states(reviewed=False)
        assert set(np.unique(states)) == {
            PixelState.UNOBSERVABLE,
            PixelState.PLUME,
            PixelState.UNCERTAIN,
        }

    def test_a_reviewed_scene_is_free_except_where_it_is_suspicious(self):
        states = self.states(reviewed=True)
        assert (states[40:50, 40:60] == PixelState.PLUME).all()
        assert (states[77:83, 22:28] == PixelState.UNCERTAIN).all()
        assert (states[:6, :10] == PixelState.UNOBSERVABLE).all()
        assert (states == PixelState.NO_PLUME).mean() > 0.85

    def test_a_ring_around_plumes_counts_for_nothing(self):
        states = self.states(reviewed=True)
        assert (states[36:40, 36:64] == PixelState.UNCERTAIN).all()
        assert (states[30:35, 36:64] == PixelState.NO_PLUME).mean() > 0.9

    def test_a_person_overrules_suspicion_and_doubt(self):
        place = np.zeros((96, 96), bool)
        place[70:90, 15:35] = True
        assert (self.states(reviewed=True, NO_PLUME=place)[place] == PixelState.NO_PLUME).all()
        assert (self.states(reviewed=True, UNCERTAIN=place)[place] == PixelState.UNCERTAIN).all()
        hidden = self.states(reviewed=True, UNOBSERVABLE=place)[place]
        assert (hidden == PixelState.UNOBSERVABLE).all()


def test_the_scene_knows_its_place_and_the_size_of_its_pixels():
    one = scene(0)
    longitude, latitude = one.position(48, 48)
    assert longitude == pytest.approx(-120 + 48 * 0.000542232520256367)
    assert latitude == pytest.approx(40 - 48 * 0.000542232520256367)
    # 60 m at the equator; a degree of longitude shrinks with the latitude
    assert one.pixel_km2 == pytest.approx(0.0603**2 * np.cos(np.radians(latitude)), rel=2e-3)


def _raster(values, crs="EPSG:4326", nodata=-9999.0):
    place = from_origin(-102.06, 32.26, 0.000542, 0.000542)
    profile = {"driver": "GTiff", "height": 8, "width": 10, "count": 1, "dtype": "float32"}
    with MemoryFile() as file:
        with file.open(**profile, crs=crs, transform=place, nodata=nodata) as raster:
            raster.write(values.astype("float32"), 1)
        return bytes(file.getbuffer())


class TestOutlinedByRaster:
    """CH4PLM entries whose metadata file is missing."""

    name = "EMIT_L2B_CH4PLM_002_20250922T204933_003374"
    seen = datetime(2025, 9, 22, 20, 49, 33, tzinfo=UTC)

    @pytest.mark.parametrize("nodata", [-9999.0, None])
    def test_the_outline_is_that_of_the_values(self, nodata):
        values = np.full((8, 10), -9999.0)
        values[2:5, 3:7] = 500.0
        values[3, 4] = 4699.0
        values[5, 7] = 300.0  # meets the rest at a corner
        label = outlined_by_raster(_raster(values, nodata=nodata), self.name, observed=self.seen)
        assert label.id == "CH4_PlumeComplex-3374"  # as its metadata would say
        assert (label.state, label.peak_ppm_m) == (State.PLUME, 4699.0)
        assert (label.source, label.observed) == (self.name, self.seen)
        step = 0.000542
        assert label.geometry.is_valid
        assert label.geometry.area == pytest.approx(13 * step**2)
        west, north = -102.06 + 3 * step, 32.26 - 2 * step
        assert label.geometry.bounds == pytest.approx(
            (west, north - 4 * step, west + 5 * step, north)
        )

    def test_what_outlines_nothing_is_refused(self):
        empty = np.full((8, 10), -9999.0)
        with pytest.raises(IntegrityError, match="no numbered plume"):
            outlined_by_raster(_raster(empty), self.name, observed=None)
        with pytest.raises(IntegrityError, match="no numbered plume"):
            outlined_by_raster(_raster(empty + 1e5), "EMIT_L2B_CH4PLM", observed=None)
        with pytest.raises(IntegrityError, match="cannot be read"):
            outlined_by_raster(b"<html>log in</html>", self.name, observed=None)
