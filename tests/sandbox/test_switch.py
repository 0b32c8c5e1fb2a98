"""One application serves many hosts, and services that share a host by path."""

import asyncio
from collections.abc import Callable

import pytest
from starlette.responses import PlainTextResponse

from geostack_dagster.sandbox.switch import by_host

ADDRESSES = ("cmr.gov", "cmr.gov/stac", "cmr.gov/stac/v2", "*.blob.net")


def asked(app: Callable, host: str, path: str) -> tuple[int, str]:
    """Status and text of an application's answer to a GET."""
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)

    async def run() -> None:
        headers = [(b"host", host.encode())]
        await app({"type": "http", "method": "GET", "path": path, "headers": headers}, None, send)

    asyncio.run(run())
    return sent[0]["status"], b"".join(part.get("body", b"") for part in sent[1:]).decode()


@pytest.mark.parametrize(
    ("host", "path", "wanted"),
    [
        ("cmr.gov", "/search", "cmr.gov"),
        ("CMR.gov:443", "/", "cmr.gov"),
        ("cmr.gov", "/stac", "cmr.gov/stac"),
        ("cmr.gov", "/stac/LPCLOUD", "cmr.gov/stac"),
        ("cmr.gov", "/stack", "cmr.gov"),
        ("cmr.gov", "/stac/v2/search", "cmr.gov/stac/v2"),
        ("account.blob.net", "/stac", "*.blob.net"),
    ],
)
def test_the_longest_path_of_a_host_answers(host, path, wanted):
    app = by_host({name: PlainTextResponse(name) for name in ADDRESSES})
    assert asked(app, host, path) == (200, wanted)


def test_an_address_without_a_twin_is_named():
    app = by_host({"cmr.gov/stac": PlainTextResponse("")})
    assert asked(app, "cmr.gov", "/search") == (421, "no twin for cmr.gov/search")
