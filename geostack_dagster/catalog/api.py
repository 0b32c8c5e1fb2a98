"""pystac-client's I/O with typed errors, retries, and paging that survives odd catalogues."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, override, runtime_checkable
from urllib.parse import urljoin, urlsplit

import orjson
from pystac.link import Link
from pystac_client.stac_api_io import StacApiIO
from requests import Request, Response
from requests.exceptions import RequestException

from geostack_dagster.catalog.connections import Connections
from geostack_dagster.catalog.failure import failure, not_json, refused, retrying
from geostack_dagster.domain.hrefs import canonical, redact
from geostack_dagster.errors import GeostackError, ServiceError

_TIMEOUT_S = (10.0, 90.0)  # connect, read
_UNAUTHORIZED = 401
_REPEATS = 2  # a page offered once more is a hiccup; offered again, it is a circle

type Headers = Callable[[], Mapping[str, str]]
"""Gives the headers that authorise a request, fresh ones each time it is called."""


@runtime_checkable
class Renewable(Protocol):
    """Headers whose credential can be replaced when the catalogue refuses it."""

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Replace the credential behind refused headers; True if there is another to try."""
        ...


class ApiIO(StacApiIO):
    """I/O for one catalogue, shared by threads.

    pystac-client stops at an empty page even when it links to another, follows a link that leads
    back for ever, does not retry a POST, and drops Retry-After; here it does none of these.
    """

    def __init__(self, url: str, *, connections: int, headers: Headers | None) -> None:
        super().__init__(timeout=_TIMEOUT_S, max_retries=None)
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, Connections(connections))
        self._host = urlsplit(url).netloc
        self._headers = headers

    @override
    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Body of a successful answer.

        Raises:
            ConfigurationError: If the catalogue refuses the parameters.
            CredentialError: If it refuses or wants a credential.
            ServiceError: If it is busy, broken or does not answer.
        """
        response = self._sent(href, method or "GET", headers or {}, parameters)
        if not response.ok:
            raise _failure(href, response)
        return response.content.decode(errors="replace")

    @override
    def read_json(self, source: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """JSON of a URL or link, asked for again while the catalogue is busy."""
        href = source.href if isinstance(source, Link) else str(source)
        return retrying(lambda: _decoded(href, self.read_text(source, *args, **kwargs)))

    @override
    def get_pages(
        self, url: str, method: str | None = None, parameters: dict[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Every page, empty ones included, until one links to no other.

        Raises:
            ServiceError: If a page is no FeatureCollection, or links to one that was read already.
        """
        page = self.read_json(url, method=method, parameters=parameters)
        followed: Counter[bytes] = Counter()
        while True:
            if not isinstance(page.get("features"), list):
                raise ServiceError(f"{canonical(url)} answered with JSON that holds no `features`")
            yield page
            link = next_link(page)
            if link is None:
                return
            step = orjson.dumps([link.get("href"), link.get("body")], option=orjson.OPT_SORT_KEYS)
            followed[step] += 1
            if followed[step] > _REPEATS:
                raise ServiceError(
                    f"paging of {canonical(url)} goes in a circle: after {followed.total()} pages "
                    "one links to a page that was read already"
                )
            target = Link.from_dict({**link, "href": urljoin(url, str(link["href"]))})
            page = self.read_json(target, parameters=parameters)

    def status(self, href: str) -> int:
        """HTTP status of a GET; raises ServiceError if the catalogue is busy or broken."""

        def asked() -> int:
            response = self._sent(href, "GET", {}, None)
            if response.status_code >= 429:
                raise _failure(href, response)
            return response.status_code

        return retrying(asked)

    def _sent(
        self,
        href: str,
        method: str,
        headers: Mapping[str, str],
        parameters: dict[str, Any] | None,
    ) -> Response:
        signed = self._signed(href)
        response = self._answer(href, method, {**headers, **signed}, parameters)
        if response.status_code == _UNAUTHORIZED and self._is_renewed(signed):
            signed = self._signed(href)
            response = self._answer(href, method, {**headers, **signed}, parameters)
        if response.status_code == _UNAUTHORIZED and signed:
            raise refused(href, response.text)
        return response

    def _signed(self, href: str) -> Mapping[str, str]:
        """Authorising headers; a next link may lead to another host, where they do not go."""
        is_ours = self._headers is not None and urlsplit(href).netloc == self._host
        return self._headers() if is_ours and self._headers else {}

    def _is_renewed(self, signed: Mapping[str, str]) -> bool:
        headers = self._headers
        return bool(signed) and isinstance(headers, Renewable) and headers.renew(signed)

    def _answer(
        self,
        href: str,
        method: str,
        headers: Mapping[str, str],
        parameters: dict[str, Any] | None,
    ) -> Response:
        body = {"json": parameters} if method == "POST" else {"params": parameters or {}}
        request = Request(method=method, url=href, headers=headers, **body)
        try:
            prepared = self.session.prepare_request(request)
            settings = self.session.merge_environment_settings(
                str(prepared.url), proxies={}, stream=None, verify=True, cert=None
            )
            # A redirected POST would arrive as a GET without its body: a search for everything.
            response = self.session.send(
                prepared, timeout=self.timeout, allow_redirects=method != "POST", **settings
            )
        except RequestException as error:
            raise ServiceError(
                f"{canonical(href)} did not answer: {redact(str(error))[:300]}"
            ) from error
        if response.is_redirect:
            raise failure(href, response.status_code, "a search must not be redirected")
        return response


def next_link(page: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The link to the page after this one; None on the last."""
    links = page.get("links")
    for link in links if isinstance(links, list) else []:
        if isinstance(link, Mapping) and link.get("rel") == "next" and link.get("href"):
            return link
    return None


def _failure(href: str, response: Response) -> GeostackError:
    retry_after = response.headers.get("Retry-After")
    return failure(href, response.status_code, response.text, retry_after=retry_after)


def _decoded(href: str, answer: str) -> dict[str, Any]:
    try:
        document = orjson.loads(answer)
    except orjson.JSONDecodeError:
        document = _lenient(href, answer)
    if not isinstance(document, dict):
        raise ServiceError(f"{canonical(href)} answered with JSON that is not an object")
    return document


def _lenient(href: str, answer: str) -> Any:
    try:
        return json.loads(answer)  # NaN, which JSON does not have and some archives write
    except ValueError as error:
        raise not_json(href, answer.encode()) from error
