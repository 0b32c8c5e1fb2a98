"""What a published Item says under a prefix is what the named version of the extension defines."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geostack_dagster.publish.product import Attachment, ClassMap, Product, publish
from tests.stac_extensions import faults


@pytest.fixture
def item(product: Product, tmp_path: Path) -> dict[str, Any]:
    classes = np.ones(product.grid.shape, np.uint8)
    whole = replace(
        product,
        mask=ClassMap(values=classes, meanings={0: ("none", "no value"), 1: ("usable", "good")}),
        attachments={"outlines": Attachment(".geojson", b"{}", "application/geo+json", "Outlines")},
    )
    publish(whole, str(tmp_path))
    (path,) = tmp_path.glob("*.json")
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def test_every_field_is_of_its_extension(item: dict[str, Any]) -> None:
    assert set(item["assets"]) == {"data", "mask", "quicklook", "outlines"}
    assert faults(item) == []


def test_without_a_mask_no_classes_are_named(product: Product, tmp_path: Path) -> None:
    publish(product, str(tmp_path))
    (path,) = tmp_path.glob("*.json")
    assert faults(json.loads(path.read_text())) == []


WRONG = {
    "proj:epsg": ("data", 32632),  # removed by 2.0
    "raster:bands": ("data", [{}]),  # moved to `bands` by 2.0
    "proj:transform": ("data", [20.0, 0.0]),
    "proj:shape": ("data", [20.5, 3]),
    "raster:spatial_resolution": ("data", "20 m"),
    "raster:sampling": ("data", "centre"),
    "file:checksum": ("quicklook", "0" * 64),  # a bare digest is no multihash
    "classification:classes": ("mask", [{"value": "0"}]),
    "eo:bands": ("data", []),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_rules_see_a_wrong_field(item: dict[str, Any], name: str) -> None:
    key, value = WRONG[name]
    changed = copy.deepcopy(item)
    changed["assets"][key][name] = value
    assert any(name in fault for fault in faults(changed))


def test_the_rules_see_an_extension_that_is_not_named(item: dict[str, Any]) -> None:
    for uri in item["stac_extensions"]:
        others = [one for one in item["stac_extensions"] if one != uri]
        assert faults({**item, "stac_extensions": others}) == [f"named or used, not both: {uri}"]
