"""What LP DAAC and DLR offer of EMIT and EnMAP, and the troubles in it.

=============  ============================================================================
2024-06-13     EnMAP, Río Cuarto: no haze layer
2024-06-18     mostly cloudy
2024-06-28     EMIT lists no plumes over either area, nor on any other day without emission
2024-07-08     EMIT, Emmental: two granules of one orbit, whose border runs through the area
2024-07-13     late: in no catalogue until it arrives
=============  ============================================================================

EMIT processed anew keeps its name and, as CMR-STAC says nothing of versions, its Item; EnMAP
processed anew takes the place of the old Item under a new name.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

from geostack_dagster.domain.hrefs import basename
from geostack_dagster.domain.item import Item, assets
from geostack_dagster.sandbox.cmr_stac_items import enhancement_item, plume_item, radiance_item
from geostack_dagster.sandbox.emit_files import ch4enh_files, ch4plm_files, l1b_files
from geostack_dagster.sandbox.emit_plumes import COMPLEXES, PlumeComplex, complexes_over
from geostack_dagster.sandbox.emit_scenes import FIELD_GRANULES, GRANULES, Granule
from geostack_dagster.sandbox.enmap_files import enmap_files
from geostack_dagster.sandbox.enmap_items import enmap_item
from geostack_dagster.sandbox.enmap_quicklooks import quicklook_item
from geostack_dagster.sandbox.enmap_scenes import SCENES, Scene
from geostack_dagster.sandbox.objects import Make, TileRenderer
from geostack_dagster.sandbox.service import Setting
from geostack_dagster.sandbox.world import World

_ANEW = timedelta(days=200)
_INCOMPLETE = ("rio_cuarto", date(2024, 6, 13))
_LACKING = ("quality_haze",)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmitOffer[T]:
    """One product of EMIT at LP DAAC; see `offer.Offer`."""

    source: T
    granule: Granule
    write: Callable[[T], Item]
    files: Callable[[T, TileRenderer], Mapping[str, Make]]
    archive: str = "lpcloud"
    is_replaced: bool = True

    @property
    def is_late(self) -> bool:
        """Whether it is held back until it is let in."""
        return self.granule.is_late

    def item(self, world: World) -> Item:
        """The Item in the archive's dialect."""
        return self.write(self.source)

    def objects(self, setting: Setting) -> Mapping[str, Make]:
        """Files, by the keys of both assets that lead to each."""
        files = self.files(self.source, setting.renderer)
        named = {
            key: basename(str(asset["href"]))
            for key, asset in assets(self.write(self.source)).items()
        }
        return {key: files[name] for key, name in named.items() if name in files}

    def reprocessed(self, baseline: str | None = None) -> "EmitOffer[T]":
        """The same granule."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class EnmapOffer:
    """One Level-2A scene of EnMAP at DLR; see `offer.Offer`."""

    scene: Scene
    archive: str = "enmap"
    is_replaced: bool = True

    @property
    def is_late(self) -> bool:
        """Whether it is held back until it is let in."""
        return self.scene.is_late

    def item(self, world: World) -> Item:
        """The Item in the archive's dialect."""
        is_whole = (self.scene.aoi, self.scene.day) != _INCOMPLETE
        return enmap_item(self.scene, without=() if is_whole else _LACKING)

    def objects(self, setting: Setting) -> Mapping[str, Make]:
        """Files by asset key."""
        return enmap_files(self.scene, setting.renderer)

    def reprocessed(self, baseline: str | None = None) -> "EnmapOffer":
        """The same scene under a new name."""
        scene = self.scene
        return replace(self, scene=replace(scene, renewed_after=scene.renewed_after + _ANEW))


@dataclass(frozen=True, slots=True, kw_only=True)
class QuicklookOffer:
    """Level-0 quicklooks of a scene at DLR, of which there is but the Item; see `offer.Offer`."""

    scene: Scene
    archive: str = "enmap"
    is_replaced: bool = True

    @property
    def is_late(self) -> bool:
        """Whether it is held back until it is let in."""
        return self.scene.is_late

    def item(self, world: World) -> Item:
        """The Item in the archive's dialect."""
        return quicklook_item(self.scene)

    def objects(self, setting: Setting) -> Mapping[str, Make]:
        """None."""
        return {}

    def reprocessed(self, baseline: str | None = None) -> "QuicklookOffer":
        """The same."""
        return self


def emit_offers() -> Iterator[EmitOffer[Granule] | EmitOffer[PlumeComplex]]:
    """Every granule as radiance and as enhancement, and every plume."""
    for granule in GRANULES:
        yield EmitOffer(source=granule, granule=granule, write=radiance_item, files=l1b_files)
        yield EmitOffer(source=granule, granule=granule, write=enhancement_item, files=ch4enh_files)
    for plume in COMPLEXES:
        yield EmitOffer(source=plume, granule=plume.granule, write=plume_item, files=ch4plm_files)


def field_offers() -> Iterator[EmitOffer[Granule] | EmitOffer[PlumeComplex]]:
    """Enhancement of every pass over a field, and the plumes that an analyst would outline."""
    for granule in FIELD_GRANULES:
        yield EmitOffer(source=granule, granule=granule, write=enhancement_item, files=ch4enh_files)
        for plume in complexes_over(granule):
            yield EmitOffer(source=plume, granule=granule, write=plume_item, files=ch4plm_files)


def enmap_offers() -> Iterator[EnmapOffer | QuicklookOffer]:
    """Every scene, with its quicklooks."""
    for scene in SCENES:
        yield EnmapOffer(scene=scene)
        yield QuicklookOffer(scene=scene)
