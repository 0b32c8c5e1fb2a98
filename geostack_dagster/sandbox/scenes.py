"""The catalogue the world offers of Sentinel-2: two tiles, nine overpasses, four archives.

And a third tile in the desert, which only the Copernicus Data Space offers, as Level-1C: ground
where Sentinel-2 sees methane. And their troubles; those of EMIT and EnMAP are in
`spectrometer_offers.py`.

=============  ============================================================================
2024-06-08     20HNJ: swath edge through the AOI, nodata west of it
2024-06-13     Planetary Computer, 32TMT: baseline 02.12, without the offset of 1000
2024-06-18     mostly cloudy
2024-06-23     Earth Search, 32TMT: `_0_` (02.14) and `_1_` (05.10) of one acquisition
2024-06-28     CDSE, 32TMT, Level-2A: N0510 and its reprocessing N0511, both listed
2024-07-13     late: in no catalogue until it arrives
=============  ============================================================================
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

from geostack_dagster.domain.item import Item
from geostack_dagster.sandbox.acquisition import Acquisition, Processing, Tile
from geostack_dagster.sandbox.cdse_items import cdse_l1c_item, cdse_l2a_item
from geostack_dagster.sandbox.earth_search_items import earth_search_item
from geostack_dagster.sandbox.objects import Make
from geostack_dagster.sandbox.planetary_items import planetary_item
from geostack_dagster.sandbox.sentinel_hub_items import (
    sentinel_hub_l1c_item,
    sentinel_hub_l2a_item,
)
from geostack_dagster.sandbox.service import Setting
from geostack_dagster.sandbox.world import World

EMMENTAL = Tile(
    name="32TMT",
    epsg=32632,
    origin=(399960.0, 5300040.0),
    relative_orbit=108,
    datatake=timedelta(hours=10, minutes=30, seconds=21),
    datastrip_delay=timedelta(minutes=1, seconds=49),
    sensing_delay=timedelta(minutes=7, seconds=18, milliseconds=586),
)
RIO_CUARTO = Tile(
    name="20HNJ",
    epsg=32720,
    origin=(499980.0, 6400000.0),
    relative_orbit=67,
    datatake=timedelta(hours=13, minutes=57, seconds=1),
    datastrip_delay=timedelta(minutes=9, seconds=35),
    sensing_delay=timedelta(minutes=14, seconds=51, milliseconds=463),
)
KORPEZHE = Tile(
    name="40SBH",
    epsg=32640,
    origin=(199980.0, 4300020.0),
    relative_orbit=106,
    datatake=timedelta(hours=7, minutes=6, seconds=21),
    datastrip_delay=timedelta(minutes=2, seconds=5),
    sensing_delay=timedelta(minutes=10, seconds=42, milliseconds=110),
)
_FIRST = date(2024, 6, 3)
_REVISIT = timedelta(days=5)
_OVERPASSES = 9
_LATE = date(2024, 7, 13)
_OLD_BASELINE = date(2024, 6, 13)
_DUPLICATED = date(2024, 6, 23)
_REPROCESSED_AT_CDSE = date(2024, 6, 28)
_CUT = date(2024, 6, 8)
# Ground seen east of a swath edge; as of the recorded pass of 2024-03-11 over 20HNJ.
_SWATH = (
    (-62.51540735, -32.5364306),
    (-62.81751703, -33.52764405),
    (-61.81785594, -33.52213684),
    (-61.83100326, -32.53193088),
    (-62.51540735, -32.5364306),
)
_NOMINAL = Processing(baseline="05.10", delay=timedelta(hours=4, minutes=27, seconds=40))
_ESRI = Processing(baseline="02.12", delay=timedelta(days=50, hours=22))
_FIRST_RUN = Processing(baseline="02.14", delay=timedelta(hours=2, minutes=50))
_REPROCESSED = Processing(baseline="05.10", delay=timedelta(days=31), sequence=1)
_COLLECTION_2 = Processing(baseline="05.11", delay=timedelta(days=160, hours=3, minutes=12))
_LATER = Processing(baseline="05.11", delay=timedelta(days=200))

# By archive, level and day, over the first tile.
_SPECIAL: Mapping[tuple[str, str, date], tuple[Processing, ...]] = {
    ("planetary_computer", "L2A", _OLD_BASELINE): (_ESRI,),
    ("earth_search", "L2A", _DUPLICATED): (_FIRST_RUN, _REPROCESSED),
    ("cdse", "L2A", _REPROCESSED_AT_CDSE): (_NOMINAL, _COLLECTION_2),
}

type Writer = Callable[[Acquisition, Processing, World], Item]


@dataclass(frozen=True, slots=True)
class Product:
    """What an archive makes of an acquisition."""

    archive: str
    level: str
    write: Writer
    is_replaced: bool = False
    """Whether the archive takes the old Item away when it is processed anew."""


_PRODUCTS = (
    Product("planetary_computer", "L2A", planetary_item, is_replaced=True),
    Product("earth_search", "L2A", earth_search_item),
    Product("cdse", "L2A", cdse_l2a_item),
    Product("cdse", "L1C", cdse_l1c_item),
    Product("sentinel_hub", "L2A", sentinel_hub_l2a_item),
    Product("sentinel_hub", "L1C", sentinel_hub_l1c_item),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOffer:
    """A Sentinel-2 Item that an archive has or will have; see `offer.Offer`."""

    product: Product
    acquisition: Acquisition
    processing: Processing

    @property
    def archive(self) -> str:
        """Our name of the provider."""
        return self.product.archive

    @property
    def is_late(self) -> bool:
        """Whether it is held back until it is let in."""
        return self.acquisition.day == _LATE

    def item(self, world: World) -> Item:
        """The Item in the archive's dialect."""
        return self.product.write(self.acquisition, self.processing, world)

    def objects(self, setting: Setting) -> Mapping[str, Make]:
        """Nothing: all assets are rendered from what the Item states."""
        return {}

    @property
    def is_replaced(self) -> bool:
        """Whether the archive takes the old Item away when it is processed anew."""
        return self.product.is_replaced

    def reprocessed(self, baseline: str | None = None) -> "SceneOffer":
        """The same acquisition processed anew, numbered after this one."""
        later = replace(
            _LATER,
            baseline=baseline or _LATER.baseline,
            delay=max(_LATER.delay, self.processing.delay + timedelta(days=30)),
            sequence=self.processing.sequence + 1,
        )
        return replace(self, processing=later)


def sentinel2_offers() -> Iterator[SceneOffer]:
    """Every Item of the synthetic catalogue, oldest first."""
    for tile in (EMMENTAL, RIO_CUARTO, KORPEZHE):
        for number in range(_OVERPASSES):
            day = _FIRST + number * _REVISIT
            acquisition = Acquisition(
                tile=tile,
                day=day,
                platform=("S2A", "S2B")[number % 2],
                cut=_SWATH if (tile, day) == (RIO_CUARTO, _CUT) else (),
            )
            for product in _PRODUCTS:
                if tile == KORPEZHE and (product.archive, product.level) != ("cdse", "L1C"):
                    continue
                for processing in _processings(product, acquisition):
                    yield SceneOffer(
                        product=product, acquisition=acquisition, processing=processing
                    )


def _processings(product: Product, acquisition: Acquisition) -> tuple[Processing, ...]:
    if acquisition.tile == EMMENTAL:
        where = (product.archive, product.level, acquisition.day)
        return _SPECIAL.get(where, (_NOMINAL,))
    return (_NOMINAL,)
