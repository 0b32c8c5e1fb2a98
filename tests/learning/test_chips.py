"""The index of chips: what it says, how it is stored, and the arrays it stands for."""

import dataclasses
import json
from datetime import UTC, datetime

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from shapely.geometry import box

from geostack_dagster import storage
from geostack_dagster.errors import ConfigurationError, IntegrityError, NoDataError
from geostack_dagster.inference.plumes import State
from geostack_dagster.learning.chip_index import read_index, write_index
from geostack_dagster.learning.chips import (
    Cutting,
    InjectionShares,
    index_digest,
    index_scene,
    with_injections,
)
from geostack_dagster.learning.injection import RandomPlume
from geostack_dagster.learning.labels import Label
from geostack_dagster.learning.samples import assemble
from geostack_dagster.learning.scenes import Maps, PixelState, Scene
from tests.learning.world import CUTTING, SHAPE, World, maps, scene


@pytest.fixture(scope="module")
def world():
    return World(9)


@pytest.fixture(scope="module")
def chips(world):
    return world.chips(world.scenes)


def test_windows_cover_the_scene_and_lie_where_it_says(world):
    one = world.scenes[0]
    found = index_scene(one, world.maps[one.id], cutting=Cutting(size=40, stride=40))
    covered = np.zeros(SHAPE, bool)
    for chip in found:
        covered[chip.window] = True
        assert shapely.Polygon(chip.corners).centroid.coords[0] == pytest.approx(
            (chip.longitude, chip.latitude), abs=1e-9
        )
    assert covered.all()
    assert len({chip.id for chip in found}) == len(found) == 9


def test_four_states():
    states = np.full(SHAPE, PixelState.UNCERTAIN.value, np.uint8)
    states[:32, :32] = PixelState.UNOBSERVABLE
    states[:32, 32:64] = PixelState.NO_PLUME
    states[40, 40] = PixelState.PLUME
    drawn = dataclasses.replace(maps(0, plumes=0), states=states)
    found = {(chip.row, chip.column): chip for chip in index_scene(scene(0), drawn, (), CUTTING)}
    assert found[0, 0].state is State.UNOBSERVABLE
    assert found[0, 32].state is State.NO_PLUME
    assert found[32, 32].state is State.PLUME
    assert found[64, 64].state is State.UNCERTAIN
    assert [chip.teaches for chip in found.values()].count(True) == 2
    assert not dataclasses.replace(found[32, 32], weight=0.0).teaches


def test_chips_carry_the_plumes_that_reach_into_them():
    one = scene(0)
    (west, north), (east, south) = one.position(10, 20), one.position(40, 30)
    label = Label(id="plume-7", geometry=box(west, south, east, north), state=State.PLUME)
    seen = dataclasses.replace(label, id="seen", state=State.NO_PLUME)
    found = index_scene(one, maps(0), [label, seen], CUTTING)
    touched = {(chip.row, chip.column) for chip in found if chip.plumes == ("plume-7",)}
    assert touched == {(0, 0), (32, 0)}


def test_another_pixel_or_label_is_another_content():
    drawn = maps(0)
    (first, *_) = index_scene(scene(0), drawn, (), CUTTING)
    louder, relabelled = drawn.enhancement.copy(), drawn.states.copy()
    louder[20, 20] = np.nextafter(louder[20, 20], np.float32(1e9))
    relabelled[20, 20] = PixelState.UNCERTAIN
    for change in ({"enhancement": louder}, {"states": relabelled}):
        changed = index_scene(scene(0), dataclasses.replace(drawn, **change), (), CUTTING)
        assert changed[0].content != first.content
        assert changed[0].id == first.id
        assert index_digest(changed[:1]) != index_digest([first])
    assert index_scene(scene(0), maps(0), (), CUTTING)[0] == first


def test_a_scene_across_the_antimeridian_keeps_its_chips_small():
    there = Scene(
        id="s",
        acquired=datetime(2024, 6, 1, tzinfo=UTC),
        orbit="o",
        crs="EPSG:4326",
        transform=(0.001, 0.0, 179.95, 0.0, -0.001, 52.0),
        shape=SHAPE,
    )
    for chip in index_scene(there, maps(0), (), CUTTING):
        west, _, east, _ = shapely.Polygon(chip.corners).bounds
        assert east - west == pytest.approx(0.032)
        assert -180 <= chip.longitude < 180


def test_the_index_reads_back_equal(chips, tmp_path):
    marked = [dataclasses.replace(chips[0], plumes=("a", "b"), weight=0.3), *chips[1:]]
    url = f"{tmp_path}/chips.parquet"
    write_index(url, reversed(marked))
    assert read_index(url) == sorted(marked, key=lambda chip: chip.id)
    once = storage.read_bytes(url)
    write_index(url, marked)
    assert storage.read_bytes(url) == once


def test_the_index_is_geoparquet_without_pixels(chips, world, tmp_path):
    url = f"{tmp_path}/chips.parquet"
    write_index(url, chips)
    geo = json.loads(pq.read_schema(url).metadata[b"geo"])
    assert geo["columns"][geo["primary_column"]]["encoding"] == "WKB"
    (states,) = duckdb.sql(
        f"select count(distinct state) from '{url}' where bbox.xmin < 0 and weight = 1"
    ).fetchall()[0]
    assert states >= 2
    pixels = sum(drawn.channels.nbytes for drawn in world.maps.values())
    assert (tmp_path / "chips.parquet").stat().st_size < pixels / 20


def test_what_is_no_index_is_said(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no")
    duckdb.sql("select 1 as id").write_parquet(str(tmp_path / "b.parquet"))
    for name in ("a", "b"):
        with pytest.raises(IntegrityError, match="is no index of chips"):
            read_index(f"{tmp_path}/{name}.parquet")


def test_samples_are_the_pixels_of_the_source(chips, world):
    samples = assemble(chips, world)
    assert list(samples.ids) == sorted(chip.id for chip in chips if chip.teaches)
    by_id = {chip.id: chip for chip in chips}
    for number in (0, len(samples.ids) // 2):
        chip = by_id[samples.ids[number]]
        part = world.read(chip.scene, *chip.window)
        np.testing.assert_array_equal(samples.maps[number], part.channels)
        np.testing.assert_array_equal(samples.plume[number], part.states == PixelState.PLUME)
        assert not samples.known[number][part.states == PixelState.UNCERTAIN].any()
    assert samples.positive.any()
    assert not samples.positive.all()


def test_order_does_not_matter(chips, world):
    one, other = assemble(chips, world), assemble(chips[::-1], world)
    assert one.digest == other.digest
    assert one.maps.tobytes() == other.maps.tobytes()


def test_pixels_that_changed_since_they_were_indexed_are_refused(chips, world):
    class Reprocessed:
        def read(self, scene_id: str, rows: slice, columns: slice) -> Maps:
            found = world.read(scene_id, rows, columns)
            return dataclasses.replace(found, enhancement=found.enhancement * np.float32(1.01))

    with pytest.raises(IntegrityError, match="index its scene again"):
        assemble(chips, Reprocessed())


def test_nothing_to_learn_is_said(chips, world):
    with pytest.raises(NoDataError, match="nothing to learn"):
        assemble([dataclasses.replace(chips[0], weight=0.0)], world)


class TestInjections:
    def sites(self, chips):
        found = {}
        for chip in chips:
            found.setdefault(chip.site, []).append(chip)
        return found

    def test_sites_get_what_they_are_short_of(self, chips):
        shares = InjectionShares(many=0.1, few=0.5, enough=3, at_empty_sites=2)
        for members in self.sites(with_injections(chips, shares)).values():
            real = sum(chip.state is State.PLUME and not chip.injected for chip in members)
            made = sum(chip.injected > 0 for chip in members)
            if not any(chip.state is State.NO_PLUME for chip in members):
                assert made == 0
            elif real == 0:
                assert made == 2
            else:
                assert made == round(real / 9 if real > 3 else real)

    def test_they_fall_on_ground_known_to_be_free(self, chips):
        free = {(c.scene, c.row, c.column) for c in chips if c.state is State.NO_PLUME}
        made = [chip for chip in with_injections(chips) if chip.injected]
        assert made
        assert {(chip.scene, chip.row, chip.column) for chip in made} <= free
        assert len({chip.id for chip in made}) == len(made)

    def test_the_same_chips_give_the_same_injections_in_any_order(self, chips):
        assert with_injections(chips) == with_injections(chips[::-1])

    def test_a_synthetic_plume_depends_on_its_chip_alone(self, chips, world):
        every = with_injections(chips)
        made = [chip for chip in every if chip.injected]
        many = assemble(every, world, inject=RandomPlume())
        one = assemble(made[:1], world, inject=RandomPlume())
        number = many.ids.index(one.ids[0])
        assert many.maps[number].tobytes() == one.maps[0].tobytes()
        plain = world.read(made[0].scene, *made[0].window)
        added = one.maps[0, 0] - plain.enhancement
        assert np.nanmax(added) > 100
        assert (np.nan_to_num(added) >= 0).all()

    def test_without_a_way_to_make_them_they_are_refused(self, chips, world):
        with pytest.raises(ConfigurationError, match="synthetic plume"):
            assemble(with_injections(chips), world)
