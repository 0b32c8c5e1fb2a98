"""The Recipe: everything that decides which pixels a stack will hold, as plain JSON.

A Recipe stands alone: opening it needs neither the snapshot nor the catalogue. It holds canonical
hrefs only; credentials are resolved when chunks are read.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Self

from geostack_dagster.domain.days import Window
from geostack_dagster.domain.documents import read_back
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.hrefs import Href
from geostack_dagster.domain.item import Projection, number
from geostack_dagster.domain.radiometry import Radiometry
from geostack_dagster.errors import ConfigurationError, IntegrityError, Reason
from geostack_dagster.providers.provider import ClearClasses
from geostack_dagster.stack.encoding import Encoding

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the pixels of one band of one Item lie, and what their numbers mean."""

    href: Href
    key: str
    """Asset key in the provider's Item."""
    index: int = 1
    """Band number inside the file, 1-based."""
    dtype: str | None
    nodata: float | None
    """Overrides what the file says; None takes the file's."""
    radiometry: Radiometry
    projection: Projection
    notes: tuple[str, ...] = ()
    """What was not believed of the metadata, and why."""

    @property
    def from_header(self) -> tuple[str, ...]:
        """What has to be read from the file's header before a pixel can be placed."""
        stated = self.projection
        return tuple(
            name for name in ("crs", "shape", "transform") if getattr(stated, name) is None
        )

    def to_json(self) -> dict[str, Any]:
        """JSON form; `from_json` reads it back."""
        stated = self.projection
        return {
            "href": self.href,
            "key": self.key,
            "index": self.index,
            "dtype": self.dtype,
            "nodata": _json_number(self.nodata),
            "radiometry": self.radiometry.to_json(),
            "crs": stated.crs,
            "shape": None if stated.shape is None else list(stated.shape),
            "transform": None if stated.transform is None else list(stated.transform),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Source written by `to_json`."""
        shape, transform = document["shape"], document["transform"]
        return cls(
            href=Href(document["href"]),
            key=document["key"],
            index=document["index"],
            dtype=document["dtype"],
            nodata=number(document["nodata"]),
            radiometry=Radiometry.from_json(document["radiometry"]),
            projection=Projection(
                crs=document["crs"],
                shape=None if shape is None else (shape[0], shape[1]),
                transform=None if transform is None else tuple(transform),
            ),
            notes=tuple(document["notes"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeItem:
    """One Item's part of a stack."""

    id: str
    collection: str
    day: date
    """Local solar date, the stack's time."""
    acquired: datetime
    """UTC."""
    sources: Mapping[str, Source]
    """By the name of the band."""

    def to_json(self) -> dict[str, Any]:
        """JSON form; `from_json` reads it back."""
        return {
            "id": self.id,
            "collection": self.collection,
            "day": self.day.isoformat(),
            "acquired": self.acquired.isoformat(),
            "sources": {name: source.to_json() for name, source in self.sources.items()},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Item written by `to_json`."""
        sources = document["sources"]
        return cls(
            id=document["id"],
            collection=document["collection"],
            day=date.fromisoformat(document["day"]),
            acquired=datetime.fromisoformat(document["acquired"]),
            sources={name: Source.from_json(source) for name, source in sources.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetBand:
    """One variable of the stack."""

    name: str
    encoding: Encoding
    resampling: str
    long_name: str
    wavelength_nm: float | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON form; `from_json` reads it back."""
        document = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**document, "encoding": self.encoding.to_json()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Band written by `to_json`."""
        return cls(**{**document, "encoding": Encoding.from_json(document["encoding"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskPolicy:
    """Which pixels count as clear, and how far a cloud's surroundings are dropped."""

    classes: ClearClasses
    buffer_m: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """JSON form; `from_json` reads it back."""
        return {
            "band": self.classes.band,
            "keep": list(self.classes.keep),
            "buffer_around": list(self.classes.buffer_around),
            "buffer_m": self.buffer_m,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Policy written by `to_json`."""
        classes = ClearClasses(
            band=document["band"],
            keep=tuple(document["keep"]),
            buffer_around=tuple(document["buffer_around"]),
        )
        return cls(classes=classes, buffer_m=document["buffer_m"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An Item, or one band of it, that the stack does without, and why."""

    item: str
    band: str | None
    reason: str
    code: str = Reason.NO_ASSET
    """The reason in a word."""
    day: date | None = None
    """Solar day of the Item, where it is known."""
    tried: bool = False
    """Whether it should be there and could not be read."""

    def to_json(self) -> dict[str, Any]:
        """JSON form; `from_json` reads it back."""
        return {
            "item": self.item,
            "band": self.band,
            "reason": self.reason,
            "code": self.code,
            "day": None if self.day is None else self.day.isoformat(),
            "tried": self.tried,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """What `to_json` wrote."""
        day = document.get("day")
        return cls(**{**document, "day": None if day is None else date.fromisoformat(day)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What will be read, onto which grid, and in which encoding.

    `items` are in the order of day, acquisition and id. Where Items of one day overlap, the first
    valid pixel in this order counts, in every loader.
    """

    provider: str
    collections: tuple[str, ...]
    snapshot: str
    """Content fingerprint of the snapshot that the Items come from."""
    grid: Grid
    window: Window
    bands: tuple[TargetBand, ...]
    items: tuple[RecipeItem, ...]
    mask: MaskPolicy | None = None
    loader: str = "odc"
    skipped: tuple[Skipped, ...] = field(default=())
    made_by: str = ""
    """Version of the code and settings that made it; not of the pixels."""

    @property
    def days(self) -> tuple[date, ...]:
        """Solar days that have at least one Item, in order: the stack's time axis."""
        return tuple(sorted({item.day for item in self.items}))

    @property
    def fingerprint(self) -> str:
        """Digest of what decides the pixels: equal Recipes read equal stacks.

        Reasons, notes and the snapshot's own fingerprint do not count: a snapshot in which only
        other properties changed gives the same Recipe.
        """
        return fingerprint({"format": _FORMAT, **self._pixels()})

    def band(self, name: str) -> TargetBand:
        """The band of that name, which must be one of `bands`."""
        return next(band for band in self.bands if band.name == name)

    def select(self, names: Sequence[str] | None) -> tuple[TargetBand, ...]:
        """The bands of these names, in their order; all bands for None.

        Raises:
            ConfigurationError: If the Recipe lacks one.
        """
        held = {band.name: band for band in self.bands}
        unknown = [name for name in names or () if name not in held]
        if unknown:
            raise ConfigurationError(
                f"the recipe has no band {', '.join(unknown)}; it has {', '.join(held)}"
            )
        return self.bands if names is None else tuple(held[name] for name in names)

    def on_day(self, day: date, band: str) -> tuple[Source, ...]:
        """Sources of a band on a solar day, the one on top first."""
        return tuple(
            item.sources[band] for item in self.items if item.day == day and band in item.sources
        )

    def to_json(self) -> dict[str, Any]:
        """JSON form; `from_json` reads it back."""
        return {
            "format": _FORMAT,
            "provider": self.provider,
            "collections": list(self.collections),
            "snapshot": self.snapshot,
            "fingerprint": self.fingerprint,
            "grid": self.grid.to_json(),
            "window": [self.window.start.isoformat(), self.window.end.isoformat()],
            "bands": [band.to_json() for band in self.bands],
            "mask": None if self.mask is None else self.mask.to_json(),
            "loader": self.loader,
            "made_by": self.made_by,
            "items": [item.to_json() for item in self.items],
            "skipped": [one.to_json() for one in self.skipped],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Recipe written by `to_json`.

        Raises:
            IntegrityError: If it was written by another version, or its content was changed.
        """
        if document.get("format") != _FORMAT:
            raise IntegrityError(
                f"the recipe has format {document.get('format')!r}, this version reads {_FORMAT}; "
                "materialize the stack again"
            )
        start, end = (date.fromisoformat(day) for day in document["window"])
        mask = document["mask"]
        recipe = cls(
            provider=document["provider"],
            collections=tuple(document["collections"]),
            snapshot=document["snapshot"],
            grid=Grid.from_json(document["grid"]),
            window=Window(start, end),
            bands=tuple(TargetBand.from_json(band) for band in document["bands"]),
            items=tuple(RecipeItem.from_json(item) for item in document["items"]),
            mask=None if mask is None else MaskPolicy.from_json(mask),
            loader=document["loader"],
            skipped=tuple(Skipped.from_json(one) for one in document["skipped"]),
            made_by=document.get("made_by", ""),
        )
        if recipe.fingerprint != document["fingerprint"]:
            raise IntegrityError(
                f"the recipe says its fingerprint is {document['fingerprint']}, its content gives "
                f"{recipe.fingerprint}; it was edited or cut: materialize the stack again"
            )
        return recipe

    def dumps(self) -> str:
        """The JSON text."""
        return json.dumps(self.to_json(), allow_nan=False, separators=(",", ":"))

    @classmethod
    def loads(cls, text: str | bytes) -> Self:
        """Recipe of a JSON text written by `dumps`.

        Raises:
            DamagedError: If it is not JSON, or lacks something.
            IntegrityError: As `from_json` raises it.
        """
        return read_back(text, "the recipe", cls.from_json, remedy="materialize the stack again")

    def _pixels(self) -> dict[str, Any]:
        return {
            "provider": self.provider,
            "grid": self.grid.to_json(),
            "window": [self.window.start, self.window.end],
            "bands": [band.to_json() for band in self.bands],
            "mask": None if self.mask is None else self.mask.to_json(),
            "loader": self.loader,
            "items": [
                [item.id, item.day, item.acquired, _read_of(item.sources)] for item in self.items
            ],
        }


def _read_of(sources: Mapping[str, Source]) -> dict[str, Any]:
    return {
        name: [
            source.href,
            source.index,
            _json_number(source.nodata),
            source.radiometry.scale,
            source.radiometry.offset,
            source.projection.crs,
            source.projection.shape,
            source.projection.transform,
        ]
        for name, source in sources.items()
    }


def _json_number(value: float | None) -> float | str | None:
    return "nan" if value is not None and math.isnan(value) else value
