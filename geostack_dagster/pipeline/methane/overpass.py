"""What a Sentinel-2 Item says of its pass: platform, orbit and angles, in each archive's words."""

import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from geostack_dagster.catalog.snapshot import read
from geostack_dagster.domain.days import Window, solar_day
from geostack_dagster.domain.item import Item, assets, item_id, moment, number, properties
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import IntegrityError
from geostack_dagster.inference.darkening import Geometry
from geostack_dagster.pipeline.methane.plan import Ask
from geostack_dagster.pipeline.plan import partition_dates

_PLATFORM = re.compile(r"(?:sentinel-2|s2)([a-z])", re.IGNORECASE)
_ORBIT = re.compile(r"_R(\d{3})_")
_SHORT_WAVE = re.compile(r"(?:^|_)B12(?:_|$)|^swir22$")
_USUAL_VIEW_ZENITH_DEG = 6.0
"""Middle of 0 to 11 degrees, for Items that do not say: less than 1 % of the air-mass factor."""


def items_of(ask: Ask, day: date) -> list[Item]:
    """Items of one solar day, from whichever partition's snapshot holds it; none if it is gone."""
    key = partition_dates(Window(day, day + timedelta(days=1)), ask.spec.cadence)[0]
    partition = Partition(ask.spec.name, ask.partition.aoi, key, ask.spec.cadence)
    try:
        items = read(ask.workspace.layout.snapshot(partition)).items
    except FileNotFoundError:
        return []
    longitude = ask.workspace.pinned(ask.partition.aoi).aoi.centre[0]
    return [item for item in items if solar_day(moment(item), longitude) == day]


def geometry_of(item: Item) -> Geometry:
    """Platform and angles.

    Raises:
        IntegrityError: If the Item does not tell the platform or the sun's height.
    """
    stated = properties(item)
    platform = _PLATFORM.search(str(stated.get("platform"))) or _PLATFORM.match(item_id(item))
    zenith = _solar_zenith(stated)
    if platform is None or zenith is None:
        lacking = "platform" if platform is None else "height of the sun"
        raise IntegrityError(
            f"{item_id(item)} does not tell the {lacking}: no methane column without it"
        )
    view = _view_zenith(item)
    return Geometry(
        platform=f"S2{platform[1].upper()}",
        solar_zenith_deg=zenith,
        view_zenith_deg=_USUAL_VIEW_ZENITH_DEG if view is None else view,
    )


def relative_orbit(item: Item) -> int | None:
    """Number of the ground track, 1 to 143; None where nothing tells it.

    Earth Search tells it by the product's name alone.
    """
    stated = properties(item)
    known = number(stated.get("sat:relative_orbit"))
    if known is not None:
        return int(known)
    named = _ORBIT.search(f"{item_id(item)} {stated.get('s2:product_uri')}")
    return int(named[1]) if named else None


def _solar_zenith(stated: Mapping[str, Any]) -> float | None:
    height = number(stated.get("view:sun_elevation"))
    return number(stated.get("s2:mean_solar_zenith")) if height is None else 90 - height


def _view_zenith(item: Item) -> float | None:
    """Of the short-wave band where assets have their own (CDSE), else of the Item."""
    for key, asset in assets(item).items():
        found = number(asset.get("view:incidence_angle"))
        if found is not None and _SHORT_WAVE.search(key):
            return found
    return number(properties(item).get("view:incidence_angle"))
