import copy
import json
import math
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geostack_dagster.catalog.explain import Explanation, explain
from geostack_dagster.providers import PROVIDERS

B04 = {
    "href": "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/32/T/MT/B04.tif",
    "type": "image/tiff; application=geotiff; profile=cloud-optimized",
    "proj:shape": [10980, 10980],
    "proj:bbox": [399960.0, 5190240.0, 509760.0, 5300040.0],
    "proj:transform": [10.0, 0.0, 399960.0, 0.0, -10.0, 5300040.0],
}


def item(**members) -> dict:
    """A well-behaved Planetary Computer Sentinel-2 Item, with some members replaced."""
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "S2B_MSIL2A_20240705T101559_R065_T32TMT_20240705T125222",
        "collection": "sentinel-2-l2a",
        "bbox": [7.7, 46.85, 9.13, 47.85],
        "geometry": {
            "type": "Polygon",
            "coordinates": [
                [[7.7, 46.85], [9.13, 46.85], [9.13, 47.85], [7.7, 47.85], [7.7, 46.85]]
            ],
        },
        "properties": {
            "datetime": "2024-07-05T10:15:59.024Z",
            "proj:epsg": 32632,
            "s2:processing_baseline": "05.10",
        },
        "links": [],
        "assets": {"B04": copy.deepcopy(B04)},
    } | members


def asset(**members) -> dict:
    return item(assets={"B04": copy.deepcopy(B04) | members})


def said(explanation: Explanation) -> str:
    return "\n".join(explanation.warnings)


def band(explanation: Explanation, name: str = "B04"):
    return next(band for band in explanation.bands if band.name == name)


def test_a_well_behaved_item_is_fully_explained():
    explanation = explain(item())
    assert explanation.provider == "planetary_computer"
    assert explanation.recognised_by == "1 of 1 assets lie in its storage"
    assert explanation.known_collection
    assert explanation.identity[:4] == ("S2B", "L2A", "32TMT", "20240705T101559")
    assert explanation.solar_day == "2024-07-05"
    assert explanation.geometry == "Polygon"
    found = band(explanation)
    assert (found.href, found.auth) == (B04["href"], "sas")
    assert (found.dtype, found.nodata, found.assumed) == ("uint16", 0.0, ("dtype", "nodata"))
    assert (found.scale, found.offset) == (1e-4, -0.1)
    assert (found.crs, found.shape) == ("EPSG:32632", (10980, 10980))
    decision = explanation.radiometry[0]
    assert "05.10" in decision.reason
    assert decision.evidence == {"processing_baseline": "05.10"}
    others = [w for w in explanation.warnings if "no asset holds this band" not in w]
    assert others == []


def test_bands_without_an_asset_are_named():
    warnings = [w for w in explain(item()).warnings if "no asset holds this band" in w]
    assert any("B02" in warning for warning in warnings)
    assert not any(warning.startswith("B04") for warning in warnings)


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("https://earth-search.aws.element84.com/v1/collections/x/items/y", "earth_search"),
        ("https://planetarycomputer.microsoft.com/api/stac/v1/collections/x", "planetary_computer"),
    ],
)
def test_the_links_of_an_item_tell_its_provider(href, expected):
    explanation = explain(item(assets={}, links=[{"rel": "collection", "href": href}]))
    assert explanation.provider == expected
    assert "collection link" in explanation.recognised_by


def test_a_named_provider_counts_more_than_what_the_item_says():
    explanation = explain(item(), PROVIDERS["earth_search"])
    assert explanation.provider == "earth_search"
    assert "earth_search keeps no assets at https://sentinel2l2a01" in said(explanation)
    assert band(explanation).auth is None


def test_an_unknown_provider_and_collection_fall_back_to_the_assets():
    explanation = explain(
        item(
            collection="mine",
            assets={
                "stack": {
                    "href": "https://example.org/stack.tif",
                    "type": "image/tiff",
                    "eo:bands": [
                        {"name": "a", "common_name": "red", "center_wavelength": 0.66},
                        {"name": "b", "common_name": "nir", "center_wavelength": 0.84},
                    ],
                    "raster:bands": [{"data_type": "int16", "nodata": -9999, "scale": 0.1}] * 2,
                },
                "thumbnail": {"href": "https://example.org/t.jpg", "roles": ["thumbnail"]},
            },
        )
    )
    assert explanation.provider is None
    assert "no known provider" in said(explanation)
    red, nir = explanation.bands
    assert (red.name, red.index, red.common_name, red.wavelength_nm) == ("stack:a", 1, "red", 660)
    assert (nir.name, nir.index, nir.dtype, nir.nodata) == ("stack:b", 2, "int16", -9999)
    assert (nir.scale, nir.offset) == (0.1, 0.0)
    assert [file.asset for file in explanation.files] == ["thumbnail"]


def test_a_signature_is_stripped_and_said():
    signed = asset(href=f"{B04['href']}?se=2024&sp=rl&sig=c2lnbmF0dXJlIHJlbW92ZWQ%3D")
    explanation = explain(signed)
    assert band(explanation).href == B04["href"]
    assert "B04: a signature was stripped" in said(explanation)
    assert "c2lnbmF0" not in json.dumps(explanation.to_json())


ODD = {
    "null datetime": (
        item(properties={"datetime": None, "start_datetime": "2024-01-01T00:00:00Z"}),
        "datetime is null: start_datetime is used",
    ),
    "no datetime at all": (item(properties={}), "has no datetime: it cannot be dated"),
    "unreadable datetime": (item(properties={"datetime": "last week"}), "'last week' is not"),
    "zoneless datetime": (
        item(properties={"datetime": "2024-01-01T00:00:00"}),
        "states no time zone",
    ),
    "numeric datetime": (item(properties={"datetime": 20240101}), "20240101 is not a readable"),
    "reversed interval": (
        item(
            properties={
                "datetime": "2024-01-01T00:00:00Z",
                "start_datetime": "2024-01-03T00:00:00Z",
                "end_datetime": "2024-01-02T00:00:00Z",
            }
        ),
        "is after its end_datetime",
    ),
    "half an interval": (
        item(
            properties={
                "datetime": "2024-01-01T00:00:00Z",
                "start_datetime": "2024-01-01T00:00:00Z",
            }
        ),
        "start_datetime without its counterpart",
    ),
    "no bbox": (item(bbox=None), "has no bbox"),
    "bbox of words": (item(bbox=["a", "b", "c", "d"]), "is not four or six finite numbers"),
    "bbox of five": (item(bbox=[1, 2, 3, 4, 5]), "is not four or six finite numbers"),
    "antimeridian": (item(bbox=[179.0, -10.0, -179.0, -9.0]), "west 179 > east -179"),
    "wide": (item(bbox=[-180.0, -10.0, 180.0, -9.0]), "360.0 degrees wide"),
    "upside down": (item(bbox=[7.7, 47.85, 9.13, 46.85]), "south 47.85 > north 46.85"),
    "metres": (item(bbox=[399960.0, 5190240.0, 509760.0, 5300040.0]), "leaves the range"),
    "bbox elsewhere": (item(bbox=[17.7, 46.85, 19.13, 47.85]), "differ by up to 10 degrees"),
    "no geometry": (item(geometry=None), "has no geometry"),
    "geometry of another kind": (
        item(geometry={"type": "Point", "coordinates": [8.0, 47.0]}),
        "its geometry is a Point",
    ),
    "unreadable geometry": (
        item(geometry={"type": "Polygon", "coordinates": 7}),
        "cannot be read as the 'Polygon'",
    ),
    "bow tie": (
        item(
            geometry={
                "type": "Polygon",
                "coordinates": [[[8, 47], [9, 48], [9, 47], [8, 48], [8, 47]]],
            }
        ),
        "Self-intersection",
    ),
    "no assets": (item(assets={}), "has no assets"),
    "assets are a list": (item(assets=[B04]), "assets are a list"),
    "assets are absent": (item(assets=None), "assets are absent"),
    "an asset is a word": (item(assets={"B04": "B04.tif"}), "B04: the asset is not an object"),
    "no href": (asset(href=None), "its href is None"),
    "relative href": (asset(href="./B04.tif"), "relative and the Item has no absolute self"),
    "no projection": (
        item(
            properties={"datetime": "2024-07-05T10:15:59Z"},
            assets={"B04": {"href": B04["href"], "type": "image/tiff"}},
        ),
        "B04: no projection metadata",
    ),
    "null epsg with wkt2": (
        asset(
            **{
                "proj:epsg": None,
                "proj:wkt2": 'GEOGCRS["x",DATUM["d",ELLIPSOID["e",6378137,298.257223563]],'
                'CS[ellipsoidal,2],AXIS["lat",north],AXIS["lon",east],ANGLEUNIT["d",0.0174532925]]',
            }
        )
        | {"properties": {"datetime": "2024-07-05T10:15:59Z", "proj:epsg": None}},
        "no EPSG code",
    ),
    "unknown epsg": (asset(**{"proj:epsg": 999999}), "EPSG:999999 is not one that PROJ knows"),
    "epsg as a string": (asset(**{"proj:epsg": "32632"}), "proj:epsg is the string '32632'"),
    "transform of another size": (
        asset(**{"proj:transform": [20.0, 0.0, 399960.0, 0.0, -20.0, 5300040.0]}),
        "do not give proj:bbox",
    ),
    "nine elements, odd end": (
        asset(**{"proj:transform": [*B04["proj:transform"], 1.0, 2.0, 3.0]}),
        "ends in [1.0, 2.0, 3.0]",
    ),
    "GDAL's order": (
        asset(**{"proj:transform": [399960.0, 10.0, 0.0, 5300040.0, 0.0, -10.0]}),
        "rotated or in sensor geometry",
    ),
    "south up": (
        asset(**{"proj:transform": [10.0, 0.0, 399960.0, 0.0, 10.0, 5190240.0]}),
        "south on top",
    ),
    "pixels without area": (asset(**{"proj:transform": [0.0] * 6}), "degenerate"),
    "empty shape": (asset(**{"proj:shape": [0, 10980]}), "holds no pixel"),
    "shape of words": (asset(**{"proj:shape": ["a", "b"]}), "is not two numbers"),
    "shape as strings": (asset(**{"proj:shape": ["10980", "10980"]}), "is read as [10980, 10980]"),
    "another hemisphere": (asset(**{"proj:epsg": 32732}), "away from the Item's bbox"),
    "cloud cover as a string": (
        item(properties={"datetime": "2024-07-05T10:15:59Z", "eo:cloud_cover": "72"}),
        "eo:cloud_cover is the string '72': read as the number 72",
    ),
    "nodata as a string": (asset(nodata="-32768"), "nodata is the string '-32768': read as -32768"),
    "unknown data type": (asset(data_type="Float"), "data type 'Float' is not a known one"),
    "unknown collection": (item(collection="sentinel-9"), "collection 'sentinel-9' is not in the"),
    "no collection": (item(collection=None), "names no collection"),
    "no id": (item(id=None), "its id is absent"),
    "no properties": (item(properties=None), "its properties are absent"),
    "a collection": (item(type="Collection"), "type is 'Collection', not Feature"),
    "an old item": (item(stac_version="0.7.0"), "STAC 0.7.0"),
    "keys with slashes": (item(assets={"002/EMIT/x": B04}), "asset keys contain slashes"),
    "no baseline": (
        item(properties={"datetime": "2024-07-05T10:15:59Z"}),
        "states no processing baseline",
    ),
}


@pytest.mark.parametrize(("odd", "sentence"), ODD.values(), ids=ODD)
def test_each_oddity_is_named(odd, sentence):
    assert sentence in said(explain(odd))


@pytest.mark.parametrize("document", [None, 7, "item", [], [item()], {}, {"assets": {"a": None}}])
def test_what_is_not_an_item_is_explained_as_that(document):
    explanation = explain(document)
    assert explanation.bands == ()
    assert explanation.warnings
    json.dumps(explanation.to_json(), allow_nan=False)


def test_relative_hrefs_are_resolved_against_the_self_link():
    document = asset(href="../B04.tif?sig=c2lnbmF0dXJlIHJlbW92ZWQ")
    document["links"] = [{"rel": "self", "href": "https://example.org/a/b/item.json"}]
    found = band(explain(document, PROVIDERS["planetary_computer"]))
    assert found.href == "https://example.org/a/B04.tif"


def test_json_has_no_nan():
    written = explain(asset(nodata="nan")).to_json()
    assert next(band for band in written["bands"] if band["name"] == "B04")["nodata"] == "nan"
    json.dumps(written, allow_nan=False)


def test_earth_search_flag_wins_over_the_stated_offset():
    document = item(
        id="S2A_32TMT_20200305_1_L2A",
        properties={
            "datetime": "2020-03-05T10:37:41.587Z",
            "proj:epsg": 32632,
            "earthsearch:boa_offset_applied": True,
            "s2:processing_baseline": "05.00",
        },
        assets={
            "red": B04
            | {
                "href": "https://sentinel-cogs.s3.us-west-2.amazonaws.com/a/B04.tif",
                "raster:bands": [{"data_type": "uint16", "scale": 1e-4, "offset": -0.1}],
            }
        },
    )
    explanation = explain(document)
    assert explanation.provider == "earth_search"
    assert band(explanation).offset == 0.0
    assert explanation.radiometry[0].evidence["earthsearch:boa_offset_applied"] is True
    assert "would subtract twice" in said(explanation)


# Every recorded Item -------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _recorded(folder: Path) -> dict[str, dict]:
    files = [
        *sorted((folder / "items").rglob("*.json")),
        *sorted((folder / "derived").glob("*_by_nasa_code.json")),
    ]
    found = {}
    for file in files:
        document = json.loads(file.read_text())
        for number, one in enumerate(document if isinstance(document, list) else [document]):
            found[f"{file.relative_to(folder)}#{number}"] = one
    return found


def test_every_recorded_item_is_explained(shared_fixtures):
    recorded = _recorded(shared_fixtures)
    assert len(recorded) > 80
    for name, document in recorded.items():
        explanation = explain(document)
        written = json.dumps(explanation.to_json(), allow_nan=False)
        assert "sig=" not in written, name
        hrefs = {entry.href for entry in (*explanation.bands, *explanation.files)}
        assert len(explanation.bands) + len(explanation.files) >= len(document.get("assets", {}))
        assert hrefs or not document.get("assets"), name
        for found in explanation.bands:
            assert math.isfinite(found.scale), name
            assert math.isfinite(found.offset), name


def test_recorded_items_of_known_providers_can_all_be_opened(shared_fixtures):
    for name, document in _recorded(shared_fixtures).items():
        explanation = explain(document)
        if "/odd/" in name:
            assert explanation.provider is None, name
            continue
        assert explanation.provider is not None, name
        assert all(found.auth for found in explanation.bands), (name, said(explanation))
        assert all(found.auth for found in explanation.files), (name, said(explanation))


def test_emit_is_explained_by_file_name_and_its_s3_copies_are_no_bands(shared_fixtures):
    recorded = _recorded(shared_fixtures)
    document = next(d for n, d in recorded.items() if d.get("collection") == "EMITL2BCH4ENH_002")
    explanation = explain(document)
    assert [found.name for found in explanation.bands] == [
        "enhancement",
        "uncertainty",
        "sensitivity",
    ]
    assert all(found.href.startswith("https://") for found in explanation.bands)
    assert {found.auth for found in explanation.bands} == {"earthdata"}
    assert sum(found.href.startswith("s3://") for found in explanation.files) >= 3
    assert "selected by file name" in said(explanation)


def test_enmap_is_explained_by_wavelength(shared_fixtures):
    recorded = _recorded(shared_fixtures)
    document = next(d for d in recorded.values() if d.get("collection") == "ENMAP_HSI_L2A")
    explanation = explain(document)
    spectral = [found for found in explanation.bands if found.asset == "image"]
    assert [found.index for found in spectral] == list(range(1, 225))
    assert band(explanation, "nm2345.8").nodata == -32768
    assert "eo:cloud_cover is the string" in said(explanation)
    poorer = copy.deepcopy(document)
    del poorer["assets"]["image"]["eo:bands"][0]
    explanation = explain(poorer)
    assert band(explanation, "nm424.0").index == 1
    assert "image: it holds no band at 418.416 nm (nm418.4)" in said(explanation)


def test_cdse_offers_other_pixel_sizes_with_the_same_calibration(shared_fixtures):
    recorded = _recorded(shared_fixtures)
    document = next(d for n, d in recorded.items() if n.startswith("items/cdse/sentinel-2-l2a/S2A"))
    explanation = explain(document)
    assert band(explanation, "B02").asset == "B02_10m"
    assert (band(explanation, "B02_20m").scale, band(explanation, "B02_20m").offset) == (1e-4, -0.1)
    assert (band(explanation, "AOT_60m").scale, band(explanation, "AOT_60m").offset) == (1e-3, 0.0)
    assert {found.auth for found in explanation.bands} == {"s3-keys"}


def test_sentinel_hub_names_a_directory_and_no_files(shared_fixtures):
    recorded = _recorded(shared_fixtures)
    document = next(d for n, d in recorded.items() if n.startswith("items/sh/"))
    explanation = explain(document)
    assert explanation.collection == "sentinel-2-l2a"
    assert "'sentinel-2-l2a' is taken from its links" in said(explanation)
    assert "it names no files" in said(explanation)
    assert {found.offset for found in explanation.bands} == {0.0}


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["nan", "http://[", "s3://", "2024-01-01", "0001-01-01T00:00:00+14:00", "\x00", 10**400]
    ),
    st.lists(st.none() | st.integers() | st.text(max_size=3), max_size=4),
    st.dictionaries(st.text(max_size=3), st.none() | st.integers(), max_size=2),
)


def _paths(value, path=()) -> list[tuple]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key in list(value)[:12]:
            found += _paths(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 3)):
            found += _paths(value[index], (*path, index))
    return found


def _change(document, path, junk, *, delete: bool) -> None:
    holder = document
    for step in path[:-1]:
        holder = holder[step]
    if delete:
        del holder[path[-1]]
    else:
        holder[path[-1]] = junk


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_mutation_of_a_recorded_item_breaks_it(shared_fixtures, data):
    recorded = _recorded(shared_fixtures)
    document = copy.deepcopy(recorded[data.draw(st.sampled_from(sorted(recorded)))])
    for _ in range(data.draw(st.integers(1, 5))):
        paths = _paths(document)
        if not paths:
            break
        path = data.draw(st.sampled_from(paths))
        _change(document, path, data.draw(JUNK), delete=data.draw(st.booleans()))
    provider = data.draw(st.sampled_from([None, *PROVIDERS.values()]))
    json.dumps(explain(document, provider).to_json(), allow_nan=False)


@settings(max_examples=100, deadline=None)
@given(
    document=st.recursive(
        JUNK,
        lambda inner: (
            st.dictionaries(
                st.sampled_from(
                    [
                        "type",
                        "id",
                        "collection",
                        "bbox",
                        "geometry",
                        "properties",
                        "assets",
                        "links",
                        "a",
                        "href",
                        "datetime",
                        "raster:bands",
                        "proj:transform",
                        "coordinates",
                        "proj:code",
                    ]
                ),
                inner,
            )
            | st.lists(inner, max_size=3)
        ),
        max_leaves=20,
    )
)
def test_no_document_breaks_it(document):
    json.dumps(explain(document).to_json(), allow_nan=False)
