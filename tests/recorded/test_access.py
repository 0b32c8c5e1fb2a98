"""What the credential and byte clients make of real conversations with token and data services."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from geostack_dagster.auth.anonymous import AnonymousSigner
from geostack_dagster.auth.broker import Broker
from geostack_dagster.auth.earthdata import EarthdataSigner
from geostack_dagster.auth.resolution import Settings
from geostack_dagster.auth.sas import SasSigner
from geostack_dagster.domain.hrefs import canonical
from geostack_dagster.errors import (
    AssetError,
    ConfigurationError,
    MissingCredentialError,
    RejectedCredentialError,
)
from geostack_dagster.providers import PLANETARY_COMPUTER
from geostack_dagster.stack.reader import loop
from geostack_dagster.stack.reader.source import ByteSource, FetchPolicy
from tests.auth.conftest import VARIABLES
from tests.recorded.conversation import replayed
from tests.recorded.test_search import asked, at

EMIT = canonical("https://data.lpdaac.earthdatacloud.nasa.gov/lp-prod-protected/x.nc")
BLOB = (
    "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/48/X/VR/2023/05/24/"
    "S2B_MSIL2A_20230524T084609_N0509_R107_T48XVR_20230524T120352.SAFE/GRANULE/"
    "L2A_T48XVR_A032451_20230524T084603/QI_DATA/T48XVR_20230524T084609_PVI.tif"
)
LOGIN = {"EARTHDATA_USERNAME": "me", "EARTHDATA_PASSWORD": "hush-hush"}


@pytest.fixture
def replay(tmp_path: Path, shared_fixtures: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    opened = []

    def start(*names: str) -> Any:
        manager = replayed(tmp_path, shared_fixtures, *names)
        found, conversation = manager.__enter__()
        opened.append(manager)
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        return found, conversation

    yield start
    for manager in opened:
        manager.__exit__(None, None, None)


def earthdata(**more: str) -> EarthdataSigner:
    return EarthdataSigner(settings=Settings(arguments={**LOGIN, **more}), broker=Broker())


# Earthdata Login ---------------------------------------------------------------------------------


def test_a_refused_login_and_a_granted_one(replay):
    found, _ = replay("edl_invalid_credentials_then_token")
    signer = earthdata()
    with pytest.raises(RejectedCredentialError, match="invalid_credentials") as raised:
        signer.sign(EMIT)
    assert "hush-hush" not in str(raised.value)
    assert signer.sign(EMIT).headers == {"Authorization": "Bearer REDACTED"}
    # The recorded token ended in 2024: it is used, and asked for again soon.
    assert signer.credential(EMIT).expires_at < datetime.now(UTC) + timedelta(minutes=11)
    assert [asked.path for asked in found.asked] == ["/api/users/find_or_create_token"] * 2
    assert all(asked.headers["authorization"].startswith("Basic ") for asked in found.asked)


def test_earthaccess_asks_without_a_login_first(replay, monkeypatch):
    """The recorded refusal is the answer to a question without a password: it is asked again."""
    found, conversation = replay("edl_invalid_credentials_then_token")
    for name, value in LOGIN.items():
        monkeypatch.setenv(name, value)
    credential = earthdata(GEOSTACK_EARTHACCESS_LOGIN="environment").credential(EMIT)
    assert dict(credential.values) == {"access_token": "REDACTED"}
    assert conversation.given == [0, 1]
    first, second = found.asked
    assert "authorization" not in first.headers
    assert second.headers["authorization"].startswith("Basic ")


def test_a_list_of_tokens_is_understood(replay):
    """Older clients listed an account's tokens; the newest is the first."""
    _, conversation = replay("edl_tokens_and_cmr_granule")
    listed = conversation.exchanges[0]
    assert isinstance(listed["response"]["json"], list)
    listed["request"]["uri"] = "https://urs.earthdata.nasa.gov/api/users/find_or_create_token"
    assert earthdata().sign(EMIT).headers == {"Authorization": "Bearer REDACTED"}


# Planetary Computer ------------------------------------------------------------------------------


def test_a_sas_token_lives_by_the_servers_clock(replay):
    """The recorded answer is of 2024, its token 45 minutes longer: so it still has 45 minutes."""
    replay("pc_sas_token")
    signer = SasSigner(broker=Broker())
    credential = signer.credential(canonical(BLOB))
    left = credential.expires_at - datetime.now(UTC)
    assert timedelta(minutes=44) < left < timedelta(minutes=46)


def test_a_sas_token_opens_the_recorded_blob(replay):
    found, conversation = replay("pc_sas_token")
    conversation.exchanges[1]["response"] |= {
        "status": 206,
        "text": "II*",
        "headers": {"Content-Range": ["bytes 0-2/4096"], "ETag": ['"0x8DB5C5106A61ECF"']},
    }
    source = ByteSource(SasSigner(broker=Broker()))
    opening = loop.wait(source.opening(canonical(BLOB), 3))
    loop.wait(source.close())
    assert (bytes(opening.data), opening.size) == (b"II*", 4096)
    recorded = parse_qs(urlsplit(conversation.exchanges[1]["request"]["uri"]).query)
    sent = parse_qs(urlsplit(found.asked[-1].path).query)
    assert sent == recorded
    assert canonical(f"{BLOB}?{urlsplit(found.asked[-1].path).query}") == BLOB


# S3 ----------------------------------------------------------------------------------------------


def opened(href: str) -> None:
    source = ByteSource(AnonymousSigner(lambda _: "us-west-2"), policy=FetchPolicy(attempts=1))
    try:
        loop.wait(source.opening(canonical(href), 16))
    finally:
        loop.wait(source.close())


def test_a_bucket_in_another_region_and_one_that_forbids(replay):
    _, conversation = replay("s3_head")
    with pytest.raises(AssetError, match="301"):
        opened("s3://does-not-exist/not-a-file")
    denied = "https://does-not-exist.s3.eu-west-1.amazonaws.com/not-a-file"
    with pytest.raises(MissingCredentialError, match="403") as raised:
        opened(denied)
    assert "read without a credential" in str(raised.value)
    assert conversation.beyond == []


# STAC --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", ["pystac-client", "rustac"])
def test_a_collection_that_is_not_there(replay, client):
    from geostack_dagster.catalog.clients import forget_connections
    from geostack_dagster.catalog.search import search

    forget_connections()
    replay("pc_landing_2025", "generic_404")
    query = asked("not-a-collection-id", start="2024-01-01", end="2024-01-02")
    with pytest.raises(ConfigurationError, match="has no collection 'not-a-collection-id'"):
        search(at(PLANETARY_COMPUTER, PLANETARY_COMPUTER.stac_url), query, client=client)
    forget_connections()
