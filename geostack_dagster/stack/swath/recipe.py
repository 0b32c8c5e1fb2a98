"""The Recipe of a swath stack: which lines, columns and bands of which granules, as plain JSON.

Like the Recipe of a grid stack it stands alone and holds canonical hrefs only.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any, Self

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.days import Window
from geostack_dagster.domain.documents import read_back
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.hrefs import Href
from geostack_dagster.domain.swath import SwathChoice
from geostack_dagster.errors import IntegrityError
from geostack_dagster.stack.recipe import Skipped

_FORMAT = "swath 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SwathSource:
    """One file of a granule."""

    href: Href
    key: str
    """Asset key in the provider's Item."""
    size: int | None = None
    """[bytes], as the Item states it."""
    checksum: str | None = None
    """Multihash, as the Item states it; a file that was replaced in its place has another."""

    def to_json(self) -> dict[str, Any]:
        """JSON form; `SwathSource(**document)` reads it back."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The part of a granule that is read; each span has a start and a stop."""

    shape: tuple[int, int, int]
    """Lines, columns and bands of the whole granule."""
    rows: tuple[int, int]
    columns: tuple[int, int]
    bands: tuple[tuple[int, int], ...]
    """Spans of bands, in order."""

    @property
    def band_indices(self) -> tuple[int, ...]:
        """Index of every band, 0-based."""
        return tuple(index for start, stop in self.bands for index in range(start, stop))

    def to_json(self) -> dict[str, Any]:
        """JSON form; `from_json` reads it back."""
        return {
            "shape": list(self.shape),
            "rows": list(self.rows),
            "columns": list(self.columns),
            "bands": [list(span) for span in self.bands],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Part written by `to_json`."""
        lines, columns, bands = document["shape"]
        return cls(
            shape=(lines, columns, bands),
            rows=(document["rows"][0], document["rows"][1]),
            columns=(document["columns"][0], document["columns"][1]),
            bands=tuple((start, stop) for start, stop in document["bands"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SwathItem:
    """One granule's part of a stack."""

    id: str
    day: date
    """Local solar date."""
    acquired: datetime
    """UTC."""
    sources: Mapping[str, SwathSource]
    """By the name of the band that names the file."""
    sun_zenith_deg: float | None = None
    """As the Item states it for the granule as a whole."""
    part: Part | None = None
    """None until the granule's own arrays have told where the AOI is."""

    @property
    def content(self) -> list[Any]:
        """What decides its values, for a fingerprint."""
        files = {
            name: [source.href, source.size, source.checksum]
            for name, source in self.sources.items()
        }
        part = None if self.part is None else self.part.to_json()
        return [self.id, self.day, self.acquired, files, self.sun_zenith_deg, part]

    def to_json(self) -> dict[str, Any]:
        """JSON form; `from_json` reads it back."""
        return {
            "id": self.id,
            "day": self.day.isoformat(),
            "acquired": self.acquired.isoformat(),
            "sources": {name: source.to_json() for name, source in self.sources.items()},
            "sun_zenith_deg": self.sun_zenith_deg,
            "part": None if self.part is None else self.part.to_json(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Item written by `to_json`."""
        part = document["part"]
        return cls(
            id=document["id"],
            day=date.fromisoformat(document["day"]),
            acquired=datetime.fromisoformat(document["acquired"]),
            sources={name: SwathSource(**one) for name, one in document["sources"].items()},
            sun_zenith_deg=document["sun_zenith_deg"],
            part=None if part is None else Part.from_json(part),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SwathRecipe:
    """What will be read of which granules; `items` are in the order of acquisition, then id."""

    provider: str
    collection: str
    snapshot: str
    """Content fingerprint of the snapshot that the Items come from."""
    aoi: AOI
    window: Window
    choice: SwathChoice
    items: tuple[SwathItem, ...]
    question: str
    """Digest of what was asked of which files; while it holds, no file is opened to look again."""
    skipped: tuple[Skipped, ...] = field(default=())
    made_by: str = ""
    """Version of the code and the spec that made it; decides no value."""

    @property
    def unread(self) -> tuple[Skipped, ...]:
        """Granules that should be here and could not be opened."""
        return tuple(one for one in self.skipped if one.tried)

    @property
    def days(self) -> tuple[date, ...]:
        """Solar days that have a granule, in order."""
        return tuple(sorted({item.day for item in self.items}))

    @property
    def fingerprint(self) -> str:
        """Digest of what decides the values: equal Recipes read equal granules.

        The opener does not count, nor the reasons for what is left out.
        """
        content = [item.content for item in self.items]
        return fingerprint({"format": _FORMAT, "provider": self.provider, "items": content})

    def to_json(self) -> dict[str, Any]:
        """JSON form; `from_json` reads it back."""
        return {
            "format": _FORMAT,
            "provider": self.provider,
            "collection": self.collection,
            "snapshot": self.snapshot,
            "fingerprint": self.fingerprint,
            "aoi": {"name": self.aoi.name, "geometry": self.aoi.geometry},
            "window": [self.window.start.isoformat(), self.window.end.isoformat()],
            "choice": asdict(self.choice),
            "question": self.question,
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
                f"the swath recipe has format {document.get('format')!r}, this version reads "
                f"{_FORMAT!r}; materialize the stack again"
            )
        start, end = (date.fromisoformat(day) for day in document["window"])
        choice = document["choice"]
        windows = tuple((low, high) for low, high in choice["wavelengths_nm"])
        recipe = cls(
            provider=document["provider"],
            collection=document["collection"],
            snapshot=document["snapshot"],
            aoi=AOI(document["aoi"]["name"], document["aoi"]["geometry"]),
            window=Window(start, end),
            choice=SwathChoice(**{**choice, "wavelengths_nm": windows}),
            items=tuple(SwathItem.from_json(item) for item in document["items"]),
            question=document["question"],
            made_by=document["made_by"],
            skipped=tuple(Skipped.from_json(one) for one in document["skipped"]),
        )
        if recipe.fingerprint != document["fingerprint"]:
            raise IntegrityError(
                f"the swath recipe says its fingerprint is {document['fingerprint']}, its content "
                f"gives {recipe.fingerprint}; it was edited or cut: materialize the stack again"
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
        return read_back(
            text, "the swath recipe", cls.from_json, remedy="materialize the stack again"
        )
