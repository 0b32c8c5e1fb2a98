"""Products appear Item last; the same content leaves the same bytes, a failure leaves no Item."""

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pystac
import pytest
import rasterio

from geostack_dagster.domain.hrefs import SIGNATURE
from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.publish.cog import multihash
from geostack_dagster.publish.map_page import Masks
from geostack_dagster.publish.product import ClassMap, Product, publish
from geostack_dagster.storage import exists, read_bytes

NOW = datetime(2024, 6, 5, 12, tzinfo=UTC)
LATER = datetime(2024, 6, 6, 12, tzinfo=UTC)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def changed(product: Product) -> Product:
    bands = {name: values + np.float32(0.01) for name, values in product.bands.items()}
    return dataclasses.replace(product, bands=bands)


def test_the_item_names_files_that_are_there_and_match(tmp_path: Path, product: Product) -> None:
    report = publish(product, str(tmp_path), now=NOW)
    item = pystac.Item.from_file(report.item_url)
    assert not report.unchanged
    assert len(contents(tmp_path)) == 3
    for asset in item.assets.values():
        content = Path(asset.get_absolute_href()).read_bytes()
        assert asset.extra_fields["file:size"] == len(content)
        assert asset.extra_fields["file:checksum"] == multihash(content)
    with rasterio.open(item.assets["data"].get_absolute_href()) as source:
        assert np.array_equal(source.read(1), product.bands["NDVI"], equal_nan=True)
        assert source.tags()["fingerprint"] == product.origin.fingerprint
    assert report.quicklook == Path(item.assets["quicklook"].get_absolute_href()).read_bytes()
    assert item.properties["created"] == item.properties["updated"] == "2024-06-05T12:00:00Z"


def test_nothing_that_is_written_holds_a_signature_or_a_local_path(
    tmp_path: Path, product: Product
) -> None:
    publish(product, str(tmp_path), now=NOW)
    for content in contents(tmp_path).values():
        assert not SIGNATURE.search(content.decode("latin-1"))
        assert str(tmp_path).encode() not in content


def test_publishing_again_leaves_the_same_bytes(tmp_path: Path, product: Product) -> None:
    publish(product, str(tmp_path), now=NOW)
    before = contents(tmp_path)
    again = publish(product, str(tmp_path), now=LATER)
    assert again.unchanged
    assert contents(tmp_path) == before
    assert again.item["properties"]["updated"] == "2024-06-05T12:00:00Z"


def test_the_same_product_elsewhere_has_the_same_bytes(tmp_path: Path, product: Product) -> None:
    for name in ("a", "b"):
        publish(product, f"{tmp_path}/{name}", now=NOW)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_new_content_replaces_the_old_one_without_leftovers(
    tmp_path: Path, product: Product
) -> None:
    publish(product, str(tmp_path), now=NOW)
    before = contents(tmp_path)
    report = publish(changed(product), str(tmp_path), now=LATER)
    after = contents(tmp_path)
    assert not report.unchanged
    assert len(after) == 3
    assert len(set(before) & set(after)) == 1  # the Item
    assert report.item["properties"]["created"] == "2024-06-05T12:00:00Z"
    assert report.item["properties"]["updated"] == "2024-06-06T12:00:00Z"


def test_other_provenance_of_the_same_maps_updates_the_item(
    tmp_path: Path, product: Product
) -> None:
    publish(product, str(tmp_path), now=NOW)
    origin = dataclasses.replace(product.origin, fingerprint="another")
    report = publish(dataclasses.replace(product, origin=origin), str(tmp_path), now=LATER)
    assert not report.unchanged
    assert report.item["properties"]["geostack:fingerprint"] == "another"


def failing(product: Product) -> Product:
    """Its COG can be written; its quicklook cannot."""
    return dataclasses.replace(product, masks=Masks(clear=np.ones((2, 2), bool)))


def test_a_failure_on_the_way_leaves_no_item(tmp_path: Path, product: Product) -> None:
    with pytest.raises(ConfigurationError, match="clear of the quicklook"):
        publish(failing(product), str(tmp_path), now=NOW)
    assert [path.suffix for path in tmp_path.iterdir()] == [".tif"]


def test_a_failure_later_keeps_what_was_published_before(tmp_path: Path, product: Product) -> None:
    publish(product, str(tmp_path), now=NOW)
    before = contents(tmp_path)
    with pytest.raises(ConfigurationError):
        publish(failing(changed(product)), str(tmp_path), now=LATER)
    assert {name: contents(tmp_path)[name] for name in before} == before


def test_a_signed_source_is_refused_before_anything_is_written(
    tmp_path: Path, product: Product
) -> None:
    href = "https://x/i?sv=1&sig=AbCdEfGh0123456789%2BxyzW"
    source = {
        "id": "signed",
        "properties": {"datetime": "2024-06-03T10:20:30Z"},
        "links": [{"rel": "self", "href": href}],
    }
    origin = dataclasses.replace(product.origin, sources=(source,))
    with pytest.raises(IntegrityError, match="holds a signature"):
        publish(dataclasses.replace(product, origin=origin), str(tmp_path), now=NOW)
    assert not list(tmp_path.iterdir())


def test_an_unreadable_item_is_replaced(tmp_path: Path, product: Product) -> None:
    path = tmp_path / f"{product.origin.item_id}.json"
    path.write_text('{"half": ')
    assert not publish(product, str(tmp_path), now=NOW).unchanged
    assert json.loads(path.read_text())["id"] == product.origin.item_id


def test_an_item_from_elsewhere_cannot_delete_outside_the_folder(
    tmp_path: Path, product: Product
) -> None:
    precious = tmp_path / "precious.tif"
    precious.write_bytes(b"1")
    folder = tmp_path / "published"
    folder.mkdir()
    foreign: dict[str, Any] = {
        "properties": {},
        "assets": {"a": {"href": "../precious.tif"}, "b": {"href": str(precious)}},
    }
    (folder / f"{product.origin.item_id}.json").write_text(json.dumps(foreign))
    publish(product, str(folder), now=NOW)
    assert precious.exists()


@pytest.mark.parametrize("place", ["memory", "s3"])
def test_a_product_is_published_into_a_store(
    place: str, product: Product, request: pytest.FixtureRequest
) -> None:
    bucket = request.getfixturevalue("bucket")
    fsspec.filesystem("memory").store.clear()
    folder = "memory://products/a" if place == "memory" else "s3://bucket/products/a"
    report = publish(product, folder, now=NOW)
    again = publish(product, folder, now=LATER)
    assert again.unchanged
    publish(changed(product), folder, now=LATER)
    assert not exists(report.cog.url)
    assert json.loads(read_bytes(report.item_url))["id"] == product.origin.item_id
    if place == "s3":
        assert len(bucket.objects) == 3


def test_a_product_needs_the_band_it_shows(product: Product) -> None:
    with pytest.raises(ConfigurationError, match="no band 'EVI' to show; it has NDVI, NDWI"):
        dataclasses.replace(product, shown="EVI")
    with pytest.raises(ConfigurationError, match="no band to publish"):
        dataclasses.replace(product, bands={})


def test_a_mask_is_a_cog_of_classes_whose_meanings_the_item_states(
    tmp_path: Path, product: Product
) -> None:
    values = np.isfinite(product.bands["NDVI"]).astype(np.uint8)
    mask = ClassMap(values=values, meanings={0: ("no_value", "nothing"), 1: ("usable", "all")})
    report = publish(dataclasses.replace(product, mask=mask), str(tmp_path), now=NOW)
    item = pystac.Item.from_file(report.item_url)
    asset = item.assets["mask"]
    assert asset.roles == ["data-mask"]
    stated = asset.extra_fields["classification:classes"]
    assert [(one["value"], one["name"]) for one in stated] == [(0, "no_value"), (1, "usable")]
    assert any("classification" in uri for uri in item.stac_extensions)
    content = Path(asset.get_absolute_href()).read_bytes()
    assert asset.extra_fields["file:checksum"] == multihash(content)
    with rasterio.open(asset.get_absolute_href()) as source:
        assert (source.dtypes, source.nodata) == (("uint8",), None)
        assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert np.array_equal(source.read(1), values)
    again = dataclasses.replace(product, mask=dataclasses.replace(mask, values=1 - values))
    publish(again, str(tmp_path), now=LATER)
    assert not Path(asset.get_absolute_href()).exists()  # replaced, and nothing left over


def test_what_is_neither_a_map_nor_classes_is_refused(tmp_path: Path, product: Product) -> None:
    maps = {name: values.astype(np.float64) for name, values in product.bands.items()}
    with pytest.raises(ConfigurationError, match=r"is float64 .* needs float32"):
        publish(dataclasses.replace(product, bands=maps), str(tmp_path), now=NOW)
