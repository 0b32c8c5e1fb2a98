"""Areas at the edges of the map, from search to cube: antimeridian, high north, two UTM zones."""

from datetime import date, timedelta

import numpy as np
import pytest

from geostack_dagster.cube.store import open_store
from geostack_dagster.domain.antimeridian import cut
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.partition import Partition
from geostack_dagster.pipeline import cube, snapshot, stack
from geostack_dagster.pipeline.stack import read_recipe
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.sandbox.acquisition import Acquisition, Processing, Tile
from geostack_dagster.sandbox.earth_search_items import earth_search_item
from geostack_dagster.sandbox.world import World
from tests.pipeline.conftest import spec_of

PROCESSING = Processing(baseline="05.10", delay=timedelta(hours=4))


def item_over(name: str, epsg: int, origin: tuple[float, float], at: tuple[date, float]) -> dict:
    """An Item of a tile that the sandbox does not have, cut at the antimeridian as archives do."""
    tile = Tile(
        name=name,
        epsg=epsg,
        origin=origin,
        relative_orbit=1,
        datatake=timedelta(hours=at[1]),
        datastrip_delay=timedelta(minutes=1),
        sensing_delay=timedelta(minutes=2),
    )
    acquisition = Acquisition(tile=tile, day=at[0], platform="S2A")
    item = earth_search_item(acquisition, PROCESSING, World())
    geometry = cut(name, item["geometry"])
    bbox = AOI(name.lower(), geometry).bbox
    return {**item, "geometry": geometry, "bbox": list(bbox)}


def made(in_sandbox, tmp_path, aoi: AOI, items: list[dict], day: str):
    """Recipe and cube of a partition over the AOI."""
    in_sandbox.control.publish("earth_search", items)
    workspace = Workspace(str(tmp_path / "storage"))
    workspace.pin(aoi)
    spec = spec_of("earth_search", resolution=20, start=date(2024, 1, 1))
    partition = Partition(spec.name, aoi.name, day)
    try:
        for stage in (snapshot, stack, cube):
            stage.run(spec, partition, workspace)
    finally:
        for item in items:
            in_sandbox.control.withdraw(item["id"])
    found = open_store(workspace.layout.cube(spec.name, aoi.name)).open("reflectance")
    return read_recipe(partition, workspace), found.sel(time=day).load()


def test_an_aoi_across_the_antimeridian_is_filled_from_both_sides(in_sandbox, tmp_path):
    # 22:30 UTC is the next morning there, on both sides of the date line.
    at = (date(2024, 7, 2), 22.5)
    items = [
        item_over("60KYG", 32760, (709_320, 8_170_000), at),
        item_over("01KAB", 32701, (179_940, 8_170_000), at),
    ]
    west, east = (AOI(one["id"], one["geometry"]).bbox for one in items)
    assert west[2] < -179.97  # each reaches a little across, and neither over the whole area
    assert east[0] > 179.97

    aoi = AOI.from_bbox("taveuni", (179.96, -17.02, -179.96, -17.0))
    recipe, found = made(in_sandbox, tmp_path, aoi, items, "2024-07-03")

    assert {source.projection.crs for one in recipe.items for source in one.sources.values()} == {
        "EPSG:32760",
        "EPSG:32701",
    }
    assert recipe.grid.crs == "EPSG:32760"
    assert recipe.grid.width < 500  # not the way around the world
    assert np.isfinite(found["B04"]).mean() == 1
    assert float(found["coverage"]) == 1


def test_the_high_north_in_its_own_zone_and_on_a_polar_grid(in_sandbox, tmp_path):
    item = item_over("33XWG", 32633, (499_980, 8_700_000), (date(2024, 7, 3), 11.0))
    box = (16.0, 77.8, 16.1, 77.82)

    recipe, found = made(
        in_sandbox, tmp_path / "utm", AOI.from_bbox("svalbard", box), [item], "2024-07-03"
    )
    assert recipe.grid.crs == "EPSG:32633"
    assert np.isfinite(found["B04"]).mean() == 1

    polar = AOI("svalbard", AOI.from_bbox("svalbard", box).geometry, "EPSG:3413")
    recipe, turned = made(in_sandbox, tmp_path / "polar", polar, [item], "2024-07-03")
    assert recipe.grid.crs == "EPSG:3413"
    assert np.isfinite(turned["B04"]).mean() == 1
    assert float(turned["B04"].mean()) == pytest.approx(float(found["B04"].mean()), abs=0.05)


def test_an_equal_area_grid_over_two_zones(in_sandbox, tmp_path):
    at = (date(2024, 7, 3), 10.6)
    items = [
        item_over("31TGM", 32631, (699_960, 5_200_020), at),
        item_over("32TKS", 32632, (199_980, 5_200_020), at),
    ]
    box = AOI.from_bbox("jura", (5.98, 46.4, 6.3, 46.41))
    aoi = AOI(box.name, box.geometry, "EPSG:3035")

    recipe, found = made(in_sandbox, tmp_path, aoi, items, "2024-07-03")

    assert recipe.grid.crs == "EPSG:3035"
    assert len(recipe.items) == 2
    rows = np.isfinite(found["B04"]).mean("x")
    assert float(rows.max()) == 1
