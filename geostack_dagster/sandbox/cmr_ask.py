"""What a CMR search asks for: parameters of the query string or form, read as CMR reads them.

Source: CMR Search API documentation. Texts of errors follow it; none was recorded.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from geostack_dagster.domain.item import parse_datetime, properties
from geostack_dagster.sandbox.catalogue import BadRequestError, Record, area_of_bbox
from geostack_dagster.sandbox.umm import updated_of

PAGE, LARGEST_PAGE = 10, 2000
_ALWAYS = datetime(9999, 12, 31, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME = re.compile(r"(?P<name>[a-z_-]+)(?:\[\d*\])?")
_OPTION = re.compile(r"options\[(?P<name>[a-z_-]+)\]\[(?P<option>[a-z_-]+)\]")
_IGNORED = frozenset(
    {
        *("token", "pretty", "downloadable", "online_only", "browse_only", "day_night_flag"),
        *("platform", "instrument", "project", "has_granules", "include_granule_counts"),
        *("cloud_hosted", "orbit_number", "keyword", "data_center", "archive_center"),
    }
)
"""What the twin takes without a word: it holds nothing that they would keep out."""
_KNOWN = frozenset(
    {
        *("short_name", "version", "entry_title", "doi", "provider", "provider_short_name"),
        *("concept_id", "echo_collection_id", "collection_concept_id", "native_id"),
        *("granule_ur", "readable_granule_name", "producer_granule_id", "temporal"),
        *("bounding_box", "polygon", "point", "cloud_cover", "sort_key", "page_size"),
        *("page_num", "offset"),
    }
)
_COLLECTIONS = frozenset(
    {
        *("short_name", "entry_title", "provider", "provider_short_name", "concept_id"),
        *("echo_collection_id", "collection_concept_id", "doi", "granule_ur", "native_id"),
        *("readable_granule_name", "producer_granule_id"),
    }
)


class AskError(Exception):
    """The search cannot be understood; the messages go to the client."""

    def __init__(self, *texts: str) -> None:
        super().__init__(*texts)
        self.texts = list(texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A search, taken apart."""

    values: Mapping[str, tuple[str, ...]]
    patterns: frozenset[str] = frozenset()
    """Parameters whose values are globs."""
    page_size: int = PAGE
    skipped: int = 0
    areas: tuple[BaseGeometry, ...] = ()
    """A granule touches each of them."""
    start: datetime = _EPOCH
    end: datetime = _ALWAYS
    cloud: tuple[float, float] | None = None
    sort: tuple[tuple[str, bool], ...] = field(default=())
    """Key and whether it descends."""

    def admits(self, name: str, *found: str) -> bool:
        """Whether a parameter is absent, or one of its values is one of those found."""
        wanted = self.values.get(name)
        if wanted is None:
            return True
        if name in self.patterns:
            return any(fnmatchcase(one, glob) for one in found for glob in wanted)
        return any(one.lower() == value.lower() for one in found for value in wanted)


def asked(pairs: list[tuple[str, str]], *, for_granules: bool) -> Asked:
    """The search that these parameters mean.

    Raises:
        AskError: If one is unknown or has a value that CMR refuses.
    """
    values, patterns = _sorted_out(pairs)
    if for_granules and not _COLLECTIONS & values.keys():
        raise AskError(
            "The CMR does not allow querying across granules in all collections. You should limit "
            "your query using conditions that identify one or more collections, such as provider, "
            "concept_id, short_name, or entry_title."
        )
    start, end = _span(values.get("temporal", ()))
    page_size = _whole(values, "page_size", PAGE)
    if page_size > LARGEST_PAGE:
        raise AskError(f"page_size must be a number between 0 and {LARGEST_PAGE}")
    page = _whole(values, "page_num", 1)
    return Asked(
        values=values,
        patterns=patterns,
        page_size=page_size,
        skipped=_whole(values, "offset", page_size * (page - 1)),
        areas=tuple(_areas(values)),
        start=start,
        end=end,
        cloud=_cloud(values.get("cloud_cover")),
        sort=tuple(_sort_keys(values.get("sort_key", ()))),
    )


def _sorted_out(
    pairs: list[tuple[str, str]],
) -> tuple[dict[str, tuple[str, ...]], frozenset[str]]:
    """Values by name without brackets, and the names whose values are patterns."""
    values: dict[str, tuple[str, ...]] = {}
    patterns, unknown = set(), []
    for raw, value in pairs:
        option = _OPTION.fullmatch(raw)
        if option is not None:
            if (option["option"], value.lower()) == ("pattern", "true"):
                patterns.add(option["name"])
            continue
        found = _NAME.fullmatch(raw)
        name = found["name"].replace("-", "_") if found else raw
        if name in _KNOWN:
            values[name] = (*values.get(name, ()), value)
        elif name not in _IGNORED:
            unknown.append(f"Parameter [{raw}] was not recognized.")
    if unknown:
        raise AskError(*unknown)
    return values, frozenset(patterns)


def _whole(values: Mapping[str, tuple[str, ...]], name: str, usual: int) -> int:
    stated = values.get(name, (str(usual),))[-1]
    if not stated.isdigit():
        raise AskError(f"{name} must be a number between 0 and {LARGEST_PAGE}")
    return int(stated)


def _span(stated: tuple[str, ...]) -> tuple[datetime, datetime]:
    """The last range counts; `a,b` and `a/b` are both understood, ends may be absent."""
    if not stated:
        return _EPOCH, _ALWAYS
    first, _, last = stated[-1].replace("/", ",").partition(",")
    start, end = _moment(first, _EPOCH, "start"), _moment(last.split(",")[0], _ALWAYS, "end")
    if start > end:
        raise AskError(f"start_date [{first}] must be before end_date [{last}]")
    return start, end


def _moment(text: str, usual: datetime, which: str) -> datetime:
    if not text:
        return usual
    found = parse_datetime(text)
    if found is None:
        raise AskError(f"temporal {which} datetime is invalid: [{text}] is not a valid datetime.")
    return found


def _cloud(stated: tuple[str, ...] | None) -> tuple[float, float] | None:
    if stated is None:
        return None
    low, _, high = stated[-1].partition(",")
    try:
        return float(low or "-inf"), float(high or "inf")
    except ValueError as error:
        raise AskError(
            f"Cloud Cover values [{stated[-1]}] must be numeric, and between 0 and 100."
        ) from error


def _sort_keys(stated: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    for key in stated:
        name = key.lstrip("+-")
        if name not in SORTABLE:
            raise AskError(f"The key [{name}] is not a valid field for sorting granules.")
        yield name, key.startswith("-")


def _areas(values: Mapping[str, tuple[str, ...]]) -> Iterator[BaseGeometry]:
    """One area for each parameter: any of its values will do."""
    for name, shape in _SHAPES.items():
        if name in values:
            yield shapely.union_all([shape(text, _degrees(name, text)) for text in values[name]])


def _degrees(name: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise AskError(f"[{text}] is not a valid URL encoded {name}") from error


def _box(text: str, degrees: list[float]) -> BaseGeometry:
    if len(degrees) != 4:
        raise AskError(f"[{text}] is not a valid URL encoded bounding_box")
    try:
        return area_of_bbox(degrees)
    except BadRequestError as error:
        raise AskError(
            "The bounding rectangle north value must be greater than or equal to the south value."
        ) from error


def _point(text: str, degrees: list[float]) -> BaseGeometry:
    if len(degrees) != 2:
        raise AskError(f"[{text}] is not a valid URL encoded point")
    return shapely.Point(degrees)


def _polygon(text: str, degrees: list[float]) -> BaseGeometry:
    if len(degrees) < 8 or len(degrees) % 2:
        raise AskError(f"[{text}] is not a valid URL encoded polygon")
    points = list(zip(degrees[::2], degrees[1::2], strict=True))
    if points[0] != points[-1]:
        raise AskError("Polygon was not closed. The first and last points were not equal.")
    found = shapely.Polygon(points)
    if not found.exterior.is_ccw:
        raise AskError(
            "The polygon boundary points are listed in the wrong order (clockwise vs counter "
            "clockwise). Please see the API documentation for the correct order."
        )
    return found


_SHAPES: Mapping[str, Callable[[str, list[float]], BaseGeometry]] = {
    "bounding_box": _box,
    "point": _point,
    "polygon": _polygon,
}
SORTABLE: Mapping[str, Callable[[Record], Any]] = {
    "start_date": lambda record: record.start,
    "end_date": lambda record: record.end,
    "revision_date": lambda record: updated_of(record.item),
    "cloud_cover": lambda record: properties(record.item).get("eo:cloud_cover", -1),
    "granule_ur": lambda record: record.key[1].lower(),
    "readable_granule_name": lambda record: record.key[1].lower(),
    "producer_granule_id": lambda record: record.key[1].lower(),
    "short_name": lambda record: record.key[0].lower(),
    "provider": lambda record: "",  # there is one
}
"""What granules can be sorted by."""
