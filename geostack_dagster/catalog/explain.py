"""How this project would treat one STAC Item: every decision with its evidence, every oddity named.

Takes any JSON document. What is unknown is said to be unknown; nothing is invented and nothing
raises.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urljoin, urlsplit

from geostack_dagster.catalog import oddities, placement
from geostack_dagster.catalog.explanation import (
    BandExplanation,
    Explanation,
    FileExplanation,
    RadiometryDecision,
)
from geostack_dagster.catalog.findings import Findings
from geostack_dagster.domain.bands import Band
from geostack_dagster.domain.days import solar_day
from geostack_dagster.domain.hrefs import Href, basename, canonical, locate
from geostack_dagster.domain.identity import IdentityRule, by_id
from geostack_dagster.domain.item import (
    Asset,
    Item,
    assets,
    item_id,
    moment,
    number,
    pixel_format,
    projection,
    properties,
)
from geostack_dagster.domain.radiometry import Radiometry, RadiometryRule, stated
from geostack_dagster.domain.swath import Geometry
from geostack_dagster.errors import IntegrityError
from geostack_dagster.providers import PixelSource, Provider, recognise
from geostack_dagster.providers.access import asset_href
from geostack_dagster.providers.generic import band_table
from geostack_dagster.providers.provider import Collection

_DATA_TYPES = frozenset(
    f"{kind}{bits}"
    for kind, sizes in {
        "int": (8, 16, 32, 64),
        "uint": (8, 16, 32, 64),
        "float": (16, 32, 64),
        "cint": (16, 32),
        "cfloat": (32, 64),
    }.items()
    for bits in sizes
)
_NO_HREF = "(no href)"


def explain(item: Any, provider: Provider | None = None) -> Explanation:
    """What this project makes of an Item; `provider` is recognised where it is not given."""
    findings = Findings()
    document = _as_item(item, findings)
    recognised = recognise(document) if provider is None else (provider, "given")
    if recognised is None:
        findings.add(
            "no known provider: its links and hrefs name none, so how they open is unknown; "
            "name one with --provider"
        )
    known, evidence = recognised or (None, "nothing in it")
    name = _collection_name(document, findings)
    # Identity is told within a collection, so one that is only linked counts as well.
    document = document if name is None else {**document, "collection": name}
    return _Explainer(document, known, name, findings).explanation(evidence)


@dataclass(slots=True)
class _Explainer:
    item: Item
    provider: Provider | None
    collection: str | None
    findings: Findings
    decisions: list[tuple[str, Radiometry]] = field(default_factory=list)
    placed: set[tuple[str, str]] = field(default_factory=set)

    def explanation(self, recognised_by: str) -> Explanation:
        record = self._record(self.collection)
        self.findings.extend(oddities.document(self.item))
        self.findings.extend(oddities.times(self.item))
        self.findings.extend(oddities.footprint(self.item))
        self._check_assets()
        bands = tuple(self._bands(record))
        bbox = oddities.bounding_box(self.item)
        acquired, day = self._acquired()
        return Explanation(
            id=item_id(self.item),
            collection=self.collection,
            provider=None if self.provider is None else self.provider.slug,
            recognised_by=recognised_by,
            known_collection=record is not None,
            acquired=acquired,
            solar_day=day,
            identity=self._identity(by_id if record is None else record.identity),
            bbox=bbox,
            geometry=oddities.geometry_type(self.item),
            radiometry=tuple(self._decisions()),
            bands=bands,
            files=tuple(self._files({band.asset for band in bands})),
            warnings=self.findings.sentences(),
        )

    def _record(self, name: str | None) -> Collection | None:
        if self.provider is None or name is None:
            return None
        found = self.provider.find_collection(name)
        if found is None:
            self.findings.add(
                f"collection {name!r} is not in the record of {self.provider.slug}: its bands and "
                "calibration are read off the assets"
            )
        return found

    def _check_assets(self) -> None:
        found = self.item.get("assets")
        if not isinstance(found, Mapping):
            kind = "absent" if found is None else f"a {type(found).__name__}"
            self.findings.add(f"its assets are {kind}, not an object: there is nothing to read")
        elif not found:
            self.findings.add("it has no assets: there is nothing to read")
        else:
            for key, asset in found.items():
                if not isinstance(asset, Mapping):
                    self.findings.of(_short(key), "the asset is not an object")
        if any("/" in key for key in assets(self.item)):
            self.findings.add(
                "its asset keys contain slashes and may differ from Item to Item: assets are "
                "selected by file name"
            )

    def _bands(self, record: Collection | None) -> Iterator[BandExplanation]:
        taken = set()
        if record is not None:
            for band in record.bands.bands:
                key = band.asset_key(self.item)
                if key is None:
                    self.findings.of(band.name, f"no asset holds this band{_looked_for(band)}")
                else:
                    taken.add(key)
                    yield self._band(band, key, record.radiometry)
        yield from self._rest(record, taken)

    def _rest(self, record: Collection | None, taken: set[str]) -> Iterator[BandExplanation]:
        """Rasters that the record does not ask for: other pixel sizes, other products."""
        copies = frozenset(taken | _copies(self.item, taken))
        rest = band_table(self.item, without=copies)
        if record is None and not rest.bands and assets(self.item):
            self.findings.add("none of its assets is a raster of a known type")
        known = (
            {}
            if record is None
            else {key: band for band in record.bands.bands for key in band.keys}
        )
        for band in rest.bands:
            key = band.keys[0]
            if record is not None and key in known:
                yield self._band(replace(known[key], name=key), key, record.radiometry)
            else:
                yield self._band(band, key, stated)

    def _band(self, band: Band, key: str, rule: RadiometryRule) -> BandExplanation:
        asset = assets(self.item)[key]
        href = self._href(key, asset)
        channel = band.channel(self.item, key)
        if channel is None:
            self.findings.of(
                _short(key), f"it holds no band at {band.wavelength_nm} nm ({band.name})"
            )
        calibration = rule(self.item, asset, band)
        self.decisions.append((band.name, calibration))
        for warning in calibration.warnings:
            self.findings.of(_about(band, key), warning.removeprefix(f"{band.name}: "))
        self._place(_about(band, key), key)
        grid = projection(self.item, asset)
        dtype, nodata, assumed = self._format(band, key)
        return BandExplanation(
            name=band.name,
            asset=key,
            index=band.index if channel is None else channel,
            common_name=band.common_name,
            wavelength_nm=band.wavelength_nm,
            href=href,
            auth=self._auth(key, href),
            dtype=dtype,
            nodata=nodata,
            scale=calibration.scale,
            offset=calibration.offset,
            crs=grid.crs,
            shape=grid.shape,
            transform=grid.transform,
            assumed=assumed,
        )

    def _place(self, about: str, key: str) -> None:
        if (about, key) in self.placed:
            return
        self.placed.add((about, key))
        if self.provider is not None and self.provider.pixels is PixelSource.PROCESS_API:
            self.findings.add("it names no files: its bands are rendered by the provider's service")
            return
        record = self._record(self.collection)
        if record is not None and record.geometry is Geometry.SWATH:
            self.findings.of(about, "in sensor geometry: longitude and latitude are in the file")
            return
        for remark in placement.remarks(self.item, assets(self.item)[key]):
            self.findings.of(about, remark)

    def _format(self, band: Band, key: str) -> tuple[str | None, float | None, tuple[str, ...]]:
        asset, about = assets(self.item)[key], _about(band, key)
        found = pixel_format(asset, band.index - 1)
        for remark in _format_remarks(asset, band.index - 1):
            self.findings.of(about, remark)
        assumed = []
        dtype, nodata = found.dtype, found.nodata
        if dtype is None and band.dtype != "unknown":
            dtype = band.dtype
            assumed.append("dtype")
        if nodata is None and band.nodata is not None:
            nodata = band.nodata
            assumed.append("nodata")
        if dtype is None:
            self.findings.of(about, "no data type is stated: the file's header is read")
        return dtype, nodata, tuple(assumed)

    def _href(self, key: str, asset: Asset) -> Href:
        """Canonical and absolute address of an asset, saying what was done to it."""
        raw = asset.get("href")
        if not isinstance(raw, str) or not raw.strip():
            self.findings.of(_short(key), f"its href is {raw!r:.40}: it cannot be read")
            return Href(_NO_HREF)
        href = asset_href(asset)
        if canonical(raw) != raw:
            self.findings.of(_short(key), "a signature was stripped from its href")
        if locate(href).scheme != "file" or href.startswith(("/", "file:")):
            return href
        base = _self_link(self.item)
        if base is None:
            self.findings.of(
                _short(key), "its href is relative and the Item has no absolute self link"
            )
            return href
        self.findings.of(_short(key), f"its href is relative: resolved against {locate(base).host}")
        return canonical(urljoin(base, href))

    def _auth(self, key: str, href: Href) -> str | None:
        if self.provider is None or href == _NO_HREF:
            return None
        scheme = self.provider.scheme(href)
        if scheme is None:
            location = locate(href)
            where = f"{location.scheme}://{location.host}" if location.host else repr(href)[:60]
            self.findings.of(_short(key), f"{self.provider.slug} keeps no assets at {where}")
            return None
        return scheme.value

    def _files(self, bands: set[str]) -> Iterator[FileExplanation]:
        for key, asset in assets(self.item).items():
            if key in bands:
                continue
            href = self._href(key, asset)
            media = asset.get("type")
            yield FileExplanation(
                asset=key,
                href=href,
                auth=self._auth(key, href),
                media_type=media if isinstance(media, str) else None,
            )

    def _acquired(self) -> tuple[str | None, str | None]:
        try:
            acquired = moment(self.item)
        except IntegrityError:
            return None, None
        bbox = oddities.extent(self.item)
        if bbox is None:
            return acquired.isoformat(), None
        west, _, east, _ = bbox
        centre = (west + east) / 2 if west <= east else ((west + east) / 2 + 360) % 360 - 180
        try:
            return acquired.isoformat(), solar_day(acquired, centre).isoformat()
        except OverflowError:  # the first or last day of the calendar
            return acquired.isoformat(), None

    def _identity(self, rule: IdentityRule) -> tuple[str, ...]:
        return rule(self.item).key

    def _decisions(self) -> Iterator[RadiometryDecision]:
        grouped: dict[str, tuple[Radiometry, list[str]]] = {}
        for name, made in self.decisions:
            key = repr((made.scale, made.offset, made.reason, sorted(made.evidence.items())))
            grouped.setdefault(key, (made, []))[1].append(name)
        for made, names in grouped.values():
            yield RadiometryDecision(
                bands=tuple(names),
                scale=made.scale,
                offset=made.offset,
                reason=made.reason,
                evidence=made.evidence,
            )


def _as_item(document: Any, findings: Findings) -> Item:
    if isinstance(document, Mapping):
        return document
    findings.add(f"the document is a {type(document).__name__}, not a JSON object")
    return {}


def _collection_name(item: Item, findings: Findings) -> str | None:
    """Id of the collection; old Items tell it only in their properties or links."""
    found = item.get("collection")
    if isinstance(found, str) and found:
        return found
    inner = properties(item).get("collection")
    if isinstance(inner, str) and inner:
        findings.add(f"its collection stands in its properties: {inner!r}")
        return inner
    for url in _links(item, ("collection", "self", "parent")):
        before, _, after = urlsplit(url).path.partition("/collections/")
        name = after.partition("/")[0]
        if before and name:
            findings.add(f"it has no collection member: {name!r} is taken from its links")
            return name
    findings.add("it names no collection")
    return None


def _self_link(item: Item) -> str | None:
    return next((url for url in _links(item, ("self",)) if urlsplit(url).netloc), None)


def _links(item: Item, relations: Iterable[str]) -> Iterator[str]:
    found = item.get("links")
    entries = [e for e in found if isinstance(e, Mapping)] if isinstance(found, list) else []
    for relation in relations:
        for entry in entries:
            if entry.get("rel") == relation and isinstance(entry.get("href"), str):
                yield entry["href"]


def _about(band: Band, key: str) -> str:
    """Who a remark is about: all channels of one file share its facts."""
    shared = band.by_wavelength or band.name.startswith(f"{key}:")
    return _short(key) if shared or band.name == key else band.name


def _short(key: str) -> str:
    """EMIT's asset keys are paths: the first and the last part tell them apart."""
    parts = key.split("/")
    return key if len(parts) < 3 else f"{parts[0]}/.../{parts[-1]}"


def _copies(item: Item, taken: Iterable[str]) -> set[str]:
    """Keys of other addresses of the same files: `s3://` beside https."""
    found = assets(item)
    names = {basename(str(found[key].get("href", ""))) for key in taken} - {""}
    return {key for key in found if basename(str(found[key].get("href", ""))) in names}


def _format_remarks(asset: Asset, index: int) -> Iterator[str]:
    dtype = pixel_format(asset, index).dtype
    if dtype is not None and dtype not in _DATA_TYPES:
        yield f"its data type {dtype!r:.40} is not a known one"
    layers: list[Mapping[str, Any]] = [asset]
    for entries in (asset.get("raster:bands"), asset.get("bands")):
        if isinstance(entries, list) and len(entries) > index:
            layers += [entries[index]] if isinstance(entries[index], Mapping) else []
    for layer in layers:
        for name in ("nodata", "scale", "offset", "raster:scale", "raster:offset"):
            if isinstance(layer.get(name), str):
                read = number(layer[name])
                meaning = "not a number" if read is None else f"read as {read:g}"
                yield f"its {name} is the string {layer[name]!r:.40}: {meaning}"


def _looked_for(band: Band) -> str:
    wanted = [*band.keys, *([band.href_pattern] if band.href_pattern else [])]
    return f" (looked for {', '.join(wanted)})"
