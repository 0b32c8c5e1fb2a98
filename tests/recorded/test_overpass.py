"""What real archives' Items tell of a Sentinel-2 pass: satellite, ground track and angles."""

import json
import re

from geostack_dagster.pipeline.methane.overpass import geometry_of, relative_orbit


def test_every_archive_tells_satellite_orbit_and_air_mass(shared_fixtures):
    names = {}
    for archive in ("cdse", "es", "pc"):
        for path in sorted((shared_fixtures / "items" / archive).glob("sentinel-2*/*.json")):
            item = json.loads(path.read_text())
            product = item["properties"].get("s2:product_uri", item["id"])
            satellite, orbit = re.match(r"(S2.)_MSI.*_R(\d{3})_", product).groups()
            geometry = geometry_of(item)
            assert geometry.platform == satellite
            assert relative_orbit(item) == int(orbit)
            assert 2 < geometry.air_mass_factor < 16
            names.setdefault(archive, set()).add(satellite)
    assert names == {"cdse": {"S2A", "S2B", "S2C"}, "es": {"S2A", "S2B"}, "pc": {"S2A", "S2B"}}


def test_an_orbit_that_nothing_tells_is_unknown():
    assert relative_orbit({"id": "S2B_24MUV_20250731_0_L1C", "properties": {}}) is None
