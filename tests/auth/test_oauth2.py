import time
from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest

from geostack_dagster.auth.broker import Broker
from geostack_dagster.auth.oauth2 import Grant, OAuth2Signer
from geostack_dagster.auth.resolution import Settings
from geostack_dagster.domain.hrefs import canonical
from geostack_dagster.errors import (
    ConfigurationError,
    MissingCredentialError,
    RejectedCredentialError,
    ServiceError,
)

HREF = canonical("https://sh.dataspace.copernicus.eu/api/v1/process")
CLIENT = {"SH_CLIENT_ID": "client", "SH_CLIENT_SECRET": "hush-hush"}


class TokenService:
    """Mints another token at every request, with the recorded members."""

    def __init__(self, loopback, reply, lifetime_s: float) -> None:
        self.loopback, self.reply, self.lifetime_s = loopback, reply, lifetime_s
        loopback.answer = self

    def __call__(self, asked):
        token = f"token-{len(self.loopback.asked)}"
        return self.reply(
            200, {"access_token": token, "expires_in": self.lifetime_s, "token_type": "Bearer"}
        )


@pytest.fixture
def service(loopback, reply):
    return TokenService(loopback, reply, 3599)


def signer(service, arguments=CLIENT) -> OAuth2Signer:
    grant = Grant(
        service="Sentinel Hub",
        token_url=f"{service.loopback.url}/token",
        form={"grant_type": "client_credentials"},
        variables={"client_id": "SH_CLIENT_ID", "client_secret": "SH_CLIENT_SECRET"},
        registration="Make a client.",
    )
    return OAuth2Signer(
        hosts=("sh.dataspace.copernicus.eu",),
        grant=grant,
        settings=Settings(arguments=arguments),
        broker=Broker(),
    )


def test_client_credentials_are_posted_and_the_bearer_used(service):
    found = signer(service)
    request = found.sign(HREF)
    assert request.headers == {"Authorization": "Bearer token-1"}
    (asked,) = service.loopback.asked
    assert asked.method == "POST"
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["client"],
        "client_secret": ["hush-hush"],
    }
    left = found.credential(HREF).expires_at - datetime.now(UTC)
    assert left.total_seconds() == pytest.approx(3599, abs=5)


def test_one_token_serves_catalogue_and_pixels(service):
    found = signer(service)
    for path in ("api/v1/process", "api/v1/catalog/1.0.0/search"):
        found.sign(canonical(f"https://sh.dataspace.copernicus.eu/{path}"))
    assert len(service.loopback.asked) == 1


def test_the_token_goes_to_no_other_host(service):
    for href in ("https://evil.example/x", "http://sh.dataspace.copernicus.eu/x"):
        with pytest.raises(ConfigurationError, match="Sentinel Hub is for https"):
            signer(service).sign(canonical(href))
    assert service.loopback.asked == []


def test_a_short_token_is_renewed_before_it_expires(loopback, reply):
    service = TokenService(loopback, reply, 1.5)
    found = signer(service)
    started = time.monotonic()
    while time.monotonic() - started < 2.5:
        assert found.credential(HREF).expires_at > datetime.now(UTC)
        time.sleep(0.01)
    assert 2 <= len(loopback.asked) <= 4


@pytest.mark.usefixtures("impatient")
def test_a_refused_token_is_replaced(service):
    found = signer(service)
    request = found.sign(HREF)
    assert found.forget(HREF, request)
    assert found.sign(HREF).headers == {"Authorization": "Bearer token-2"}


@pytest.mark.parametrize(
    ("arguments", "named", "unnamed"),
    [
        ({}, "SH_CLIENT_ID and SH_CLIENT_SECRET", None),
        ({"SH_CLIENT_ID": "client"}, "SH_CLIENT_SECRET", "SH_CLIENT_ID and"),
    ],
)
def test_exactly_what_is_missing_is_named(service, arguments, named, unnamed):
    with pytest.raises(MissingCredentialError, match=named) as raised:
        signer(service, arguments).sign(HREF)
    assert unnamed is None or unnamed not in str(raised.value)


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refused_client_names_its_variables_and_not_its_secret(service, reply, status):
    service.loopback.script(reply(status, {"error": "invalid_client"}))
    with pytest.raises(RejectedCredentialError, match="invalid_client") as raised:
        signer(service).sign(HREF)
    assert "SH_CLIENT_SECRET" in str(raised.value)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize("document", [{}, None, {"access_token": "t"}, {"expires_in": 5}])
def test_an_answer_without_a_token_is_a_service_error(service, reply, document):
    service.loopback.script(reply(200, document))
    with pytest.raises(ServiceError, match="without a token"):
        signer(service).sign(HREF)


def test_two_accounts_in_one_process_do_not_share_a_token(service):
    broker = Broker()
    mine, yours = (
        OAuth2Signer(hosts=found.hosts, grant=found.grant, settings=found.settings, broker=broker)
        for found in (
            signer(service),
            signer(service, {"SH_CLIENT_ID": "other", "SH_CLIENT_SECRET": "other-hush"}),
        )
    )
    assert mine.sign(HREF).headers != yours.sign(HREF).headers
    assert mine.sign(HREF).headers == {"Authorization": "Bearer token-1"}
    assert "hush" not in repr(broker)
