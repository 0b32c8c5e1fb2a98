"""What CMR offers of EMIT in sensor geometry: L1B granules, by the archive `earthaccess`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, partial

from geostack_dagster.domain.item import Item
from geostack_dagster.sandbox.emit_scenes import GRANULES, Granule
from geostack_dagster.sandbox.objects import Make, Stored, TileRenderer
from geostack_dagster.sandbox.places import LP_PROTECTED, LP_PUBLIC
from geostack_dagster.sandbox.service import Setting
from geostack_dagster.sandbox.world import World

_GATE = "https://data.lpdaac.earthdatacloud.nasa.gov"
_SHORT_NAME, _VERSION = "EMITL1BRAD", "001"
_ANEW = timedelta(days=200)
_FILES = (
    ("L1B_RAD", ".nc", LP_PROTECTED, "application/x-netcdf"),
    ("L1B_OBS", ".nc", LP_PROTECTED, "application/x-netcdf"),
    ("L1B_RAD", ".png", LP_PUBLIC, "image/png"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GranuleOffer:
    """One L1B granule; see `offer.Offer`. Its Item is what CMR's UMM document is made from."""

    granule: Granule
    revision: int = 1
    archive: str = "earthaccess"
    is_replaced: bool = True

    @property
    def is_late(self) -> bool:
        """Whether it is held back until it is let in."""
        return self.granule.is_late

    @property
    def name(self) -> str:
        """GranuleUR."""
        return self.granule.name("L1B_RAD", _VERSION)

    @property
    def updated(self) -> datetime:
        """When this revision was published."""
        return self.granule.published + (self.revision - 1) * _ANEW

    def item(self, world: World) -> Item:
        """Footprint, time and files, keyed by their names."""
        granule = self.granule
        return {
            "type": "Feature",
            "stac_version": "1.1.0",
            "id": self.name,
            "collection": f"{_SHORT_NAME}_{_VERSION}",
            "geometry": {"type": "Polygon", "coordinates": [[list(at) for at in granule.ring]]},
            "bbox": list(granule.bbox),
            "properties": {
                "datetime": _utc(granule.start),
                "start_datetime": _utc(granule.start),
                "end_datetime": _utc(granule.end),
                "created": _utc(granule.published),
                "updated": _utc(self.updated),
                "eo:cloud_cover": granule.cloud_cover,
                "version": str(self.revision),
            },
            "links": [],
            "assets": self._files(),
        }

    def objects(self, setting: Setting) -> Mapping[str, Make]:
        """The files by name."""
        return {
            name: cache(partial(_file, self.granule, setting.renderer, name))
            for name in self._files()
        }

    def reprocessed(self, baseline: str | None = None) -> "GranuleOffer":
        """The next revision of the same granule, under the same name."""
        return replace(self, revision=self.revision + 1)

    def _files(self) -> dict[str, dict[str, str]]:
        """Assets by the name of their file."""
        return {
            f"{self.granule.name(product, _VERSION)}{suffix}": {
                "href": f"{_GATE}/{bucket}/{_SHORT_NAME}.{_VERSION}/{self.name}/"
                f"{self.granule.name(product, _VERSION)}{suffix}",
                "type": media,
            }
            for product, suffix, bucket, media in _FILES
        }


def l1b_offers() -> Iterator[GranuleOffer]:
    """Every L1B granule, oldest first within an area."""
    return (GranuleOffer(granule=granule) for granule in GRANULES)


def _file(granule: Granule, renderer: TileRenderer, name: str) -> Stored | None:
    # Radiative transfer stands behind it, and JAX behind that: seconds that few sandboxes need.
    from geostack_dagster.sandbox.emit_files import l1b_files

    return l1b_files(granule, renderer)[name]()


def _utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
