"""Requests to the Process API, understood or refused in the service's own words."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import shapely
from pyproj import CRS
from shapely.errors import GEOSException
from shapely.geometry.base import BaseGeometry

from geostack_dagster.domain.item import parse_datetime
from geostack_dagster.sandbox.sampling import Axes

COLLECTIONS = {"sentinel-2-l2a": "S2L2A", "sentinel-2-l1c": "S2L1C"}
"""Collections that this twin renders, with their older names."""
KERNELS = ("NEAREST", "BILINEAR", "BICUBIC")
_ORDERS = ("mostRecent", "leastRecent", "leastCC")
_MOST_PX, _DEFAULT_PX, _COARSEST_M = 2500, 256, 1500.0
_METRES_PER_DEGREE = 111_320.0
_CRS = re.compile(r"http://www\.opengis\.net/def/crs/(?:EPSG/0/(\d+)|OGC/1\.3/(CRS84))")
_KNOWN_CRS = {4326, 3857, 2154, 2180, 3035, 3346, 3416, 3765, 3794, 3844, 3912, 3995, 4026, 5514}
_UTM = {*range(32601, 32661), *range(32701, 32761)}


class BoomError(Exception):
    """A refusal: status, code and what to say."""

    def __init__(
        self, message: str, *, status: int = 400, code: str = "COMMON_BAD_PAYLOAD", where: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        error: dict[str, Any] = {
            "status": status,
            "reason": {400: "Bad Request", 500: "Internal Server Error"}[status],
            "message": message,
            "code": code,
        }
        if where:
            error["errors"] = [{"parameter": where, "violation": message}]
        self.body = {"error": error}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request."""

    collection: str
    start: datetime
    end: datetime
    most_cloud: float
    order: str
    harmonised: bool
    upsampling: str
    downsampling: str
    axes: Axes
    within: BaseGeometry | None
    """Ground outside of which nothing is rendered, in the CRS of the axes."""
    responses: tuple[tuple[str, str], ...]
    """Output and media type of each part of the answer."""
    script: str


def understood(content: bytes, accept: str) -> Ask:
    """What the body of a request asks for.

    Raises:
        BoomError: If it is not understood.
    """
    if not content:
        raise BoomError("Request body should be non-empty.")
    try:
        request = _object(json.loads(content), "request")
    except ValueError:
        raise BoomError("The request body is not JSON") from None
    inputs = _object(request.get("input"), "input")
    axes, within = _ground(_object(inputs.get("bounds"), "input->bounds"), request)
    data = inputs.get("data")
    if not isinstance(data, list) or len(data) != 1:
        raise BoomError("This sandbox renders one collection at a time", where="input->data")
    source = _object(data[0], "input->data[0]")
    collection = str(source.get("type"))
    if collection not in COLLECTIONS:
        raise BoomError(f"Dataset with id: {collection} not found.", code="RENDERER_EXCEPTION")
    chosen = _object(source.get("dataFilter", {}), "input->data[0]->dataFilter")
    processing = _object(source.get("processing", {}), "input->data[0]->processing")
    script = request.get("evalscript")
    if not isinstance(script, str) or not script.strip():
        raise BoomError("evalscript must not be empty", where="evalscript")
    start, end = _times(chosen)
    return Ask(
        collection=collection,
        start=start,
        end=end,
        most_cloud=float(chosen.get("maxCloudCoverage", 100)),
        order=_one_of(chosen.get("mosaickingOrder", "mostRecent"), _ORDERS, "mosaickingOrder"),
        harmonised=processing.get("harmonizeValues", True) is True,
        upsampling=_one_of(processing.get("upsampling", "NEAREST"), KERNELS, "upsampling"),
        downsampling=_one_of(processing.get("downsampling", "NEAREST"), KERNELS, "downsampling"),
        axes=axes,
        within=within,
        responses=_responses(request, accept),
        script=script,
    )


def _ground(bounds: Mapping[str, Any], request: Mapping[str, Any]) -> tuple[Axes, Any]:
    stated = _object(bounds.get("properties", {}), "input->bounds->properties")
    crs = _crs(stated.get("crs", "http://www.opengis.net/def/crs/OGC/1.3/CRS84"))
    within = None
    if bounds.get("geometry") is not None:
        within = _geometry(bounds["geometry"])
    bbox = bounds.get("bbox") or (None if within is None else list(within.bounds))
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
        raise BoomError("bbox or geometry must be specified", where="input->bounds")
    left, right = sorted((float(bbox[0]), float(bbox[2])))
    bottom, top = sorted((float(bbox[1]), float(bbox[3])))
    if left == right or bottom == top:
        raise BoomError("The bounding box has no area", where="input->bounds->bbox")
    output = _object(request.get("output", {}), "output")
    width = _size(output, "width", "resx", right - left)
    height = _size(output, "height", "resy", top - bottom)
    dx, dy = (right - left) / width, (top - bottom) / height
    _check_resolution(crs, max(dx, dy))
    axes = Axes(
        crs=crs, x0=left + dx / 2, y0=top - dy / 2, dx=dx, dy=-dy, width=width, height=height
    )
    return axes, within


def _crs(url: Any) -> str:
    found = _CRS.fullmatch(str(url))
    code = 0 if found is None else int(found[1] or 4326)
    if code not in _KNOWN_CRS | _UTM:
        raise BoomError(f"Unsupported CRS: {url}", where="input->bounds->properties->crs")
    return f"EPSG:{code}"


def _geometry(document: Any) -> BaseGeometry:
    try:
        return shapely.geometry.shape(document)
    except (GEOSException, AttributeError, KeyError, TypeError, ValueError):
        raise BoomError("Invalid geometry", where="input->bounds->geometry") from None


def _size(output: Mapping[str, Any], name: str, resolution: str, extent: float) -> int:
    if {"width", "height"} & output.keys() and {"resx", "resy"} & output.keys():
        raise BoomError("Only width and height or resx and resy can be set at the same time.")
    if output.get(resolution) is None:
        found = output.get(name, _DEFAULT_PX)
        if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= _MOST_PX:
            raise BoomError(
                f"The request image {name}. Must be an integer between 1 and {_MOST_PX}.",
                where=f"output->{name}",
            )
        return int(found)
    step = output[resolution]
    if not _is_number(step) or step <= 0:
        raise BoomError(f"{resolution} must be positive", where=f"output->{resolution}")
    size = max(1, math.floor(extent / float(step) + 0.5))
    if size > _MOST_PX:
        raise BoomError(
            f"`{name} = {size}`, calculated from {resolution}, is larger than allowed {_MOST_PX}.",
            where=f"output->{resolution}",
        )
    return size


def _check_resolution(crs: str, pixel: float) -> None:
    parsed = CRS.from_user_input(crs)
    pixel_m = pixel * (_METRES_PER_DEGREE if parsed.is_geographic else 1.0)
    if pixel_m > _COARSEST_M:
        raise BoomError(
            f"Your request of {pixel_m:.2f} meters per pixel exceeds the limit {_COARSEST_M:.2f} "
            "meters per pixel. Please revise the resolution (or size) of your request.",
            code="RENDERER_EXCEPTION",
        )


def _times(chosen: Mapping[str, Any]) -> tuple[datetime, datetime]:
    where = "input->data[0]->dataFilter->timeRange"
    span = _object(chosen.get("timeRange"), where)
    start, end = parse_datetime(span.get("from")), parse_datetime(span.get("to"))
    # A date without a time "will not work", says the reference.
    if start is None or end is None or any("T" not in str(span[name]) for name in ("from", "to")):
        raise BoomError(
            "timeRange needs dates with times, such as 2020-01-31T14:00:00Z", where=where
        )
    if end < start:
        raise BoomError("timeRange: from must not be after to", where=where)
    return start, end


def _responses(request: Mapping[str, Any], accept: str) -> tuple[tuple[str, str], ...]:
    entries = _object(request.get("output", {}), "output").get("responses")
    if not entries:
        media = accept if accept.startswith("image/") else "image/png"
        return (("default", media),)
    found = []
    for entry in entries:
        one = _object(entry, "output->responses")
        form = _object(one.get("format", {}), "output->responses->format")
        found.append((str(one.get("identifier", "default")), str(form.get("type", "image/png"))))
    if len(found) > 1 and accept not in ("application/tar", "application/x-tar"):
        raise BoomError(
            "Multiple responses need the Accept header application/tar or application/x-tar",
            where="output->responses",
        )
    return tuple(found)


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BoomError(f"{where} must be an object", where=where)
    return value


def _one_of(value: Any, known: tuple[str, ...], where: str) -> str:
    if value not in known:
        raise BoomError(f"{where} must be one of {', '.join(known)}", where=where)
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
