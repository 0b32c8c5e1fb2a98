"""The script that runs at the service for each pixel: values of chosen scenes as they are stored.

Mosaicking is TILE, the only kind in which the script sees scenes one by one. It drops scenes that
were not asked for (another baseline, a neighbour left out for its clouds) and takes each pixel from
the first of the others that has one. A scene is known by the place of its files: the catalogue's
`data` asset and the script's `dataPath` name the same directory, on whatever host or bucket.

Source: Sentinel Hub, Evalscript V3.
"""

import json
from collections.abc import Sequence

from geostack_dagster.domain.hrefs import Href, locate

_SCRIPT = """//VERSION=3
var SCENES = {scenes};
var places = {{}};

function place(tile) {{
  var path = tile.dataPath;
  if (typeof path !== "string") {{ return 0; }}
  if (places[path] === undefined) {{
    var end = path;
    while (end.endsWith("/")) {{ end = end.slice(0, -1); }}
    places[path] = 0;
    for (var i = SCENES.length; i > 0; i--) {{
      if (("/" + end).endsWith("/" + SCENES[i - 1])) {{ places[path] = i; }}
    }}
  }}
  return places[path];
}}

function setup() {{
  return {{
    input: [{{bands: {bands}, units: "DN"}}],
    output: {{id: "default", bands: {count}, sampleType: "UINT16"}},
    mosaicking: "TILE"
  }};
}}

function preProcessScenes(collections) {{
  collections.scenes.tiles = collections.scenes.tiles.filter(function (tile) {{
    return typeof tile.dataPath !== "string" || place(tile) > 0;
  }});
  return collections;
}}

function evaluatePixel(samples, scenes) {{
  var first = 0;
  var values = {nothing};
  for (var i = 0; i < samples.length; i++) {{
    var found = place(scenes.tiles[i]);
    if (samples[i].dataMask == 1 && found > 0 && (first == 0 || found < first)) {{
      var sample = samples[i];
      first = found;
      values = [{values}, found];
    }}
  }}
  return values;
}}

function updateOutputMetadata(scenes, inputMetadata, outputMetadata) {{
  outputMetadata.userData = {{
    paths: scenes.tiles.map(function (tile) {{ return tile.dataPath; }})
  }};
}}
"""


def evalscript(bands: Sequence[str], scenes: Sequence[Href]) -> str:
    """Script whose output is each band in DN, and last the number of the scene: 1 on, 0 for none.

    Its `userdata` are the paths of the scenes that it saw.

    Args:
        bands: Names at the service.
        scenes: Directories of the scenes, the one on top first.
    """
    return _SCRIPT.format(
        scenes=json.dumps([scene_path(scene) for scene in scenes]),
        bands=json.dumps([*bands, "dataMask"]),
        count=len(bands) + 1,
        nothing=json.dumps([0] * (len(bands) + 1)),
        values=", ".join(f"sample[{json.dumps(band)}]" for band in bands),
    )


def scene_path(scene: Href) -> str:
    """What the place of a scene is called on every host: its key without the bucket."""
    return locate(scene).key.rstrip("/")


def same_scene(path: str, scene: Href) -> bool:
    """Whether a `dataPath` of the service names a scene."""
    return f"/{path.rstrip('/')}".endswith(f"/{scene_path(scene)}")
