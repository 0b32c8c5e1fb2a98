"""The Process API twin over HTTP: what it renders, and how it refuses."""

import io
import json
import tarfile

import numpy as np
import pytest
import requests
from rasterio.io import MemoryFile

from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.item import parse_datetime
from geostack_dagster.sandbox.world import World

URL = "https://sh.dataspace.copernicus.eu/api/v1/process"
TOKENS = "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token"
GRID = Grid(crs="EPSG:32632", resolution=10, left=407_960, top=5_207_040, width=90, height=70)
UTM = "http://www.opengis.net/def/crs/EPSG/0/32632"
DAY = ("2024-06-28T00:00:00Z", "2024-06-28T23:59:59Z")
SIMPLE = """//VERSION=3
function setup() {
  return {input: [{bands: ["B04", "SCL", "dataMask"], units: "DN"}],
          output: {bands: 3, sampleType: "UINT16"}};
}
function evaluatePixel(sample) { return [sample.B04, sample.SCL, sample.dataMask]; }"""


@pytest.fixture
def bearer(http, sandbox):
    account = sandbox.account
    form = {
        "grant_type": "client_credentials",
        "client_id": account["SH_CLIENT_ID"],
        "client_secret": account["SH_CLIENT_SECRET"],
    }
    token = http.post(TOKENS, data=form).json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


def body(*, script=SIMPLE, grid=GRID, days=DAY, processing=None, **output):
    return {
        "input": {
            "bounds": {"bbox": list(grid.bounds), "properties": {"crs": UTM}},
            "data": [
                {
                    "type": "sentinel-2-l2a",
                    "dataFilter": {"timeRange": {"from": days[0], "to": days[1]}},
                    "processing": processing or {},
                }
            ],
        },
        "output": {
            "width": grid.width,
            "height": grid.height,
            "responses": [{"identifier": "default", "format": {"type": "image/tiff"}}],
            **output,
        },
        "evalscript": script,
    }


@pytest.fixture
def post(http, bearer):
    def post(document, **headers) -> requests.Response:
        return http.post(URL, json=document, headers={**bearer, **headers})

    return post


def pixels(answer):
    assert answer.status_code == 200, answer.text
    with MemoryFile(answer.content) as memory, memory.open() as image:
        return image.read(), image.profile


def test_it_renders_the_world_on_the_grid(post):
    answer = post(body())
    (red, classes, mask), profile = pixels(answer)
    assert answer.headers["content-type"] == "image/tiff"
    assert float(answer.headers["x-processingunits-spent"]) == pytest.approx(
        90 * 70 / 512**2 * 2 / 3, abs=1e-5
    )
    assert (profile["dtype"], profile["crs"].to_epsg()) == ("uint16", 32632)
    assert tuple(profile["transform"])[:6] == GRID.transform
    moment = parse_datetime("2024-06-28T10:37:00Z")
    world = World()
    assert np.abs(red * 1e-4 - world.reflectance("B04", GRID, moment)).max() < 0.01
    assert (classes == world.scl(GRID, moment)).mean() > 0.99
    assert (mask == 1).all()


def test_harmonised_numbers_have_no_offset(post):
    (plain, *_), _ = pixels(post(body(processing={"harmonizeValues": False})))
    (harmonised, *_), _ = pixels(post(body()))
    assert np.abs(plain.astype(int) - harmonised - 1000).max() <= 1


def test_reflectance_is_the_default_unit(post):
    script = """//VERSION=3
    function setup() { return {input: ["B04"], output: {bands: 1, sampleType: "FLOAT32"}} }
    function evaluatePixel(s) { return [s.B04] }"""
    (found,), _ = pixels(post(body(script=script)))
    (numbers, *_), _ = pixels(post(body()))
    assert np.allclose(found, numbers * 1e-4, atol=1e-6)


def test_a_time_without_scenes_is_no_data(post):
    found, _ = pixels(post(body(days=("2024-06-29T00:00:00Z", "2024-06-30T00:00:00Z"))))
    assert not found.any()


def test_clouds_can_be_filtered(post):
    document = body(days=("2024-06-18T00:00:00Z", "2024-06-18T23:59:59Z"))
    assert pixels(post(document))[0][2].all()
    document["input"]["data"][0]["dataFilter"]["maxCloudCoverage"] = 10
    assert not pixels(post(document))[0][2].any()


@pytest.mark.parametrize(("order", "day"), [("mostRecent", 28), ("leastRecent", 23)])
def test_the_order_of_a_mosaic(post, order, day):
    document = body(days=("2024-06-23T00:00:00Z", "2024-06-28T23:59:59Z"))
    document["input"]["data"][0]["dataFilter"]["mosaickingOrder"] = order
    both, _ = pixels(post(document))
    alone, _ = pixels(post(body(days=(f"2024-06-{day}T00:00:00Z", f"2024-06-{day}T23:59:59Z"))))
    assert np.array_equal(both, alone)


def test_orbits_are_days_and_scenes_have_paths(post):
    script = """//VERSION=3
    function setup() { return {input: ["dataMask"], output: {bands: 1, sampleType: "UINT8"},
                               mosaicking: "ORBIT"} }
    function evaluatePixel(samples) { return [samples.length] }
    function updateOutputMetadata(scenes, inputs, outputs) { outputs.userData = scenes.orbits }"""
    days = ("2024-06-20T00:00:00Z", "2024-06-29T00:00:00Z")
    responses = [
        {"identifier": "default", "format": {"type": "image/tiff"}},
        {"identifier": "userdata", "format": {"type": "application/json"}},
    ]
    document = body(script=script, days=days, responses=responses)
    assert post(document).status_code == 400  # two parts need a tar
    answer = post(document, Accept="application/tar")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as parts:
        image = parts.extractfile("default.tif").read()
        orbits = json.load(parts.extractfile("userdata.json"))
    with MemoryFile(image) as memory, memory.open() as dataset:
        assert (dataset.read() == 2).all()
    assert [one["dateFrom"][:10] for one in orbits] == ["2024-06-28", "2024-06-23"]
    path = orbits[0]["tiles"][0]["dataPath"]
    assert path.startswith("s3://EODATA/Sentinel-2/MSI/L2A/2024/06/28/S2B_MSIL2A_20240628T")


def test_bands_between_pixels_are_interpolated_as_asked(post):
    nearest, _ = pixels(post(body(processing={"upsampling": "NEAREST"})))
    document = body(processing={"upsampling": "BILINEAR"}, script=SIMPLE.replace("B04", "B11"))
    smooth, _ = pixels(post(document))
    coarse, _ = pixels(post(body(script=SIMPLE.replace("B04", "B11"))))
    assert np.array_equal(coarse[0][0::2, 0::2], coarse[0][1::2, 1::2])
    assert not np.array_equal(smooth[0][0::2, 0::2], smooth[0][1::2, 1::2])
    assert not np.array_equal(smooth[1], nearest[1])  # classes are blurred too, as by the service


def test_another_crs_and_a_polygon(post):
    west, south, east, north = 7.785, 46.995, 7.79, 47.0
    ring = [[west, south], [east, south], [west, north], [west, south]]
    document = body(width=50, height=70)
    document["input"]["bounds"] = {"geometry": {"type": "Polygon", "coordinates": [ring]}}
    found, profile = pixels(post(document))
    assert profile["crs"].to_epsg() == 4326
    inside = found[2] == 1
    assert inside[40, 10]
    assert not inside[10, 45]
    assert 0.45 < inside.mean() < 0.55


def _changed(path, value):
    def change(document):
        *parents, last = path
        place = document
        for name in parents:
            place = place[name]
        if value is None:
            del place[last]
        else:
            place[last] = value

    return change


BAD = {
    "is larger than allowed 2500": _changed(["output"], {"resx": 0.1, "resy": 10}),
    "between 1 and 2500": _changed(["output", "width"], 2501),
    "Only width and height or resx and resy": _changed(["output", "resx"], 10),
    "bbox or geometry": _changed(["input", "bounds", "bbox"], None),
    "Unsupported CRS": _changed(
        ["input", "bounds", "properties", "crs"], "http://www.opengis.net/def/crs/EPSG/0/2056"
    ),
    "timeRange needs dates": _changed(
        ["input", "data", 0, "dataFilter", "timeRange", "from"], "2024-06-28"
    ),
    "Dataset with id: sentinel-9 not found": _changed(["input", "data", 0, "type"], "sentinel-9"),
    "upsampling must be one of": _changed(["input", "data", 0, "processing"], {"upsampling": "X"}),
    "evalscript must not be empty": _changed(["evalscript"], None),
    "S2L2A has no band B10": _changed(["evalscript"], SIMPLE.replace("B04", "B10")),
    "unsupported units PERCENT": _changed(["evalscript"], SIMPLE.replace('"DN"', '"PERCENT"')),
    "Failed to evaluate script": _changed(["evalscript"], SIMPLE.replace("sample.SCL", "no.SCL")),
    "requested but missing": _changed(
        ["output", "responses"], [{"identifier": "x", "format": {"type": "image/tiff"}}]
    ),
    "Unsupported format": _changed(
        ["output", "responses"], [{"identifier": "default", "format": {"type": "image/x"}}]
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_a_wrong_request_is_refused_in_json(post, message):
    document = body()
    BAD[message](document)
    answer = post(document)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert message in error["message"]
    assert (error["status"], error["reason"]) == (400, "Bad Request")
    assert error["code"] in ("COMMON_BAD_PAYLOAD", "RENDERER_EXCEPTION")


def test_pixels_may_not_be_too_coarse(post):
    wide = Grid(crs=GRID.crs, resolution=2000, left=400_000, top=5_300_000, width=9, height=9)
    answer = post(body(grid=wide))
    assert "exceeds the limit 1500.00 meters" in answer.json()["error"]["message"]


def test_an_empty_body_is_a_bad_payload(http, bearer):
    error = http.post(URL, data=b"", headers=bearer).json()["error"]
    assert error["message"] == "Request body should be non-empty."


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer nobody"}])
def test_who_has_no_token_gets_nothing(http, header):
    answer = http.post(URL, json=body(), headers=header)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "COMMON_UNAUTHORIZED"


def test_an_expired_token_is_refused(post, in_sandbox):
    in_sandbox.control.fault(path="*/process", expire=True, times=1)
    assert post(body()).status_code == 401
    assert post(body()).status_code == 200
