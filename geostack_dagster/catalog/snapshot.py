"""A catalogue's answer, frozen: what exists for a query, and the fingerprint of it."""

import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import orjson

from geostack_dagster import storage
from geostack_dagster.catalog.api import Headers
from geostack_dagster.catalog.check import Rejected
from geostack_dagster.catalog.content import item_fingerprint
from geostack_dagster.catalog.parquet import column_types, read_facts, read_items, write_items
from geostack_dagster.catalog.search import search
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.days import solar_day
from geostack_dagster.domain.documents import read_back
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.hrefs import SIGNATURE, canonical
from geostack_dagster.domain.identity import Superseded, by_id, resolve
from geostack_dagster.domain.item import Item, item_id, moment, number, properties
from geostack_dagster.domain.query import ItemQuery
from geostack_dagster.errors import IntegrityError
from geostack_dagster.providers.provider import Provider

_FACTS = "geostack:snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A snapshot in numbers."""

    count: int
    days: int
    """Solar days with an Item."""
    metadata_bytes: int
    """Size of the Items as JSON [B]."""
    cloud_min: float | None
    cloud_mean: float | None
    cloud_max: float | None

    @classmethod
    def of(cls, items: Sequence[Item], aoi: AOI) -> Self:
        """Numbers of some Items; cloud cover [%] of those that state it."""
        longitude, _ = aoi.centre
        stated = (number(properties(item).get("eo:cloud_cover")) for item in items)
        clouds = [cloud for cloud in stated if cloud is not None]
        return cls(
            count=len(items),
            days=len({solar_day(moment(item), longitude) for item in items}),
            metadata_bytes=sum(len(_json(item)) for item in items),
            cloud_min=min(clouds, default=None),
            cloud_mean=sum(clouds) / len(clouds) if clouds else None,
            cloud_max=max(clouds, default=None),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a snapshot says about itself."""

    provider: str
    collections: tuple[str, ...]
    query: Mapping[str, Any]
    """The question, as JSON: aoi, geometry, start, end, predicates, ids, max_items."""
    fingerprint: str
    """Equal for two snapshots with the same content, whatever the order and the signatures."""
    matched: int | None
    superseded: tuple[Superseded, ...]
    rejected: tuple[Rejected, ...]
    warnings: tuple[str, ...]
    summary: Summary

    @property
    def aoi(self) -> AOI:
        """The area that was asked for."""
        return AOI(self.query["aoi"], self.query["geometry"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(Header):
    """Items of one provider for one query, in order of time, then id."""

    items: list[dict[str, Any]]

    @classmethod
    def of(cls, header: Header, items: list[dict[str, Any]]) -> Self:
        """A header with its Items."""
        return cls(**{f.name: getattr(header, f.name) for f in fields(Header)}, items=items)


def take_snapshot(
    provider: Provider,
    query: ItemQuery,
    *,
    client: str = "pystac-client",
    url: str | None = None,
    headers: Headers | None = None,
) -> Snapshot:
    """Search, keep one Item for each acquisition, and freeze the rest with the reasons.

    Args as `search`; raises as it does.
    """
    result = search(provider, query, client=client, url=url, headers=headers)
    items, superseded = _resolved(result.items, provider, query)
    return Snapshot(
        provider=provider.slug,
        collections=query.collections,
        query=_facts(query),
        fingerprint=snapshot_fingerprint(items),
        matched=result.matched,
        superseded=tuple(superseded),
        rejected=result.rejected,
        warnings=result.warnings,
        summary=Summary.of(items, query.aoi),
        items=items,
    )


def snapshot_fingerprint(items: Iterable[Item]) -> str:
    """Digest of the content of some Items; their order does not matter."""
    return fingerprint(sorted(map(item_fingerprint, items)))


def write(snapshot: Snapshot, url: str) -> None:
    """Write stac-geoparquet to `url`, and an ItemCollection beside it, each in one step.

    The ItemCollection comes first: where there is a snapshot, both are complete.

    Raises:
        IntegrityError: If an Item holds a signature or token; nothing is written then.
    """
    facts = json.dumps(_header_json(snapshot), separators=(",", ":"))
    with storage.staged(item_collection_url(url)) as path, path.open("wb") as file:
        file.writelines(_collection(snapshot))
    with storage.staged(url) as path:
        write_items(snapshot.items, path, facts={_FACTS: facts})


def read(url: str) -> Snapshot:
    """The snapshot at `url`.

    Raises:
        FileNotFoundError: If there is none.
        IntegrityError: If the file is cut off, or not a snapshot.
    """
    source = _source(url)
    return Snapshot.of(_header(source, url), read_items(source))


def read_header(url: str) -> Header:
    """What the snapshot at `url` says about itself, without reading its Items; raises as `read`."""
    return _header(_source(url), url)


def read_columns(url: str) -> dict[str, str]:
    """Columns of the snapshot at `url` and their types, without reading its Items."""
    return column_types(_source(url))


def item_collection_url(url: str) -> str:
    """Where the ItemCollection JSON of a snapshot lies."""
    return f"{url.removesuffix('.parquet')}.json"


def _resolved(
    items: list[dict[str, Any]], provider: Provider, query: ItemQuery
) -> tuple[list[dict[str, Any]], list[Superseded]]:
    """One Item for each acquisition, by the identity rule of its collection."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in items:
        groups[str(item.get("collection") or query.collections[0])].append(item)
    kept: set[int] = set()
    superseded: list[Superseded] = []
    for name, members in groups.items():
        known = provider.collections.get(name)
        chosen, dropped = resolve(members, known.identity if known else by_id)
        kept.update(map(id, chosen))
        superseded.extend(dropped)
    return [item for item in items if id(item) in kept], superseded


def _facts(query: ItemQuery) -> dict[str, Any]:
    facts = {
        "aoi": query.aoi.name,
        "geometry": query.aoi.geometry,
        "start": query.start.isoformat(),
        "end": query.end.isoformat(),
        "predicates": [[p.name, p.op, p.value] for p in query.predicates],
        "ids": list(query.ids),
        "max_items": query.max_items,
    }
    plain: dict[str, Any] = json.loads(json.dumps(facts))  # tuples become lists, as when read back
    return plain


def _collection(snapshot: Snapshot) -> Iterator[bytes]:
    yield b'{"type":"FeatureCollection","features":['
    for index, item in enumerate(snapshot.items):
        line = _json(item)
        _refuse_secrets(item, line)
        yield b"," + line if index else line
    yield b"]}\n"


# What every signature and token starts with, in any case; a cheap search before the exact one.
_SUSPICIOUS = (b"sig=", b"SIG=", b"Sig=", b"mz-", b"MZ-", b"earer ", b"EARER ")


def _refuse_secrets(item: Item, line: bytes) -> None:
    if any(mark in line for mark in _SUSPICIOUS) and SIGNATURE.search(line.decode()):
        raise IntegrityError(
            f"item {item_id(item)} holds a signature or token outside its hrefs; it is not written"
        )


def _json(item: Item) -> bytes:
    try:
        return orjson.dumps(item)
    except orjson.JSONEncodeError:  # broken text or endless numbers, which JSON can hold
        return json.dumps(item).encode()


def _header_json(header: Header) -> dict[str, Any]:
    return {
        "provider": header.provider,
        "collections": header.collections,
        "query": header.query,
        "fingerprint": header.fingerprint,
        "matched": header.matched,
        "superseded": [asdict(one) for one in header.superseded],
        "rejected": [asdict(one) for one in header.rejected],
        "warnings": header.warnings,
        "summary": asdict(header.summary),
    }


def _header(source: Any, url: str) -> Header:
    facts = read_facts(source).get(_FACTS)
    if facts is None:
        raise IntegrityError(f"{url} is not a snapshot: it says nothing about its query")
    return read_back(facts, url, _stated, remedy="materialize the snapshot of that date again")


def _stated(stated: Mapping[str, Any]) -> Header:
    return Header(
        provider=stated["provider"],
        collections=tuple(stated["collections"]),
        query=stated["query"],
        fingerprint=stated["fingerprint"],
        matched=stated["matched"],
        superseded=tuple(Superseded(**one) for one in stated["superseded"]),
        rejected=tuple(Rejected(**one) for one in stated["rejected"]),
        warnings=tuple(stated["warnings"]),
        summary=Summary(**stated["summary"]),
    )


def _source(url: str) -> Any:
    path = storage.local_path(url)
    if path is not None:
        return path
    source = _Source(storage.read_bytes(url))
    source.name = canonical(url)
    return source


class _Source(io.BytesIO):
    """The whole of an object, which knows where it came from."""

    name = ""
