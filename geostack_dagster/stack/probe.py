"""Proof that a Recipe can be read: one asset of each container, opened with a credential of now.

A wrong credential or a moved archive shows in a second here, not in chunk 4711; so does metadata
that contradicts the file it describes.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError

from geostack_dagster.auth.signer import Signer
from geostack_dagster.domain.hrefs import Href
from geostack_dagster.errors import AssetError, IntegrityError, ServiceError
from geostack_dagster.providers import provider_named
from geostack_dagster.providers.provider import PixelSource
from geostack_dagster.stack.header import Header, header_of
from geostack_dagster.stack.loaders import pixels_read_by
from geostack_dagster.stack.process_api.proof import sight
from geostack_dagster.stack.projection import same_crs
from geostack_dagster.stack.reader import loop
from geostack_dagster.stack.reader.byte_file import ByteFile, RemoteBlocks
from geostack_dagster.stack.reader.ranges import KIB
from geostack_dagster.stack.reader.source import ByteSource, TransportName
from geostack_dagster.stack.recipe import Recipe, Source

_log = logging.getLogger(__name__)
_CANDIDATES = 3
_SHIFT_PX = 0.01
_HEADER_BYTES = 64 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """What one asset looks like from here."""

    scope: str
    """What the credential opens; the empty string for open data."""
    href: Href
    item: str
    band: str
    header: Header
    bytes_read: int
    seconds: float
    expires_at: datetime | None
    """When the credential ends; None if it does not, or there is none."""
    contradictions: tuple[str, ...] = field(default=())
    """Metadata that would misplace pixels."""
    warnings: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Plain values for metadata and `--json`."""
        header = self.header
        return {
            "scope": self.scope,
            "href": self.href,
            "item": self.item,
            "band": self.band,
            "driver": header.driver,
            "dtype": header.dtype,
            "nodata": None if header.nodata is None else str(header.nodata),
            "crs": header.projection.crs,
            "shape": list(header.projection.shape or ()),
            "transform": list(header.projection.transform or ()),
            "block": list(header.block),
            "compression": header.compression,
            "overviews": list(header.overviews),
            "bytes_read": self.bytes_read,
            "seconds": round(self.seconds, 3),
            "expires_at": None if self.expires_at is None else self.expires_at.isoformat(),
            "contradictions": list(self.contradictions),
            "warnings": list(self.warnings),
        }


def probe(
    recipe: Recipe,
    signer: Signer,
    *,
    strict: bool = True,
    tolerant: bool = False,
    transport: TransportName = "obstore",
) -> list[ProbeReport]:
    """One report for each scope of the Recipe's hrefs, in the order of its Items.

    Where a service renders the pixels there is one for the service.

    Args:
        recipe: What is going to be read.
        signer: Opens its hrefs.
        strict: Whether metadata that would misplace pixels is an error.
        tolerant: Whether another Item's asset may prove what the first one cannot, being damaged
            or gone.
        transport: What will carry the bytes.

    Raises:
        IntegrityError: If `strict` and a header contradicts the metadata's CRS, shape or transform.
        AssetError, CredentialError, ServiceError: If an asset cannot be opened.
    """
    if pixels_read_by(recipe.loader) is PixelSource.PROCESS_API:
        reports = [_rendered(recipe, signer)] if recipe.items else []
    else:
        most = _CANDIDATES if tolerant else 1
        reports = [
            _first_report(scope, members[:most], signer, transport)
            for scope, members in _by_scope(recipe, signer).items()
        ]
    wrong = [
        f"{report.item} {report.band}: {text}"
        for report in reports
        for text in report.contradictions
    ]
    if strict and wrong:
        raise IntegrityError(
            f"metadata contradicts the file: {'; '.join(wrong)}. Report the item to the archive; "
            "until it is corrected, exclude it or read the projection from headers"
        )
    return reports


def contradictions(source: Source, header: Header) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What metadata and header disagree on: what would misplace pixels, and the rest."""
    stated, found = source.projection, header.projection
    wrong, odd = [], []
    if stated.crs is not None and found.crs is not None and not same_crs(stated.crs, found.crs):
        wrong.append(f"proj says {stated.crs}, the header {found.crs}")
    if stated.shape is not None and stated.shape != found.shape:
        wrong.append(f"proj:shape is {stated.shape}, the header's {found.shape}")
    if _is_elsewhere(stated.transform, found.transform):
        wrong.append(f"proj:transform is {stated.transform}, the header's {found.transform}")
    if source.dtype is not None and source.dtype != header.dtype:
        odd.append(f"data_type is {source.dtype}, the header's {header.dtype}")
    if header.nodata is not None and not _same_number(source.nodata, header.nodata):
        odd.append(f"nodata is {source.nodata} by metadata (used), {header.nodata} by the header")
    calibration = (source.radiometry.scale, source.radiometry.offset)
    if (header.scale, header.offset) not in ((1.0, 0.0), calibration):
        odd.append(
            f"scale and offset are {calibration} ({source.radiometry.reason}), the header states "
            f"{(header.scale, header.offset)}"
        )
    return tuple(wrong), tuple(odd)


def _by_scope(recipe: Recipe, signer: Signer) -> Mapping[str, list[tuple[str, str, Source]]]:
    """Assets that each credential should open, one of each Item."""
    found: dict[str, list[tuple[str, str, Source]]] = {}
    for item in recipe.items:
        for band, source in item.sources.items():
            members = found.setdefault(signer.scope(source.href), [])
            if all(member != item.id for member, _, _ in members):
                members.append((item.id, band, source))
    return found


def _first_report(
    scope: str,
    members: Sequence[tuple[str, str, Source]],
    signer: Signer,
    transport: TransportName,
) -> ProbeReport:
    """Of the first asset that can be opened.

    Raises:
        GeostackError: Of the last, if none can.
    """
    *others, last = members
    for item, band, source in others:
        try:
            return _report(scope, item, band, source, ByteSource(signer, transport=transport))
        except (IntegrityError, ServiceError) as error:
            _log.warning("%s %s proves nothing: %s", item, band, error)
    item, band, source = last
    return _report(scope, item, band, source, ByteSource(signer, transport=transport))


def _report(scope: str, item: str, band: str, source: Source, remote: ByteSource) -> ProbeReport:
    start = time.perf_counter()
    try:
        header = _header(source, remote)
    finally:
        loop.wait(remote.close())
    credential = None if remote.signer is None else remote.signer.credential(source.href)
    wrong, odd = contradictions(source, header)
    return ProbeReport(
        scope=scope,
        href=source.href,
        item=item,
        band=band,
        header=header,
        bytes_read=remote.traffic.bytes,
        seconds=time.perf_counter() - start,
        expires_at=None if credential is None else credential.expires_at,
        contradictions=wrong,
        warnings=(*source.radiometry.warnings, *source.notes, *odd),
    )


def _rendered(recipe: Recipe, signer: Signer) -> ProbeReport:
    provider, found = provider_named(recipe.provider), sight(recipe, signer)
    href, first = Href(provider.endpoints["process"]), recipe.items[0]
    band, source = next(iter(first.sources.items()))
    credential = signer.credential(href)
    return ProbeReport(
        scope=signer.scope(href),
        href=href,
        item=first.id,
        band=band,
        header=Header(
            driver="Process API",
            dtype="uint16",
            nodata=None,
            projection=source.projection,
            block=(provider.limits.rendered_px,) * 2,
            compression=None,
            overviews=(),
            scale=1.0,
            offset=0.0,
        ),
        bytes_read=found.bytes_read,
        seconds=found.seconds,
        expires_at=None if credential is None else credential.expires_at,
        contradictions=tuple(
            f"the service has no scene for {item}, which its catalogue lists"
            for item in found.missing
        ),
        warnings=(*source.radiometry.warnings, *source.notes),
    )


def _header(source: Source, remote: ByteSource) -> Header:
    blocks = RemoteBlocks(remote, source.href, block_bytes=_HEADER_BYTES)

    def only_this(path: str, *_: Any, **__: Any) -> ByteFile:
        if path != source.href:
            raise FileNotFoundError(path)
        return ByteFile(blocks)

    try:
        with (
            rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
            rasterio.open(source.href, opener=only_this) as dataset,
        ):
            return header_of(dataset, source)
    except RasterioError as error:
        failure = str(error)
    raise blocks.failure or AssetError(
        f"{source.href} cannot be opened as a raster ({failure}); it is truncated or of another "
        "format (a login page?). Open it by hand, then search again or drop the item"
    )


def _is_elsewhere(stated: tuple[float, ...] | None, found: tuple[float, ...] | None) -> bool:
    if stated is None or found is None:
        return False
    pixel = max(abs(found[0]), abs(found[1]))
    return not np.allclose(stated, found, rtol=1e-9, atol=_SHIFT_PX * pixel)


def _same_number(one: float | None, other: float) -> bool:
    return one is not None and (one == other or (np.isnan(one) and np.isnan(other)))
