"""The doctor's checks of one archive, in the order in which a read depends on them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from geostack_dagster.auth.region import OVERRIDE, in_region
from geostack_dagster.auth.resolution import Settings
from geostack_dagster.auth.signer import AuthScheme
from geostack_dagster.cli.doctor import web
from geostack_dagster.cli.doctor.finding import Finding, Verdict
from geostack_dagster.domain.hrefs import Href, locate
from geostack_dagster.domain.item import Item, assets, item_id
from geostack_dagster.errors import (
    LICENCE,
    ConfigurationError,
    GeostackError,
    MissingCredentialError,
    RejectedCredentialError,
    ServiceError,
)
from geostack_dagster.providers import FilterDialect, PixelSource, Provider, SearchApi
from geostack_dagster.providers.access import ProviderSigner, asset_href, signer_for

_HEAD_BYTES = 1024
_SKEW_WARNING, _SKEW_FAILURE = timedelta(seconds=60), timedelta(minutes=15)
_MAGIC: Mapping[bytes, str] = {
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "BigTIFF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xffO\xffQ": "JPEG 2000",
    b"\x89HDF\r\n\x1a\n": "HDF5",
}
_FILTER_CLASSES: Mapping[FilterDialect, str] = {
    FilterDialect.QUERY: "item-search#query",
    FilterDialect.CQL2_JSON: "cql2-json",
    FilterDialect.CQL2_TEXT: "cql2-text",
}


@dataclass
class _Patient:
    """One archive, and what is known of it so far."""

    provider: Provider
    settings: Settings
    item: Item | None = None
    skew: timedelta | None = None
    href: Href | None = None
    others: dict[str, Href] = field(default_factory=dict)
    """More addresses worth opening, by what they are."""
    refusals: list[str] = field(default_factory=list)
    """What was said of credentials that were tried and refused."""

    @property
    def signer(self) -> ProviderSigner:
        return signer_for(self.provider, self.settings)

    @property
    def collection(self) -> str:
        return next(iter(self.provider.collections))


class _Skipped(Exception):  # noqa: N818 - not an error: there is nothing to look at
    """A check that an earlier failure leaves nothing to look at."""


type Check = Callable[[_Patient], Iterator[tuple[Verdict, str, str]]]


def examine(provider: Provider, settings: Settings | None = None) -> Iterator[Finding]:
    """Findings of every check, as they come; a check never raises."""
    patient = _Patient(provider, settings or Settings())
    for name, check in _CHECKS.items():
        for verdict, message, remedy in _guarded(check, patient):
            yield Finding(
                provider=provider.slug,
                check=name,
                verdict=verdict,
                message=message,
                remedy=remedy,
            )


def _guarded(check: Check, patient: _Patient) -> Iterator[tuple[Verdict, str, str]]:
    try:
        yield from check(patient)
    except _Skipped as reason:
        yield Verdict.SKIPPED, str(reason), ""
    except GeostackError as error:
        if isinstance(error, RejectedCredentialError):
            patient.refusals.append(str(error))
        yield Verdict.FAILURE, str(error), _REMEDIES.get(type(error), "")


_REMEDIES: Mapping[type[GeostackError], str] = {
    ServiceError: "check the network, HTTPS_PROXY and SSL_CERT_FILE, or try again later",
    MissingCredentialError: "set the variable that the message names",
    RejectedCredentialError: "renew the credential that the message names",
    ConfigurationError: "this is a defect of the provider's record; please report it",
}


def _reachable(patient: _Patient) -> Iterator[tuple[Verdict, str, str]]:
    """DNS, proxy and TLS of every host that the archive is asked at."""
    hosts = {locate(url).host for url in _addresses(patient.provider)}
    failures = []
    for host in sorted(hosts):
        try:
            web.reach(host)
        except ServiceError as error:
            failures.append(str(error))
    if failures:
        yield Verdict.FAILURE, "; ".join(failures), _REMEDIES[ServiceError]
    else:
        yield Verdict.OK, ", ".join(sorted(hosts)), ""


def _addresses(provider: Provider) -> list[str]:
    return [provider.stac_url, *(url for url in provider.endpoints.values())]


def _landing(patient: _Patient) -> Iterator[tuple[Verdict, str, str]]:
    """The catalogue's first page, and whether it takes filters as its record says."""
    provider = patient.provider
    if provider.search_api is SearchApi.CMR:
        url = f"{provider.stac_url}/collections.json?page_size=1"
        found = web.page(url)
    else:
        found = web.page(provider.stac_url, headers=_headers(patient, provider.stac_url))
    patient.skew = found.skew
    if found.status != 200 or not isinstance(found.document, dict):
        yield (
            Verdict.FAILURE,
            f"{provider.stac_url} answered {found.status}",
            "see whether the archive has moved; `stac_url` is in the provider's record",
        )
        return
    classes = " ".join(map(str, found.document.get("conformsTo") or []))
    wanted = _FILTER_CLASSES.get(provider.filter_dialect)
    if provider.search_api is SearchApi.STAC and wanted and wanted not in classes:
        yield (
            Verdict.WARNING,
            f"the catalogue does not announce {wanted}; predicates are re-checked here anyway",
            "more Items than needed may travel",
        )
        return
    yield Verdict.OK, f"{len(found.document.get('conformsTo') or [])} conformance classes", ""


def _headers(patient: _Patient, url: str) -> Mapping[str, str]:
    if patient.provider.search_scheme is AuthScheme.ANONYMOUS:
        return {}
    return patient.signer.sign(Href(url)).headers


def _one_item(patient: _Patient) -> Iterator[tuple[Verdict, str, str]]:
    """One Item of the first collection."""
    from geostack_dagster.cli.doctor.sample import sample_item

    provider = patient.provider
    patient.item = sample_item(provider, patient.collection, patient.settings)
    if patient.item is None:
        yield (
            Verdict.FAILURE,
            f"{patient.collection} gave no Item",
            "see whether the collection has moved; its id is in the provider's record",
        )
        return
    _choose_hrefs(patient, patient.item)
    yield Verdict.OK, f"{patient.collection}/{item_id(patient.item)}", ""


def _choose_hrefs(patient: _Patient, item: Item) -> None:
    """An asset of the collection's bands, and other schemes' addresses of it."""
    for band in patient.provider.collection(patient.collection).bands.bands:
        key = band.asset_key(item)
        if key is None or not assets(item)[key].get("href"):
            continue
        asset = assets(item)[key]
        patient.href = asset_href(asset)
        alternates = asset.get("alternate")
        for name, entry in (alternates if isinstance(alternates, dict) else {}).items():
            if isinstance(entry, dict) and isinstance(entry.get("href"), str):
                patient.others[str(name)] = Href(entry["href"])
        return


def _found(patient: _Patient) -> Iterator[tuple[Verdict, str, str]]:
    """Which credential there is for pixels, and where it comes from; never its value."""
    href = _asset(patient)
    scheme = patient.signer.scheme(href)
    if scheme is AuthScheme.ANONYMOUS:
        yield Verdict.OK, "none is needed", ""
    else:
        credential = patient.signer.credential(href)
        source = "" if credential is None else f", from {credential.source}"
        yield Verdict.OK, f"{scheme.value}{source}", ""
    yield from _other_ways(patient)


def _other_ways(patient: _Patient) -> Iterator[tuple[Verdict, str, str]]:
    """Credentials of alternates: good to have, not needed."""
    for name, href in patient.others.items():
        try:
            patient.signer.credential(href)
        except MissingCredentialError as error:
            message = f"the {name} alternate cannot be opened: {error}"
            yield Verdict.WARNING, message, "needed only to read by that address"


def _asset(patient: _Patient) -> Href:
    if patient.provider.pixels is PixelSource.PROCESS_API:
        return Href(patient.provider.endpoints["process"])
    if patient.href is None:
        raise _Skipped("no asset is known")
    return patient.href


def _accepted(patient: _Patient) -> Iterator[tuple[Verdict, str, str]]:
    """First bytes of an asset: the credential is accepted, and pixels come."""
    from geostack_dagster.cli.doctor.sample import first_bytes, rendered

    href = _asset(patient)
    if patient.provider.pixels is PixelSource.PROCESS_API:
        if patient.item is None:
            raise _Skipped("no item is known")
        nbytes = rendered(patient.provider, patient.item, patient.settings)
        yield Verdict.OK, f"{nbytes} bytes rendered by {locate(href).host}", ""
        return
    for what, address in {"": href, **patient.others}.items():
        try:
            data = first_bytes(address, patient.signer, _HEAD_BYTES)
        except MissingCredentialError:
            if what:
                continue  # said above
            raise
        kind = next((name for magic, name in _MAGIC.items() if data.startswith(magic)), None)
        label = f"{what}: " if what else ""
        if kind is None:
            yield (
                Verdict.FAILURE,
                f"{label}{len(data)} bytes came that are no raster",
                "open the asset's href in a browser to see what is served",
            )
        else:
            yield (
                Verdict.OK,
                f"{label}{len(data)} bytes of a {kind} from {locate(address).host}",
                "",
            )


def _licence(patient: _Patient) -> Iterator[tuple[Verdict, str, str]]:
    """Whether a refusal was about a licence that nobody has accepted yet."""
    unaccepted = [said for said in patient.refusals if LICENCE in said]
    if unaccepted:
        yield Verdict.FAILURE, unaccepted[0], "accept the licence at the address that is named"
    elif patient.refusals or patient.item is None:
        raise _Skipped("nothing was opened that a licence could close")
    else:
        yield Verdict.OK, "none is outstanding", ""


def _place(patient: _Patient) -> Iterator[tuple[Verdict, str, str]]:
    """Region and who pays."""
    provider = patient.provider
    schemes = {scheme for _, scheme in provider.access}
    if AuthScheme.EARTHDATA in schemes:
        inside = in_region("us-west-2", patient.settings)
        way = "S3 with keys of an hour" if inside else "https with a bearer"
        where = "inside" if inside else "outside"
        yield Verdict.OK, f"{where} AWS us-west-2: {way} ({OVERRIDE} overrides)", ""
    elif AuthScheme.REQUESTER_PAYS in schemes and provider.pixels is PixelSource.FILES:
        keys = patient.settings.find("AWS_ACCESS_KEY_ID")
        advice = "an AWS account is set up" if keys else "left out without an AWS account"
        yield Verdict.OK, f"originals are requester-pays ({advice}); COGs are free", ""
    else:
        yield Verdict.OK, f"{provider.limits.concurrent_reads} reads in flight at most", ""


def _clock(patient: _Patient) -> Iterator[tuple[Verdict, str, str]]:
    """This machine's clock against the catalogue's."""
    if patient.skew is None:
        raise _Skipped("the catalogue does not tell the time")
    off = abs(patient.skew)
    message = f"{off.total_seconds():.0f} s from the archive's"
    if off >= _SKEW_FAILURE:
        yield Verdict.FAILURE, message, "set the clock: signed requests are refused"
    elif off >= _SKEW_WARNING:
        yield Verdict.WARNING, message, "set the clock (NTP)"
    else:
        yield Verdict.OK, message, ""


_CHECKS: Mapping[str, Check] = {
    "dns and tls": _reachable,
    "landing page": _landing,
    "one item": _one_item,
    "credential found": _found,
    "first bytes": _accepted,
    "licence": _licence,
    "region": _place,
    "clock": _clock,
}
