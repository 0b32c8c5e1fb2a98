import json
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from geostack_dagster.auth.broker import Broker
from geostack_dagster.auth.resolution import Settings
from geostack_dagster.auth.sas import SasSigner
from geostack_dagster.domain.hrefs import canonical
from geostack_dagster.errors import (
    AssetError,
    ConfigurationError,
    RejectedCredentialError,
    ServiceError,
)

HREF = canonical("https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/48/X/VR/B04.tif")


class TokenService:
    """Answers in the recorded shape; every token is different."""

    def __init__(self, loopback, reply, monkeypatch, lifetime_s: float = 2700) -> None:
        self.loopback, self.reply, self.lifetime_s = loopback, reply, lifetime_s
        monkeypatch.setenv("PC_SDK_SAS_URL", f"{loopback.url}/api/sas/v1/token")
        loopback.answer = self

    def __call__(self, asked):
        expiry = datetime.now(UTC) + timedelta(seconds=self.lifetime_s)
        stamp = expiry.strftime("%Y-%m-%dT%H:%M:%SZ")
        signature = f"signature{len(self.loopback.asked):08d}%3D"
        token = f"st=2024-05-13T18%3A15%3A49Z&se={stamp}&sp=rl&sv=2021-06-08&sr=c&sig={signature}"
        return self.reply(200, {"msft:expiry": stamp, "token": token})


@pytest.fixture
def service(loopback, reply, monkeypatch):
    return TokenService(loopback, reply, monkeypatch)


@pytest.fixture
def signer():
    return SasSigner(broker=Broker())


def test_a_blob_gets_its_containers_token(service, signer):
    url = signer.sign(HREF).url
    assert url.startswith(HREF + "?")
    assert parse_qs(urlsplit(url).query)["sp"] == ["rl"]
    assert canonical(url) == HREF
    assert [asked.path for asked in service.loopback.asked] == [
        "/api/sas/v1/token/sentinel2l2a01/sentinel2-l2"
    ]
    assert signer.scope(HREF) == "sentinel2l2a01/sentinel2-l2"


def test_one_token_serves_every_blob_of_a_container(service, signer):
    for name in ("B02", "B03", "B04"):
        signer.sign(canonical(HREF.replace("B04", name)))
    signer.sign(canonical("https://landsateuwest.blob.core.windows.net/landsat-c2/x.tif"))
    assert len(service.loopback.asked) == 2


def test_a_query_of_the_asset_stays(service, signer):
    url = signer.sign(canonical(f"{HREF}?snapshot=2024")).url
    assert parse_qs(urlsplit(url).query)["snapshot"] == ["2024"]
    assert url.count("?") == 1


@pytest.mark.parametrize(
    "href",
    [
        "abfs://era5@cpdataeuwest.dfs.core.windows.net/era5/2020.zarr",
        "abfss://era5@cpdataeuwest.dfs.core.windows.net/era5/2020.zarr",
        "https://cpdataeuwest.blob.core.windows.net/era5/era5/2020.zarr",
    ],
)
def test_notations_of_one_blob_are_one_address(service, signer, href):
    expected = "https://cpdataeuwest.blob.core.windows.net/era5/era5/2020.zarr?"
    assert signer.sign(canonical(href)).url.startswith(expected)


@pytest.mark.parametrize(
    "href",
    [
        "abfs://era5/2020.zarr",
        "https://account.blob.core.windows.net/",
        "https://example.org/container/key",
        "s3://bucket/key",
    ],
)
def test_an_href_without_account_or_container_is_named(signer, href):
    with pytest.raises(ConfigurationError, match="storage account") as raised:
        signer.sign(canonical(href))
    assert href in str(raised.value)


@pytest.mark.usefixtures("impatient")
def test_a_refused_token_is_fetched_anew_once(service, signer):
    refused = [signer.sign(HREF) for _ in range(4)]
    for request in refused:
        assert signer.forget(HREF, request)
        assert signer.sign(HREF).url != request.url
    assert len(service.loopback.asked) == 2


def test_a_fresh_token_that_is_refused_is_not_asked_for_again(service, signer):
    assert not signer.forget(HREF, signer.sign(HREF))
    assert len(service.loopback.asked) == 1


def test_short_tokens_are_renewed_while_reading(loopback, reply, monkeypatch):
    service = TokenService(loopback, reply, monkeypatch, lifetime_s=2)
    signer = SasSigner(broker=Broker())
    started = time.monotonic()
    while time.monotonic() - started < 2.6:
        expiry = parse_qs(urlsplit(signer.sign(HREF).url).query)["se"][0]
        assert datetime.fromisoformat(expiry) > datetime.now(UTC)
        time.sleep(0.01)
    assert 2 <= len(service.loopback.asked) <= 4


def test_a_subscription_key_is_sent_and_may_come_from_its_settings_file(
    service, monkeypatch, tmp_path
):
    folder = tmp_path / ".planetarycomputer"
    folder.mkdir()
    (folder / "settings.env").write_text("PC_SDK_SUBSCRIPTION_KEY=from-file\n")
    SasSigner(broker=Broker()).sign(HREF)
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", "from-environment")
    SasSigner(broker=Broker()).sign(HREF)
    given = Settings(resource={"PC_SDK_SUBSCRIPTION_KEY": "from-resource"})
    SasSigner(settings=given, broker=Broker()).sign(HREF)
    sent = [asked.headers["ocp-apim-subscription-key"] for asked in service.loopback.asked]
    assert sent == ["from-file", "from-environment", "from-resource"]


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, RejectedCredentialError, "argument PC_SDK_SUBSCRIPTION_KEY"),
        (403, RejectedCredentialError, "argument PC_SDK_SUBSCRIPTION_KEY"),
        (404, AssetError, "sentinel2l2a01/sentinel2-l2"),
        (418, ServiceError, "418"),
    ],
)
def test_each_refusal_is_its_own_error(service, reply, status, error, words):
    given = Settings(arguments={"PC_SDK_SUBSCRIPTION_KEY": "hush-hush"})
    signer = SasSigner(settings=given, broker=Broker())
    service.loopback.script(reply(status, {"detail": "no"}))
    with pytest.raises(error, match=words) as raised:
        signer.sign(HREF)
    assert "hush-hush" not in str(raised.value)


def test_a_rate_limit_says_how_long(service, signer, reply):
    service.loopback.script(reply(429, headers={"Retry-After": "60"}))
    with pytest.raises(ServiceError) as raised:
        signer.sign(HREF)
    assert raised.value.retry_after_s == 60


@pytest.mark.parametrize(
    "document", [{}, [], None, {"token": "sp=rl"}, {"msft:expiry": "soon", "token": "sp=rl"}]
)
def test_an_answer_without_a_token_is_a_service_error(service, signer, reply, document):
    service.loopback.script(reply(200, document))
    with pytest.raises(ServiceError, match="without a token"):
        signer.sign(HREF)


def test_the_recorded_answer_is_understood(shared_fixtures, service, signer, reply):
    recorded = (shared_fixtures / "http/pc_sas_token.ndjson").read_text().splitlines()
    token, head = (json.loads(line) for line in recorded)
    answer = token["response"]["json"] | {"msft:expiry": "2999-05-14T19:00:49Z"}
    service.loopback.script(reply(200, answer))
    asked_for = canonical(head["request"]["uri"])
    signed = urlsplit(signer.sign(asked_for).url)
    assert parse_qs(signed.query) == parse_qs(urlsplit(head["request"]["uri"]).query)
    assert token["request"]["uri"].endswith(service.loopback.asked[0].path)
