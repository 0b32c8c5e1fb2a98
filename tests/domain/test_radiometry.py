import json

import pytest

from geostack_dagster.domain.bands import Band
from geostack_dagster.domain.radiometry import (
    Radiometry,
    processing_baseline,
    sentinel2,
    sentinel2_harmonised,
    stated,
)

RED = Band(name="B04", wavelength_nm=664.6)
SCL = Band(name="SCL", categorical=True)
AOT = Band(name="AOT")
STATES = {"raster:bands": [{"scale": 1e-4, "offset": -0.1}]}


def item(**stated_properties) -> dict:
    return {"id": "x", "properties": stated_properties}


FLAG = "earthsearch:boa_offset_applied"
BASELINE = "s2:processing_baseline"


@pytest.mark.parametrize(
    ("properties", "asset", "offset"),
    [
        ({BASELINE: "02.12"}, {}, 0.0),
        ({BASELINE: "03.01"}, {}, 0.0),
        ({BASELINE: "04.00"}, {}, -0.1),
        ({BASELINE: "05.11"}, {}, -0.1),
        ({BASELINE: 5.11}, {}, -0.1),
        ({"processing:version": "05.00"}, {}, -0.1),
        ({BASELINE: "05.00", FLAG: True}, STATES, 0.0),
        ({BASELINE: "05.00", FLAG: True}, {}, 0.0),
        ({BASELINE: "05.00", FLAG: False}, {}, -0.1),
        ({BASELINE: "02.14", FLAG: False}, {"raster:bands": [{"offset": 0}]}, 0.0),
        ({FLAG: False}, STATES, -0.1),
        ({BASELINE: "05.00"}, STATES, -0.1),
        ({BASELINE: "02.14"}, {"raster:offset": -0.1}, -0.1),
        ({}, STATES, -0.1),
        ({}, {}, 0.0),
        ({BASELINE: "unknown"}, {}, 0.0),
    ],
)
def test_the_sentinel2_offset(properties, asset, offset):
    found = sentinel2(item(**properties), asset, RED)
    assert (found.scale, found.offset) == (1e-4, offset)
    assert found.reason


@pytest.mark.parametrize(
    ("properties", "asset", "words"),
    [
        ({BASELINE: "05.00", FLAG: True}, STATES, "subtract twice"),
        ({}, {}, "no processing baseline"),
        ({BASELINE: "unknown"}, {}, "no processing baseline"),
    ],
)
def test_what_is_doubtful_is_said(properties, asset, words):
    assert any(words in warning for warning in sentinel2(item(**properties), asset, RED).warnings)


@pytest.mark.parametrize(
    ("document", "baseline"),
    [
        ({"id": "S2A_MSIL2A_20200301T090901_N0500_R050_T35UPU_20230630T033416"}, "05.00"),
        (
            {
                "id": "S2A_T32TMT",
                "properties": {
                    "s2:product_uri": "S2A_MSIL2A_20240603T101559_N0510_R065_T32TMT_20240603T1.SAFE"
                },
            },
            "05.10",
        ),
        ({"id": "S2A_MSIL2A_20200301T090901_R050_T35UPU_20230630T033416"}, None),
        ({"id": 7, "properties": {BASELINE: "nan"}}, None),
    ],
)
def test_the_baseline_may_stand_in_the_product_name(document, baseline):
    assert processing_baseline(document) == baseline


def test_class_codes_are_never_calibrated():
    for rule in (stated, sentinel2, sentinel2_harmonised):
        found = rule(item(**{BASELINE: "05.00"}), STATES, SCL)
        assert (found.scale, found.offset) == (1.0, 0.0)


@pytest.mark.parametrize("asset", [STATES, {}, {"raster:scale": 0.001, "raster:offset": 0}])
def test_aot_has_its_own_scale_whatever_reflectance_has(asset):
    found = sentinel2(item(**{BASELINE: "05.00"}), asset, AOT)
    assert (found.scale, found.offset) == (1e-3, 0.0)
    assert bool(found.warnings) == (asset is STATES)


def test_what_the_service_harmonised_has_no_offset():
    assert sentinel2_harmonised(item(**{BASELINE: "05.00"}), {}, RED).offset == 0.0


def test_stated_calibration_is_taken_and_its_absence_said():
    found = stated(item(), {"raster:bands": [{"scale": 2.75e-5, "offset": -0.2}]}, RED)
    assert (found.scale, found.offset, found.warnings) == (2.75e-5, -0.2, ())
    bare = stated(item(), {}, RED)
    assert (bare.scale, bare.offset) == (1.0, 0.0)
    assert "B04" in bare.warnings[0]


def test_json_round_trip():
    found = sentinel2(item(**{BASELINE: "05.00", FLAG: True}), STATES, RED)
    assert Radiometry.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_recorded_scenes(shared_fixtures):
    """What each archive's Items decide, against what the archives are known to hold."""
    expected = {
        "es/sentinel-2-l2a/S2A_32TMT_20200305_0_L2A": ("red", 0.0),
        "es/sentinel-2-l2a/S2A_32TMT_20200305_1_L2A": ("red", 0.0),
        "es/sentinel-2-c1-l2a/S2B_T20EPT_20250731T131905_L2A": ("red", -0.1),
        "pc/sentinel-2-l2a/S2B_MSIL2A_20250312T014549_R074_T53NKG_20250312T041213": ("B04", -0.1),
        "pc/sentinel-2-l2a/S2B_MSIL2A_20200716T080609_R078_T35MNM_20200816T092511": ("B04", 0.0),
        "cdse/sentinel-2-l2a/S2A_MSIL2A_20200301T090901_N0500_R050_T35UPU_20230630T033416": (
            "B04_10m",
            -0.1,
        ),
    }
    for name, (key, offset) in expected.items():
        document = json.loads((shared_fixtures / "items" / f"{name}.json").read_text())
        assert sentinel2(document, document["assets"][key], RED).offset == offset, name
