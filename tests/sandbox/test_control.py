"""Items arrive, go and are reprocessed while the twins serve, with their pixels."""

import pytest

from geostack_dagster.errors import ConfigurationError
from tests.sandbox.conftest import EARTH_SEARCH, EMMENTAL, PLANETARY, signed

LATE_PC = "S2A_MSIL2A_20240713T103021_R108_T32TMT_20240713T145801"
LATE_ES = "S2A_32TMT_20240713_0_L2A"
JULY = {
    "collections": ["sentinel-2-l2a"],
    "bbox": EMMENTAL,
    "datetime": "2024-07-08T00:00:00Z/2024-07-14T00:00:00Z",
}


def found(http, api: str) -> dict[str, dict]:
    features = http.post(f"{api}/search", json=JULY).json()["features"]
    return {item["id"]: item for item in features}


def test_the_late_scene_arrives_and_goes(http, in_sandbox):
    control = in_sandbox.control
    assert {entry["id"] for entry in control.pending()} >= {LATE_PC, LATE_ES}
    for name, api in ((LATE_PC, f"{PLANETARY}/stac/v1"), (LATE_ES, EARTH_SEARCH)):
        assert name not in found(http, api)
        control.arrive(name)
        item = found(http, api)[name]
        asset = item["assets"].get("SCL") or item["assets"]["scl"]
        href = signed(http, asset["href"]) if api != EARTH_SEARCH else asset["href"]
        assert http.head(href).status_code == 200
        control.withdraw(name)
        assert name not in found(http, api)
        assert http.head(href).status_code == 404


def test_reprocessing(http, in_sandbox):
    control = in_sandbox.control
    (old,) = found(http, f"{PLANETARY}/stac/v1")
    new = control.reprocess(old, baseline="05.11")
    assert list(found(http, f"{PLANETARY}/stac/v1")) == [new]
    (first,) = found(http, EARTH_SEARCH)
    second = control.reprocess(first)
    assert set(found(http, EARTH_SEARCH)) == {first, second}
    assert second == first.replace("_0_", "_1_")
    control.withdraw(second)


@pytest.mark.parametrize("verb", ["arrive", "withdraw", "reprocess"])
def test_an_unknown_item_is_named(in_sandbox, verb):
    with pytest.raises(ConfigurationError, match=f"cannot {verb} 'no-such'"):
        getattr(in_sandbox.control, verb)("no-such")
