"""Helpers of the sandbox's own tests."""

from collections.abc import Iterator

import pytest
import requests

from geostack_dagster.sandbox import Sandbox

PLANETARY = "https://planetarycomputer.microsoft.com/api"
EARTH_SEARCH = "https://earth-search.aws.element84.com/v1"
EMMENTAL = [7.84, 46.96, 7.9, 47.0]


@pytest.fixture
def http(in_sandbox: Sandbox) -> Iterator[requests.Session]:
    """A plain HTTP client inside the sandbox."""
    with requests.Session() as session:
        yield session


@pytest.fixture
def planetary_item(http: requests.Session) -> dict:
    """A Planetary Computer Item of the Emmental, baseline 05.10."""
    return found(http, f"{PLANETARY}/stac/v1/search", datetime="2024-06-28")


@pytest.fixture
def earth_search_item(http: requests.Session) -> dict:
    """An Earth Search Item of the Emmental."""
    return found(http, f"{EARTH_SEARCH}/search", datetime="2024-06-28")


def found(http: requests.Session, url: str, *, datetime: str) -> dict:
    body = {
        "collections": ["sentinel-2-l2a"],
        "bbox": EMMENTAL,
        "datetime": f"{datetime}T00:00:00Z/{datetime}T23:59:59Z",
    }
    (item,) = http.post(url, json=body).json()["features"]
    return item


def signed(http: requests.Session, href: str) -> str:
    """The href with a token of its container."""
    account, container = href.split("/")[2].partition(".")[0], href.split("/")[3]
    token = http.get(f"{PLANETARY}/sas/v1/token/{account}/{container}").json()["token"]
    return f"{href}?{token}"
