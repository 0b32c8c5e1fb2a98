import pytest

from geostack_dagster.domain.bands import Band, BandTable
from geostack_dagster.errors import ConfigurationError

RED = Band(name="B04", keys=("red", "B04"), common_name="red")
ENHANCEMENT = Band(name="ENH", href_pattern="EMIT_L2B_CH4ENH_*.tif")
TABLE = BandTable((RED, ENHANCEMENT))
EMIT = {
    "assets": {
        "s3_002/EMIT_L2B_CH4ENH_002_x": {"href": "s3://b/EMIT_L2B_CH4UNCERT_002_x.tif"},
        "002/EMIT_L2B_CH4ENH_002_x": {"href": "https://h/EMIT_L2B_CH4ENH_002_x.tif?a=1"},
        "broken": {"href": None},
        "empty": {},
    }
}


def test_keys_count_in_order_of_preference():
    item = {"assets": {"B04": {"href": "b"}, "red": {"href": "a"}}}
    assert RED.asset_key(item) == "red"
    assert RED.asset_key({"assets": {"B04": {}}}) == "B04"
    assert RED.asset_key({"assets": {"blue": {}}}) is None
    assert RED.asset_key({}) is None


def test_unstable_keys_are_found_by_file_name():
    assert ENHANCEMENT.asset_key(EMIT) == "002/EMIT_L2B_CH4ENH_002_x"


@pytest.mark.parametrize("name", ["B04", "red"])
def test_a_band_goes_by_any_of_its_names(name):
    assert TABLE.select([name], where="test") == (RED,)


def test_bands_come_in_the_order_asked():
    assert TABLE.select(["ENH", "B04"], where="test") == (ENHANCEMENT, RED)


def test_an_unknown_band_is_named_with_the_nearest():
    with pytest.raises(ConfigurationError, match=r"'B4'.*test.*'B04'"):
        TABLE.select(["B4"], where="test")
