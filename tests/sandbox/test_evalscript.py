"""Evalscripts over arrays: the examples of the documentation, and Node.js as the referee."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from geostack_dagster.sandbox.evalscript.script import Evalscript
from geostack_dagster.sandbox.evalscript.tokens import ScriptError
from geostack_dagster.stack.process_api.evalscript import evalscript

HEAD = "//VERSION=3\n"
ONE_BAND = "function setup() { return {input: ['B01', 'dataMask'], output: {bands: 1}} }\n"


def values(source, samples, scenes=None):
    script = Evalscript(HEAD + source)
    count = len(next(iter((samples if isinstance(samples, dict) else samples[0]).values())))
    return script, script.evaluate(samples, scenes or {}, count)


def test_true_colour_is_stretched():
    script, found = values(
        """
        function setup() {
          return { input: ["B02", "B03", "B04"], output: { bands: 3 } };
        }
        function evaluatePixel(sample) {
          return [2.5 * sample.B04, 2.5 * sample.B03, 2.5 * sample.B02];
        }""",
        {band: np.array([0.1, 0.3, 0.5]) for band in ("B02", "B03", "B04")},
    )
    (output,) = script.setup.outputs
    assert (script.setup.mosaicking, output.sample_type) == ("SIMPLE", "AUTO")
    pixels = output.pixels(found["default"])
    assert pixels.dtype == np.uint8
    assert pixels[0].tolist() == [64, 191, 255]


def test_pixels_go_their_own_way():
    """Branches, loops and `continue` differ from pixel to pixel; semicolons are missing."""
    _, found = values(
        """
        function setup() { return {
          input: [{bands: ["B08", "B04", "dataMask"], units: ["DN", "reflectance", "DN"]}],
          output: [{id: "ndvi", bands: 1, sampleType: SampleType.FLOAT32},
                   {id: 'count', bands: 1, sampleType: "UINT8"}],
          mosaicking: Mosaicking.ORBIT } }
        var evaluatePixel = (samples) => {
          let n = 0, sum = 0
          for (i = 0; i < samples.length; i++) {
            const s = samples[i]
            if (s.dataMask == 1 && !(s.B04 > 3)) {
              n++
              sum += (s.B08 - s.B04) / (s.B08 + s.B04)
            } else continue
          }
          return { ndvi: [n > 0 ? sum / n : -1], count: [n] }
        }""",
        [
            {
                "B08": np.array([3.0, 3, 3]),
                "B04": np.array([1.0, 4, 1]),
                "dataMask": np.array([1, 1, 0.0]),
            },
            {
                "B08": np.array([1.0, 3, 3]),
                "B04": np.array([1.0, 4, 1]),
                "dataMask": np.array([1, 1, 0.0]),
            },
        ],
    )
    assert found["ndvi"].tolist() == [[0.25, -1, -1]]
    assert found["count"].tolist() == [[2, 0, 0]]


def test_scenes_are_filtered_and_noted():
    script = Evalscript(
        HEAD
        + ONE_BAND
        + """
        var notAllowedDates = ["2020-12-06", "2020-12-09"]
        var before = []
        function preProcessScenes(collections) {
          before = collections.scenes.tiles
          collections.scenes.tiles = collections.scenes.tiles.filter(function (tile) {
            var tileDate = tile.date.split("T")[0];
            return !notAllowedDates.includes(tileDate);
          })
          return collections
        }
        function evaluatePixel(samples) { return [samples.length] }
        function updateOutputMetadata(scenes, inputMetadata, outputMetadata) {
          outputMetadata.userData = { "version": inputMetadata.serviceVersion }
          outputMetadata.userData.dates = []
          for (var tile of before) { outputMetadata.userData.dates.push(tile.date) }
        }"""
    )
    tiles = [{"date": "2020-12-06T10:08:08Z"}, {"date": "2020-12-04T10:18:05Z"}]
    kept = script.kept({"scenes": {"tiles": tiles}})
    assert kept["scenes"]["tiles"] == tiles[1:]
    assert script.user_data({})["dates"] == [tile["date"] for tile in tiles]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3 - 4 / 2", 5),
        ("2 ** 3 ** 2", 512),
        ("-s.B01 + +1", -1),
        ("s.B01 > 1 ? (s.B01 < 3 ? 7 : 8) : 9", 7),
        ("Math.max(1, s.B01, Math.abs(-1.5)) + Math.round(0.5)", 3),
        ("[1, 2, 3].map(x => x * s.B01).reduce((a, b) => a + b, 0)", 12),
        ("[...[1, 2], 5].filter(function (x) { return x > 1 }).length", 2),
        ("'a/b/c'.split('/').length + 'xyz'.indexOf('z')", 5),
        ("(function (a) { a.k += 1; return a['k'] })({k: 1})", 2),
        ("s.B99 === undefined && !null ? 1 : 0", 1),
        ("0x10 % 7 + 1e1", 12),
        ("typeof s.B01 === 'number' ? 1 : 0", 1),
    ],
)
def test_expressions(expression, value):
    body = f"function evaluatePixel(s) {{ return [{expression}] }}"
    _, found = values(ONE_BAND + body, {"B01": np.array([2.0]), "dataMask": np.array([1.0])})
    assert found["default"].tolist() == [[value]]


FAULTS = {
    "VERSION=3": "return [B01]",
    "unexpected": HEAD + "function setup( {",
    "unexpected '#'": HEAD + "#",
    "setup is not defined": HEAD + "var a = 1",
    "names no bands": HEAD + "function setup() { return {input: [{}], output: {bands: 1}} }",
    "Unknown mosaicking": HEAD
    + "function setup() { return {input: ['B01'], output: {bands: 1}, mosaicking: 'X'} }",
    "Unknown sample type": HEAD
    + "function setup() { return {input: ['B01'], output: {bands: 1, sampleType: 'X'}} }",
}


@pytest.mark.parametrize("message", FAULTS)
def test_a_script_that_makes_no_sense_is_refused(message):
    with pytest.raises(ScriptError, match=message):
        Evalscript(FAULTS[message])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return [q.B01]", "q is not defined"),
        ("return [s.B99.x]", "Cannot read property"),
        ("return [1, 2]", "must have 1 numbers"),
        ("return ['a']", "must return numbers"),
        ("while (true) {}", "timed out"),
        ("throw 'enough'", "enough"),
        ("return [s.B01.toFixed(2)]", "knows no member"),
    ],
)
def test_a_script_that_fails_says_why(body, message):
    with pytest.raises(ScriptError, match=message):
        values(
            ONE_BAND + f"function evaluatePixel(s) {{ {body} }}",
            {"B01": np.array([2.0]), "dataMask": np.array([1.0])},
        )


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js")
def test_our_own_script_does_the_same_in_node():
    """The script that the client sends, on random samples, run by a real JavaScript engine."""
    source = evalscript(["B04", "SCL"], ["s3://EODATA/S2/A.SAFE/", "s3://EODATA/S2/B.SAFE"])
    tiles = [{"dataPath": f"creo://eodata/S2/{name}.SAFE"} for name in ("B", "X", "A", "AA")]
    random = np.random.default_rng(5)
    drawn = [
        {
            "B04": random.integers(0, 9000, 50),
            "SCL": random.integers(0, 12, 50),
            "dataMask": random.integers(0, 2, 50),
        }
        for _ in range(2)
    ]
    script = Evalscript(source)
    kept = script.kept({"scenes": {"tiles": list(tiles)}})["scenes"]
    samples = [{name: band.astype(float) for name, band in one.items()} for one in drawn]
    ours = script.evaluate(samples, kept, 50)["default"]
    pixels = [[{k: int(v[i]) for k, v in one.items()} for one in drawn] for i in range(50)]
    probe = f"""
        const kept = preProcessScenes({{scenes: {{tiles: {json.dumps(tiles)}}}}}).scenes;
        const metadata = {{}};
        updateOutputMetadata(kept, {{}}, metadata);
        const found = {json.dumps(pixels)}.map(samples => evaluatePixel(samples, kept));
        console.log(JSON.stringify([setup(), kept.tiles, metadata.userData, found]));"""
    output = subprocess.run(
        ["node", "-e", source + probe], capture_output=True, text=True, check=True
    ).stdout
    setup, tiles_kept, user_data, found = json.loads(output)
    assert np.array_equal(np.array(found).T, ours)
    assert tiles_kept == kept["tiles"] == [tiles[0], tiles[2]]
    paths = [tile["dataPath"] for tile in kept["tiles"]]
    assert user_data == script.user_data(kept) == {"paths": paths}
    assert setup["mosaicking"] == script.setup.mosaicking == "TILE"
    assert setup["input"][0]["bands"] == list(script.setup.units)
