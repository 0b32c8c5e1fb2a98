"""Items are valid STAC 1.1, state grid, bands, origin and software, and hold no signature."""

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.days import Cadence
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.item import pixel_format, projection
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import IntegrityError
from geostack_dagster.publish.cog import BandText, CogReport, write_cog
from geostack_dagster.publish.stac_item import (
    Origin,
    data_asset,
    encoded,
    product_item,
    same_content,
    self_href,
    stamped,
)

TEXTS = {"NDVI": BandText(long_name="greenness")}


@pytest.fixture
def report(tmp_path: Path, grid: Grid, maps: dict[str, np.ndarray]) -> CogReport:
    return write_cog(f"{tmp_path}/a.tif", maps, grid)


@pytest.fixture
def item_of(report: CogReport, grid: Grid) -> Callable[[Origin], dict[str, Any]]:
    def made(origin: Origin) -> dict[str, Any]:
        asset = data_asset(report, grid, href="./a.tif", texts=TEXTS, title="NDVI, NDWI")
        return product_item(origin, grid, {"data": asset})

    return made


def test_pystac_reads_grid_bands_and_checksum(
    item_of: Any, origin: Origin, grid: Grid, report: CogReport, maps: dict[str, np.ndarray]
) -> None:
    item = pystac.Item.from_dict(item_of(origin))
    assert item.id == "es_indices-indices-po-valley-2024-06-03"
    assert item.to_dict()["stac_version"] == "1.1.0"
    asset = item.assets["data"]
    place = ProjectionExtension.ext(asset)
    assert (place.code, place.shape, place.transform, place.bbox) == (
        grid.crs, list(grid.shape), list(grid.transform), list(grid.bounds),
    )  # fmt: skip
    stored = FileExtension.ext(asset)
    assert (stored.size, stored.checksum) == (report.size, report.checksum)
    bands = asset.to_dict()["bands"]
    assert [band["name"] for band in bands] == ["NDVI", "NDWI"]
    assert bands[0]["description"] == "greenness"
    assert bands[0]["statistics"]["maximum"] == pytest.approx(np.nanmax(maps["NDVI"]))
    assert item.properties["processing:software"]["geostack-dagster"]
    assert item.properties["processing:lineage"] == "Spectral indices of clear pixels."
    assert item.properties["geostack:window"] == ["2024-06-03", "2024-06-04"]


def test_our_own_reader_places_and_decodes_it(item_of: Any, origin: Origin, grid: Grid) -> None:
    item = item_of(origin)
    asset = item["assets"]["data"]
    assert projection(item, asset).is_complete
    assert projection(item, asset).transform == grid.transform
    assert pixel_format(asset).dtype == "float32"
    assert np.isnan(pixel_format(asset).nodata)


def test_times_are_those_of_the_acquisitions(item_of: Any, origin: Origin) -> None:
    stated = item_of(origin)["properties"]
    assert stated["datetime"] == stated["start_datetime"] == "2024-06-03T10:20:30Z"
    assert stated["end_datetime"].startswith("2024-06-03T10:20:55.5")


def test_a_composite_of_a_month_has_a_range_and_no_instant(item_of: Any, origin: Origin) -> None:
    late = {"id": "late", "properties": {"datetime": "2024-06-28T10:20:30Z"}}
    monthly = dataclasses.replace(
        origin,
        partition=Partition("p", "po-valley", "2024-06-01", Cadence.MONTHLY),
        sources=(*origin.sources, late),
    )
    stated = item_of(monthly)["properties"]
    assert stated["datetime"] is None
    assert stated["end_datetime"] == "2024-06-28T10:20:30Z"
    unknown = item_of(dataclasses.replace(monthly, sources=()))["properties"]
    assert (unknown["start_datetime"], unknown["end_datetime"]) == (
        "2024-06-01T00:00:00Z", "2024-07-01T00:00:00Z",
    )  # fmt: skip


def test_sources_are_linked_by_self_href_and_all_are_named(item_of: Any, origin: Origin) -> None:
    item = item_of(origin)
    derived = [link["href"] for link in item["links"] if link["rel"] == "derived_from"]
    assert derived == ["https://stac.example/a", "https://stac.example/b"]
    assert item["properties"]["geostack:sources"] == [
        "S2B_32TNR_0", "S2B_32TNR_1", "S2B_without_link",
    ]  # fmt: skip


def test_recorded_items_of_real_archives_can_be_sources(
    item_of: Any, origin: Origin, shared_fixtures: Path
) -> None:
    paths = sorted((shared_fixtures / "items").glob("*/sentinel-2-l2a/*.json"))
    found = [json.loads(path.read_text()) for path in paths]
    sources = tuple(item for item in found if self_href(item))
    assert sources
    item = item_of(dataclasses.replace(origin, sources=sources))
    derived = {link["href"] for link in item["links"]}
    assert derived == {self_href(source) for source in sources}


def test_equal_products_give_equal_items_and_stamps_do_not_count(
    item_of: Any, origin: Origin
) -> None:
    first, second = item_of(origin), item_of(origin)
    assert encoded(first) == encoded(second)
    morning = stamped(first, datetime(2024, 6, 5, 8, tzinfo=UTC), None)
    evening = stamped(first, datetime(2024, 6, 5, 20, tzinfo=UTC), morning)
    assert morning["properties"]["created"] == morning["properties"]["updated"]
    assert evening["properties"]["created"] == "2024-06-05T08:00:00Z"
    assert evening["properties"]["updated"] == "2024-06-05T20:00:00Z"
    assert same_content(morning, evening)
    assert not same_content(morning, item_of(dataclasses.replace(origin, fingerprint="other")))


@pytest.mark.parametrize(
    "changes",
    [
        {"lineage": "read from https://x/a.tif?se=2024&sig=AbCdEfGh0123456789%2BxyzW"},
        {"fingerprint": "X-Amz-Signature=0123456789abcdef"},
        {"software": {"client": "Authorization: Bearer abcdefghijklmnopqrstuvwxyz"}},
    ],
)
def test_a_signature_in_any_member_is_refused(
    item_of: Any, origin: Origin, changes: dict[str, Any]
) -> None:
    leaking = dataclasses.replace(origin, **changes)
    with pytest.raises(IntegrityError, match="holds a signature") as caught:
        item_of(leaking)
    for secret in ("AbCdEfGh", "0123456789abcdef", "abcdefghij"):
        assert secret not in str(caught.value)
    with pytest.raises(IntegrityError, match=f"{next(iter(changes))}.* of Item es_indices"):
        leaking.check_unsigned()


def test_a_source_without_a_place_of_its_own_is_linked_by_what_it_was_made_from() -> None:
    """Items made of CMR's granules: no STAC catalogue holds them."""
    via = {"rel": "via", "href": "https://cmr.earthdata.nasa.gov/search/concepts/G1.umm_json"}
    own = {"rel": "self", "href": "https://stac.example/a"}
    assert self_href({"links": [via]}) == via["href"]
    assert self_href({"links": [via, own]}) == self_href({"links": [own, via]}) == own["href"]
    assert self_href({"links": [{"rel": "parent", "href": "https://stac.example"}]}) is None


def test_a_signed_self_href_is_refused(item_of: Any, origin: Origin) -> None:
    signed = {
        "id": "signed",
        "properties": {"datetime": "2024-06-03T10:20:30Z"},
        "links": [{"rel": "self", "href": "https://x/i?sv=1&sig=AbCdEfGh0123456789%2BxyzW"}],
    }
    leaking = dataclasses.replace(origin, sources=(signed,))
    with pytest.raises(IntegrityError, match=r"links\[0\].href of Item es_indices"):
        item_of(leaking)


def test_an_item_that_is_not_valid_stac_is_refused(origin: Origin, grid: Grid) -> None:
    broken = pystac.Asset("./a.tif", extra_fields={"bands": "NDVI"})
    with pytest.raises(IntegrityError, match="is not valid STAC"):
        product_item(origin, grid, {"data": broken})


def test_an_aoi_across_the_antimeridian_is_valid(origin: Origin, report: CogReport) -> None:
    aoi = AOI.from_bbox("fiji", (179.5, -17.5, -179.4, -16.5))
    grid = Grid.covering(aoi, crs="EPSG:32701", resolution=500)
    item = product_item(dataclasses.replace(origin, aoi=aoi), grid, {})
    assert item["geometry"]["type"] == "MultiPolygon"
    assert item["bbox"][0] > item["bbox"][2]
