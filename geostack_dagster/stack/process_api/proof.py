"""Proof that the Process API takes the credential and sees the scenes that its catalogue listed."""

import io
import json
import math
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pyproj import CRS

from geostack_dagster.auth.signer import Signer
from geostack_dagster.domain.grid import Grid
from geostack_dagster.errors import AssetError
from geostack_dagster.providers import provider_named
from geostack_dagster.stack.process_api.evalscript import same_scene
from geostack_dagster.stack.process_api.rendering import Rendering, renderings, scene_of
from geostack_dagster.stack.process_api.service import ProcessService
from geostack_dagster.stack.recipe import Recipe

# The service renders Sentinel-2 with pixels of at most 1500 m.
_COARSE_M = 1000.0
_METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What the service sees of a Recipe."""

    missing: tuple[str, ...]
    """Items that it has no scene for."""
    bytes_read: int
    seconds: float


def sight(recipe: Recipe, signer: Signer) -> Sight:
    """What the service sees: one small request for each collection of a Recipe with Items.

    A scene that catalogue and renderer call by different names would otherwise come as nodata.

    Raises:
        AssetError, ConfigurationError, CredentialError, ServiceError: As every request.
    """
    service, start = ProcessService(provider_named(recipe.provider), signer), time.perf_counter()
    paths = [
        path
        for inquiry in _inquiries(recipe)
        for path in service.post(inquiry.inquiry(), "application/x-tar", _paths)
    ]
    missing = [
        item.id
        for item in recipe.items
        if not any(same_scene(path, scene_of(item)) for path in paths)
    ]
    return Sight(
        missing=tuple(missing),
        bytes_read=service.traffic.bytes,
        seconds=time.perf_counter() - start,
    )


def _inquiries(recipe: Recipe) -> Iterator[Rendering]:
    """Over the whole grid and all days at once, but only one band, coarsely."""
    for collection in recipe.collections:
        items = tuple(item for item in recipe.items if item.collection == collection)
        if items:
            only = replace(recipe, items=items)
            asked = next(renderings(only, items[0].day, coarse(recipe.grid)))
            times = [item.acquired for item in items]
            yield replace(
                asked,
                bands=asked.bands[:1],
                scenes=tuple(dict.fromkeys(scene_of(item) for item in items)),
                acquired=(min(times), max(times)),
            )


def coarse(grid: Grid) -> Grid:
    """The same ground in pixels of about a kilometre, and at most one pixel more."""
    crs = CRS.from_user_input(grid.crs)
    unit_m = _METRES_PER_DEGREE if crs.is_geographic else crs.axis_info[0].unit_conversion_factor
    factor = max(1, math.floor(_COARSE_M / (grid.resolution * unit_m)))
    return replace(
        grid,
        resolution=grid.resolution * factor,
        width=math.ceil(grid.width / factor),
        height=math.ceil(grid.height / factor),
    )


def _paths(data: bytes) -> list[str]:
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as parts:
            said = parts.extractfile("userdata.json")
            found = json.loads(said.read())["paths"] if said is not None else None
    except (tarfile.TarError, ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, list) or not all(isinstance(path, str) for path in found):
        raise AssetError("the service did not answer with the places of its scenes")
    return found
