"""What every provider record must hold, and what recorded Items make of them."""

import json
import pickle
from pathlib import Path

import pytest

from geostack_dagster.auth.resolution import Settings
from geostack_dagster.auth.signer import AuthScheme
from geostack_dagster.domain.hrefs import canonical, locate
from geostack_dagster.domain.item import assets, pixel_format
from geostack_dagster.errors import ConfigurationError, MissingCredentialError
from geostack_dagster.providers import PROVIDERS, provider_named, recognise
from geostack_dagster.providers.access import signer_for
from geostack_dagster.providers.enmap_bands import BANDS
from geostack_dagster.providers.generic import band_table
from geostack_dagster.providers.provider import PixelSource, SearchApi

RECORDS = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
COLLECTIONS = pytest.mark.parametrize(
    ("provider", "collection"),
    [(p, c) for p in PROVIDERS.values() for c in p.collections.values()],
    ids=[f"{p.slug}-{c}" for p in PROVIDERS.values() for c in p.collections],
)


def test_the_seven_archives():
    assert list(PROVIDERS) == [
        *("planetary_computer", "earth_search", "cdse", "sentinel_hub"),
        *("lpcloud", "earthaccess", "enmap"),
    ]


@RECORDS
def test_a_record_is_complete(provider):
    assert PROVIDERS[provider.slug] is provider
    assert provider.stac_url.startswith("https://")
    assert not provider.stac_url.endswith("/")
    assert provider.description
    assert provider.quirks
    assert provider.marks
    assert provider.collections
    assert all(name == collection.id for name, collection in provider.collections.items())
    assert provider.limits.page_limit > 0


@RECORDS
def test_a_signer_for_every_scheme_of_a_record(provider):
    for pattern, scheme in provider.access:
        href = canonical(pattern.replace("*", "x"))
        signer = signer_for(provider)
        assert signer.scheme(href) is scheme, pattern
        assert pickle.loads(pickle.dumps(signer)).slug == provider.slug


@COLLECTIONS
def test_a_collection_can_be_read(provider, collection):
    bands = collection.bands.bands
    names = [band.name for band in bands]
    assert len(set(names)) == len(names)
    assert all(band.keys or band.href_pattern for band in bands)
    common = [band.common_name for band in bands if band.common_name]
    assert len(set(common)) == len(common)
    if collection.clear is not None:
        assert collection.clear.band in names
        assert collection.bands.by_name[collection.clear.band].categorical
    assert provider.find_collection(collection.id) is collection


@pytest.mark.parametrize("alias", ["C3242680113-LPCLOUD", "EMITL2BCH4ENH.v002"])
def test_a_collection_is_found_by_its_aliases(alias):
    assert PROVIDERS["lpcloud"].collection(alias).id == "EMITL2BCH4ENH_002"


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ConfigurationError, match="'cdse'"):
        provider_named("cdsee")
    with pytest.raises(ConfigurationError, match="'sentinel-2-l2a'"):
        PROVIDERS["cdse"].collection("sentinel-2-l2")


def test_only_one_record_claims_an_address():
    urls = [*(f"{p.stac_url}/collections/x" for p in PROVIDERS.values())]
    for url in urls:
        owners = [p.slug for p in PROVIDERS.values() if p.owns(url)]
        assert len(owners) == 1, url


@pytest.mark.parametrize(
    ("slug", "href", "variables"),
    [
        ("cdse", "s3://eodata/x.jp2", ("CDSE_ACCESS_KEY_ID", "CDSE_SECRET_ACCESS_KEY")),
        (
            "cdse",
            "https://download.dataspace.copernicus.eu/odata/v1/Products(x)/$value",
            ("CDSE_USERNAME", "CDSE_PASSWORD"),
        ),
        (
            "sentinel_hub",
            "https://sh.dataspace.copernicus.eu/api/v1/process",
            ("SH_CLIENT_ID", "SH_CLIENT_SECRET"),
        ),
        (
            "lpcloud",
            "https://data.lpdaac.earthdatacloud.nasa.gov/lp-prod-protected/x.tif",
            ("EARTHDATA_TOKEN", "EARTHDATA_USERNAME", "EARTHDATA_PASSWORD"),
        ),
        (
            "earthaccess",
            "s3://lp-prod-protected/x.nc",
            ("EARTHDATA_TOKEN", "EARTHDATA_USERNAME", "EARTHDATA_PASSWORD"),
        ),
        (
            "enmap",
            "https://download.geoservice.dlr.de/ENMAP/x.TIF",
            ("ENMAP_USERNAME", "ENMAP_PASSWORD"),
        ),
        ("earth_search", "s3://usgs-landsat/x.TIF", ("AWS_ACCESS_KEY_ID",)),
    ],
)
def test_a_missing_credential_names_its_variables(slug, href, variables, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    for name in variables:
        monkeypatch.delenv(name, raising=False)
    settings = Settings(arguments={"GEOSTACK_AWS_REGION": "none"})
    with pytest.raises(MissingCredentialError) as raised:
        signer_for(PROVIDERS[slug], settings).sign(canonical(href))
    assert all(name in str(raised.value) for name in variables)


def test_cdse_keys_sign_for_its_endpoint():
    keys = {"CDSE_ACCESS_KEY_ID": "AKID", "CDSE_SECRET_ACCESS_KEY": "hush"}
    request = signer_for(PROVIDERS["cdse"], Settings(arguments=keys)).sign(
        canonical("s3://EODATA/Sentinel-2/x.jp2")
    )
    assert request.url == "https://eodata.dataspace.copernicus.eu/eodata/Sentinel-2/x.jp2"


def test_public_files_of_lp_daac_need_no_login():
    href = canonical("https://data.lpdaac.earthdatacloud.nasa.gov/lp-prod-public/x.png")
    assert signer_for(PROVIDERS["lpcloud"]).sign(href).headers == {}


def test_records_say_where_search_and_pixels_come_from():
    assert PROVIDERS["earthaccess"].search_api is SearchApi.CMR
    assert PROVIDERS["sentinel_hub"].pixels is PixelSource.PROCESS_API
    assert PROVIDERS["sentinel_hub"].search_scheme is AuthScheme.OAUTH2


# Against recorded Items -----------------------------------------------------------------------


@pytest.fixture
def recorded(shared_fixtures):
    def read(pattern: str) -> list[dict]:
        return [
            json.loads(file.read_text())
            for file in sorted((shared_fixtures / "items").glob(pattern))
        ]

    return read


@pytest.fixture
def derived(shared_fixtures: Path) -> list[dict]:
    return json.loads(
        (shared_fixtures / "derived/cmr_stac_emit_items_by_nasa_code.json").read_text()
    )


@pytest.mark.parametrize(
    ("pattern", "slug"),
    [
        ("pc/*/*.json", "planetary_computer"),
        ("other/*/*.json", "planetary_computer"),
        ("es/*/*.json", "earth_search"),
        ("cdse/*/*.json", "cdse"),
        ("sh/*/*.json", "sentinel_hub"),
        ("cmr_stac/*/*.json", "lpcloud"),
        ("cmr_granules_stac/*/*.json", "earthaccess"),
        ("dlr/*/*.json", "enmap"),
        ("odd/*.json", None),
    ],
)
def test_recorded_items_are_recognised_and_all_their_hrefs_have_a_scheme(recorded, pattern, slug):
    items = recorded(pattern)
    assert items
    for item in items:
        found = recognise(item)
        assert (found and found[0].slug) == slug, item["id"]
        for asset in assets(item).values() if found else ():
            assert found[0].scheme(canonical(asset["href"])) is not None, asset["href"]


@pytest.mark.parametrize(
    ("pattern", "slug"),
    [
        ("pc/sentinel-2-l2a/*.json", "planetary_computer"),
        ("es/sentinel-2-l2a/*.json", "earth_search"),
        ("es/sentinel-2-c1-l2a/*.json", "earth_search"),
        ("cdse/sentinel-2-l2a/*.json", "cdse"),
        ("cmr_stac/HLSL30_2.0/*.json", "lpcloud"),
        ("cmr_granules_stac/*/*.json", "earthaccess"),
        ("dlr/ENMAP_HSI_L2A/*.json", "enmap"),
    ],
)
def test_every_band_of_a_record_is_found_in_every_recorded_item(recorded, pattern, slug):
    for item in recorded(pattern):
        for band in PROVIDERS[slug].collection(item["collection"]).bands.bands:
            key = band.asset_key(item)
            assert key is not None, (item["id"], band.name)
            assert band.channel(item, key) is not None, (item["id"], band.name)
            stated = pixel_format(assets(item)[key], band.index - 1)
            if stated.dtype is not None:
                assert stated.dtype == band.dtype, (item["id"], band.name)
            if stated.nodata is not None and band.nodata is not None:
                assert stated.nodata == band.nodata, (item["id"], band.name)


def test_cdse_bands_come_at_their_native_pixel_size(recorded):
    for item in recorded("cdse/sentinel-2-l2a/*.json"):
        for band in PROVIDERS["cdse"].collection("sentinel-2-l2a").bands.bands:
            key = band.asset_key(item)
            assert key.endswith(f"_{band.resolution_m:.0f}m")
            assert assets(item)[key]["proj:transform"][0] == band.resolution_m
            assert assets(item)[key]["gsd"] == band.resolution_m


def test_emit_bands_are_found_by_file_name_over_https(derived):
    for item in derived:
        for band in PROVIDERS["lpcloud"].collection(item["collection"]).bands.bands:
            href = assets(item)[band.asset_key(item)]["href"]
            assert locate(href).scheme == "https"
            assert not href.endswith((".png", ".json"))
    enhancement = next(item for item in derived if item["collection"] == "EMITL2BCH4ENH_002")
    names = {
        band.name: assets(enhancement)[band.asset_key(enhancement)]["href"].rpartition("/")[2][:17]
        for band in PROVIDERS["lpcloud"].collection("EMITL2BCH4ENH_002").bands.bands
    }
    assert names == {
        "enhancement": "EMIT_L2B_CH4ENH_0",
        "uncertainty": "EMIT_L2B_CH4UNCER",
        "sensitivity": "EMIT_L2B_CH4SENS_",
    }


def test_the_enmap_table_is_the_one_that_dlr_states(recorded):
    for item in recorded("dlr/ENMAP_HSI_L2A/*.json"):
        stated = [
            (band["center_wavelength"], band["full_width_half_max"])
            for band in item["assets"]["image"]["eo:bands"]
        ]
        assert tuple(stated) == BANDS


@pytest.mark.parametrize("shift_nm", [0.0, 0.17, -0.3])
def test_enmap_bands_are_matched_by_wavelength_in_any_order(recorded, shift_nm):
    (item, *_) = recorded("dlr/ENMAP_HSI_L2A/*.json")
    described = [dict(band) for band in item["assets"]["image"]["eo:bands"]]
    for band in described:
        band["center_wavelength"] += shift_nm
    # Detector order, as EnMAP-Box renders it: the two detectors tell themselves by their widths.
    vnir = [
        b for b in described if b["center_wavelength"] < 900 or b["full_width_half_max"] > 10.15
    ]
    vnir = [b for b in vnir if b["center_wavelength"] < 994 and b["full_width_half_max"] != 10.1638]
    vnir = [b for b in vnir if abs(b["center_wavelength"] - shift_nm - 993.145) > 1e-6]
    swir = [band for band in described if band not in vnir]
    assert (len(vnir), len(swir)) == (91, 133)
    detector_order = {**item, "assets": {"image": {"eo:bands": vnir + swir}}}
    for band in PROVIDERS["enmap"].collection("ENMAP_HSI_L2A").bands.bands:
        if band.by_wavelength:
            channel = band.channel(detector_order, "image")
            found = (vnir + swir)[channel - 1]
            assert found["center_wavelength"] - shift_nm == pytest.approx(band.wavelength_nm)
            assert found["full_width_half_max"] == band.fwhm_nm


def test_an_enmap_band_that_a_product_lacks_is_not_taken_from_its_neighbour(recorded):
    (item, *_) = recorded("dlr/ENMAP_HSI_L2A/*.json")
    band = PROVIDERS["enmap"].band("ENMAP_HSI_L2A", "swir22")
    kept = [
        entry
        for entry in item["assets"]["image"]["eo:bands"]
        if abs(entry["center_wavelength"] - band.wavelength_nm) > 1
    ]
    poorer = {**item, "assets": {"image": {"eo:bands": kept}}}
    assert band.channel(item, "image") is not None
    assert band.channel(poorer, "image") is None
    assert band.channel({"assets": {"image": {"eo:bands": [None, 7]}}}, "image") is None
    assert band.channel({}, "image") is None


def test_enmap_reflectance_has_the_gain_that_the_item_states(recorded):
    (item, *_) = recorded("dlr/ENMAP_HSI_L2A/*.json")
    collection = PROVIDERS["enmap"].collection("ENMAP_HSI_L2A")
    changed = json.loads(json.dumps(item))
    changed["assets"]["image"]["eo:bands"][0] |= {"enmap:gain_of_band": "2e-4"}
    first, second = collection.bands.bands[:2]
    for document, band, scale in (
        (item, first, 1e-4),
        (changed, first, 2e-4),
        (changed, second, 1e-4),
    ):
        found = collection.radiometry(document, assets(document)["image"], band)
        assert (found.scale, found.offset, found.warnings) == (scale, 0.0, ())
    cloud = collection.bands.by_name["quality_cloud"]
    assert collection.radiometry(item, assets(item)["quality_cloud"], cloud).scale == 1.0


def test_hls_is_calibrated_by_the_guide_where_the_item_is_silent(recorded):
    (item,) = recorded("cmr_stac/HLSL30_2.0/*.json")
    collection = PROVIDERS["lpcloud"].collection("HLSL30_2.0")
    scales = {
        name: collection.radiometry(item, assets(item)[name], collection.bands.by_name[name]).scale
        for name in ("B05", "B10", "SZA", "Fmask")
    }
    assert scales == {"B05": 1e-4, "B10": 1e-2, "SZA": 1e-2, "Fmask": 1.0}
    stated = {"raster:bands": [{"scale": 0.5, "offset": 1}]}
    found = collection.radiometry(item, stated, collection.bands.by_name["B05"])
    assert (found.scale, found.offset) == (0.5, 1.0)


def test_the_clear_classes_of_hls_are_its_mask_bits(shared_fixtures):
    keep = set(PROVIDERS["lpcloud"].collection("HLSL30_2.0").clear.keep)
    for value in range(256):
        cloud, beside, shadow = (value >> bit & 1 for bit in (1, 2, 3))
        assert (value in keep) == (value != 255 and not (cloud or beside or shadow))


def test_the_planetary_computers_hls_has_the_bands_of_its_template(shared_fixtures):
    for name in ("hls2-l30", "hls2-s30"):
        path = shared_fixtures / f"api/pc_collection_template_{name}.json"
        template = json.loads(path.read_text())
        table = PROVIDERS["planetary_computer"].collection(name).bands.by_name
        assert set(table) == set(template["item_assets"])
        for key, asset in template["item_assets"].items():
            stated = asset["eo:bands"][0].get("common_name")
            assert stated is None or table[key].common_name == stated
        href = f"https://{template['msft:storage_account']}.blob.core.windows.net/hls2/x.tif"
        assert PROVIDERS["planetary_computer"].scheme(canonical(href)) is AuthScheme.SAS


# Collections without a record -----------------------------------------------------------------


def test_old_items_that_list_bands_once_are_understood(recorded):
    item = next(i for i in recorded("odd/*.json") if i["id"].startswith("LC08_L2SR_081119"))
    table = band_table(item).by_name
    assert table["SR_B1.TIF"].common_name == "coastal"
    assert table["SR_B1.TIF"].wavelength_nm == pytest.approx(440)


def test_a_file_with_several_channels_gives_a_band_for_each(recorded):
    (item,) = recorded("pc/aster-l1t/*.json")
    table = band_table(item)
    swir = [band for band in table.bands if band.keys == ("SWIR",)]
    assert [band.index for band in swir] == list(range(1, len(swir) + 1))
    assert all(band.name.startswith("SWIR:") for band in swir)
    assert all(band.wavelength_nm > 1000 for band in swir if band.wavelength_nm)


def test_wavelengths_are_nanometres_whatever_the_archive_writes():
    item = {
        "assets": {
            "a": {"eo:bands": [{"center_wavelength": 0.665, "full_width_half_max": 0.03}]},
            "b": {"eo:bands": [{"center_wavelength": 665.0, "full_width_half_max": 30.0}]},
            "c": {"bands": [{"eo:center_wavelength": 0.665, "eo:full_width_half_max": 0.03}]},
        }
    }
    for band in band_table(item).bands:
        assert (band.wavelength_nm, band.fwhm_nm) == (pytest.approx(665), pytest.approx(30))


def test_pictures_and_documents_are_no_bands(recorded):
    for item in recorded("pc/sentinel-2-l2a/*.json"):
        names = {band.keys[0] for band in band_table(item).bands}
        assert "B04" in names
        assert not names & {"preview", "tilejson", "product-metadata", "safe-manifest"}
