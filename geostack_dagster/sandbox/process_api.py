"""Sentinel Hub's Process API twin: renders the world through whatever evalscript it is sent.

What it does not know (data fusion, other collections, JavaScript beyond `evalscript`) it refuses
with the service's own kind of error.
"""

import asyncio
import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from geostack_dagster.sandbox.catalogue import Catalogue
from geostack_dagster.sandbox.evalscript.script import Evalscript, Output, Samples
from geostack_dagster.sandbox.evalscript.tokens import ScriptError
from geostack_dagster.sandbox.process_ask import Ask, BoomError, understood
from geostack_dagster.sandbox.process_samples import Tile, blank, mosaicked, sample_of, tiles_for
from geostack_dagster.sandbox.world import World

_FORMATS = {
    "image/tiff": ("GTiff", "tif"),
    "image/png": ("PNG", "png"),
    "image/jpeg": ("JPEG", "jpg"),
}
_TAR = "application/x-tar"
_USER_DATA = "userdata"
_UNIT_PX = 512 * 512


class ProcessTwin:
    """Serves `POST /api/v1/process`."""

    def __init__(self, catalogue: Catalogue, world: World) -> None:
        self._catalogue, self._world = catalogue, world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await (await self._answer(Request(scope, receive)))(scope, receive, send)

    async def _answer(self, request: Request) -> ASGIApp:
        if request.method != "POST":
            return _boom(405, "Method Not Allowed", "COMMON_METHOD_NOT_ALLOWED")
        body, accept = await request.body(), request.headers.get("accept", "*/*")
        try:
            return await asyncio.to_thread(lambda: self._rendered(understood(body, accept)))
        except BoomError as error:
            refusal = error
        except ScriptError as error:
            refusal = BoomError(f"Failed to evaluate script!\n{error}", code="RENDERER_EXCEPTION")
        return JSONResponse(refusal.body, refusal.status)

    def _rendered(self, ask: Ask) -> Response:
        script = Evalscript(ask.script)
        tiles = tiles_for(ask, self._catalogue)
        scenes, samples = self._scenes(ask, script, tiles)
        values = script.evaluate(samples, scenes, ask.axes.width * ask.axes.height)
        outputs = {one.id: one for one in script.setup.outputs}
        parts = []
        for name, media in ask.responses:
            if name == _USER_DATA:
                content = json.dumps(script.user_data(scenes)).encode()
                parts.append((f"{name}.json", "application/json", content))
            elif name in outputs:
                driver, ending = _format(media)
                content = _image(outputs[name], values[name], ask, driver)
                parts.append((f"{name}.{ending}", media, content))
            else:
                raise BoomError(f"Output {name} requested but missing from function setup()")
        count = len(samples) if isinstance(samples, list) else 1
        headers = {"x-processingunits-spent": str(_units(ask, script, count))}
        if len(parts) > 1:
            return Response(_tar(parts), media_type=_TAR, headers=headers)
        return Response(parts[0][2], media_type=parts[0][1], headers=headers)

    def _scenes(
        self, ask: Ask, script: Evalscript, tiles: list[Tile]
    ) -> tuple[Mapping[str, Any], Samples]:
        """Scenes as the script sees them, and the samples that it is called with."""
        mode = script.setup.mosaicking
        units = list(script.setup.units.items())
        by_fact: dict[str, list[Tile]] = {}
        for tile in tiles:
            by_fact.setdefault(_key(mode, tile), []).append(tile)
        groups = {key: _facts(mode, members) for key, members in by_fact.items()}
        name = "orbits" if mode == "ORBIT" else "tiles"
        kept = list(groups)
        if mode != "SIMPLE":
            span = {"from": ask.start.isoformat(), "to": ask.end.isoformat()}
            left = script.kept({**span, "scenes": {name: list(groups.values())}})["scenes"][name]
            kept = [key for facts in left for key, one in groups.items() if one is facts]
        drawn = {
            key: mosaicked([sample_of(tile, units, ask, self._world) for tile in by_fact[key]])
            for key in kept
        }
        if mode != "SIMPLE":
            return {name: [groups[key] for key in kept]}, [drawn[key] for key in kept]
        return {}, drawn[kept[0]] if kept else blank(units, ask)


def _key(mode: str, tile: Tile) -> str:
    """What is flattened into one sample: everything, a day, or a scene."""
    facts = tile.facts
    return {"SIMPLE": "", "ORBIT": str(facts["date"])[:10], "TILE": str(facts["dataPath"])}[mode]


def _facts(mode: str, tiles: list[Tile]) -> dict[str, Any]:
    if mode != "ORBIT":
        return tiles[0].facts
    day = str(tiles[0].facts["date"])[:10]
    return {
        "dateFrom": f"{day}T00:00:00Z",
        "dateTo": f"{day}T23:59:59Z",
        "tiles": [tile.facts for tile in tiles],
    }


def _image(output: Output, values: NDArray[np.float64], ask: Ask, driver: str) -> bytes:
    axes = ask.axes
    pixels = output.pixels(values).reshape(output.bands, axes.height, axes.width)
    if driver != "GTiff" and (output.dtype != np.uint8 or output.bands not in (1, 3, 4)):
        raise BoomError(f"{driver} cannot hold {output.bands} bands of {output.sample_type}")
    place = {
        "crs": axes.crs,
        "transform": Affine(axes.dx, 0, axes.x0 - axes.dx / 2, 0, axes.dy, axes.y0 - axes.dy / 2),
        "nodata": output.nodata,
    }
    profile = {"driver": driver, "count": output.bands, "dtype": output.dtype.name}
    with MemoryFile() as memory:
        with memory.open(
            height=axes.height,
            width=axes.width,
            **profile,
            **(place if driver == "GTiff" else {}),
        ) as image:
            image.write(pixels)
        content: bytes = memory.read()
    return content


def _format(media: str) -> tuple[str, str]:
    if media not in _FORMATS:
        raise BoomError(f"Unsupported format {media}", where="output->responses->format")
    return _FORMATS[media]


def _tar(parts: list[tuple[str, str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, _, content in parts:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _units(ask: Ask, script: Evalscript, samples: int) -> float:
    """Processing units spent, as the service counts them."""
    area = max(ask.axes.width * ask.axes.height / _UNIT_PX, 0.01)
    bands = max(len(script.setup.units.keys() - {"dataMask"}), 1)
    wide = max(2.0 if one.sample_type == "FLOAT32" else 1.0 for one in script.setup.outputs)
    return round(max(area * bands / 3 * wide * max(samples, 1), 0.005), 6)


def _boom(status: int, reason: str, code: str) -> Response:
    error = {"status": status, "reason": reason, "message": reason, "code": code}
    return JSONResponse({"error": error}, status)
