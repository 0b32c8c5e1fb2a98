import base64
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from geostack_dagster.auth.broker import Broker
from geostack_dagster.auth.earthdata import EarthdataAccess, EarthdataS3Signer, EarthdataSigner
from geostack_dagster.auth.resolution import Settings
from geostack_dagster.domain.hrefs import canonical
from geostack_dagster.errors import (
    ConfigurationError,
    MissingCredentialError,
    RejectedCredentialError,
    ServiceError,
)

KEY = "EMITL2BCH4ENH.002/x/EMIT_L2B_CH4ENH_002_x.tif"
HTTPS = canonical(f"https://data.lpdaac.earthdatacloud.nasa.gov/lp-prod-protected/{KEY}")
S3 = canonical(f"s3://lp-prod-protected/{KEY}")
LOGIN = {"EARTHDATA_USERNAME": "me", "EARTHDATA_PASSWORD": "hush-hush"}
INSIDE, OUTSIDE = {"GEOSTACK_AWS_REGION": "us-west-2"}, {"GEOSTACK_AWS_REGION": "none"}


def jwt(expires_at: datetime) -> str:
    body = base64.urlsafe_b64encode(json.dumps({"exp": int(expires_at.timestamp())}).encode())
    return f"eyJhbGciOiJSUzI1NiJ9.{body.decode().rstrip('=')}.c2lnbmF0dXJl"


class Earthdata:
    """Answers in the recorded shapes: login, tokens and S3 keys for an hour."""

    def __init__(self, server, reply, lifetime_s: float = 3600) -> None:
        self.server, self.reply, self.lifetime_s = server, reply, lifetime_s
        self.tokens = self.keys = 0
        self.revoked: set[str] = set()
        server.answer = self

    def __call__(self, asked):
        if asked.path == "/api/users/find_or_create_token":
            return self._login(asked)
        bearer = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if not bearer or bearer in self.revoked:
            location = "https://urs.earthdata.nasa.gov/oauth/authorize"
            return self.reply(302, headers={"Location": location}, body=b"<html>log in</html>")
        self.keys += 1
        expiry = datetime.now(UTC) + timedelta(seconds=self.lifetime_s)
        return self.reply(
            200,
            {
                "accessKeyId": f"ASIA{self.keys}",
                "secretAccessKey": "secret",
                "sessionToken": f"session{self.keys}",
                "expiration": expiry.strftime("%Y-%m-%d %H:%M:%S+00:00"),
            },
        )

    def _login(self, asked):
        expected = base64.b64encode(b"me:hush-hush").decode()
        if asked.headers.get("authorization") != f"Basic {expected}":
            return self.reply(
                401,
                {
                    "error": "invalid_credentials",
                    "error_description": "Invalid user credentials",
                },
            )
        self.tokens += 1
        return self.reply(
            200,
            {
                "access_token": f"token{self.tokens}",
                "token_type": "Bearer",
                "expiration_date": "11/19/2999",
            },
        )


@pytest.fixture
def earthdata(tls_loopback, reply):
    return Earthdata(tls_loopback, reply)


def bearer_of(url: str, **arguments: str) -> EarthdataSigner:
    return EarthdataSigner(
        login_url=url,
        hosts=("*.earthdatacloud.nasa.gov", "localhost:*"),
        settings=Settings(arguments=arguments),
        broker=Broker(),
    )


def access_of(earthdata: Earthdata, **arguments: str) -> EarthdataAccess:
    bearer = bearer_of(earthdata.server.url, **arguments)
    keys = EarthdataS3Signer(
        bearer=bearer,
        credentials_url=f"{earthdata.server.url}/s3credentials",
        settings=bearer.settings,
        broker=bearer.broker,
    )
    return EarthdataAccess(bearer=bearer, s3=keys, data_host="data.lpdaac.earthdatacloud.nasa.gov")


# Bearer ---------------------------------------------------------------------------------------


def test_a_token_is_used_as_it_is():
    expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    token = jwt(expires_at)
    signer = bearer_of("https://urs.earthdata.nasa.gov", EARTHDATA_TOKEN=token, **LOGIN)
    request = signer.sign(HTTPS)
    assert request.headers == {"Authorization": f"Bearer {token}"}
    assert request.url == HTTPS
    assert signer.credential(HTTPS).expires_at == expires_at


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "a.!!.c", "a.bm90IGpzb24.c"])
def test_a_token_that_is_no_jwt_has_no_known_expiry(token):
    signer = bearer_of("https://urs.earthdata.nasa.gov", EARTHDATA_TOKEN=token)
    assert signer.credential(HTTPS).expires_at is None


def test_an_expired_token_is_named_before_it_is_tried():
    token = jwt(datetime.now(UTC) - timedelta(days=1))
    signer = bearer_of("https://urs.earthdata.nasa.gov", EARTHDATA_TOKEN=token)
    with pytest.raises(RejectedCredentialError, match="EARTHDATA_TOKEN expired at") as raised:
        signer.sign(HTTPS)
    assert token not in str(raised.value)


def test_a_user_and_password_are_exchanged_for_a_token_once(earthdata):
    signer = bearer_of(earthdata.server.url, **LOGIN)
    for _ in range(3):
        assert signer.sign(HTTPS).headers == {"Authorization": "Bearer token1"}
    assert earthdata.tokens == 1
    assert signer.credential(HTTPS).expires_at == datetime(2999, 11, 19, tzinfo=UTC)


def test_a_tokens_end_is_told_by_this_machines_clock(earthdata, reply):
    """Else a clock that is ahead would ask for the same token again and again before its end."""
    served = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    headers = {"Date": format_datetime(served, usegmt=True)}
    document = {"access_token": jwt(served + timedelta(minutes=5)), "token_type": "Bearer"}
    earthdata.server.script(reply(200, document, headers=headers))
    left = bearer_of(earthdata.server.url, **LOGIN).credential(HTTPS).expires_at - datetime.now(UTC)
    assert left.total_seconds() == pytest.approx(5 * 60, abs=10)


def test_netrc_of_the_login_host_is_the_last_place(earthdata, monkeypatch, tmp_path):
    host = earthdata.server.url.removeprefix("https://")
    netrc = Path(tmp_path / "netrc")
    netrc.write_text(f"machine {host} login me password hush-hush\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert bearer_of(earthdata.server.url).sign(HTTPS).headers["Authorization"] == "Bearer token1"


def test_a_wrong_password_names_its_variable(earthdata):
    wrong = {"EARTHDATA_USERNAME": "me", "EARTHDATA_PASSWORD": "wrong-secret"}
    with pytest.raises(RejectedCredentialError, match="invalid_credentials") as raised:
        bearer_of(earthdata.server.url, **wrong).sign(HTTPS)
    assert "EARTHDATA_PASSWORD" in str(raised.value)
    assert "wrong-secret" not in str(raised.value)


def test_without_a_login_all_three_ways_are_named():
    with pytest.raises(MissingCredentialError, match="EARTHDATA_TOKEN") as raised:
        bearer_of("https://urs.earthdata.nasa.gov").sign(HTTPS)
    for way in ("EARTHDATA_USERNAME", "EARTHDATA_PASSWORD", "urs.earthdata.nasa.gov to your netrc"):
        assert way in str(raised.value)


@pytest.mark.parametrize(
    "href",
    [
        "https://d1nklfio7vscoe.cloudfront.net/lp-prod-protected/x.tif",
        "https://lp-prod-protected.s3.us-west-2.amazonaws.com/x.tif",
        "http://data.lpdaac.earthdatacloud.nasa.gov/x.tif",
        "https://data.lpdaac.earthdatacloud.nasa.gov.evil.example/x.tif",
        "https://evil.example/.earthdatacloud.nasa.gov",
    ],
)
def test_the_bearer_goes_to_earthdata_alone(href):
    signer = bearer_of("https://urs.earthdata.nasa.gov", EARTHDATA_TOKEN="opaque")
    with pytest.raises(ConfigurationError, match="an Earthdata token is for https on"):
        signer.sign(canonical(href))


def test_the_recorded_login_is_understood(shared_fixtures, earthdata, reply):
    lines = (shared_fixtures / "http/edl_invalid_credentials_then_token.ndjson").read_text()
    refused, granted = (json.loads(line)["response"] for line in lines.splitlines()[:2])
    earthdata.server.script(
        reply(refused["status"], refused["json"]), reply(granted["status"], granted["json"])
    )
    signer = bearer_of(earthdata.server.url, **LOGIN)
    with pytest.raises(RejectedCredentialError, match="invalid_credentials"):
        signer.sign(HTTPS)
    # The recorded token expired in 2024: it is used, and asked for again soon.
    assert signer.sign(HTTPS).headers == {"Authorization": "Bearer REDACTED"}
    assert signer.credential(HTTPS).expires_at < datetime.now(UTC) + timedelta(minutes=11)


# S3 keys in the region -----------------------------------------------------------------------


def test_inside_the_region_both_addresses_are_read_from_s3(earthdata):
    access = access_of(earthdata, **LOGIN, **INSIDE)
    for href in (HTTPS, S3):
        request = access.sign(href)
        assert request.url == f"https://lp-prod-protected.s3.us-west-2.amazonaws.com/{KEY}"
        assert request.headers["x-amz-security-token"] == "session1"
        assert "Bearer" not in request.headers["Authorization"]
    assert (earthdata.tokens, earthdata.keys) == (1, 1)


def test_outside_the_region_both_addresses_are_read_over_https(earthdata):
    access = access_of(earthdata, **LOGIN, **OUTSIDE)
    for href in (HTTPS, S3):
        request = access.sign(href)
        assert request.url == HTTPS
        assert request.headers == {"Authorization": "Bearer token1"}
    assert earthdata.keys == 0


def test_short_keys_are_renewed_before_they_expire(tls_loopback, reply):
    earthdata = Earthdata(tls_loopback, reply, lifetime_s=2)
    access = access_of(earthdata, **LOGIN, **INSIDE)
    started = time.monotonic()
    while time.monotonic() - started < 2.3:
        assert access.credential(S3).expires_at > datetime.now(UTC)
        access.sign(S3)
        time.sleep(0.01)
    assert 2 <= earthdata.keys <= 4
    assert earthdata.tokens == 1


@pytest.mark.usefixtures("impatient")
def test_a_revoked_token_is_replaced_on_the_way_to_keys(earthdata):
    access = access_of(earthdata, **LOGIN, **INSIDE)
    access.bearer.sign(HTTPS)
    earthdata.revoked.add("token1")
    assert access.sign(S3).headers["x-amz-security-token"] == "session1"
    assert earthdata.tokens == 2


@pytest.mark.usefixtures("impatient")
def test_refused_keys_are_replaced(earthdata):
    access = access_of(earthdata, **LOGIN, **INSIDE)
    request = access.sign(S3)
    assert access.forget(S3, request)
    assert access.sign(S3).headers["x-amz-security-token"] == "session2"


def test_a_login_page_means_the_token_is_no_good(earthdata):
    earthdata.revoked.add("opaque-token")
    access = access_of(earthdata, EARTHDATA_TOKEN="opaque-token", **INSIDE)
    with pytest.raises(RejectedCredentialError, match="expired or was revoked") as raised:
        access.sign(S3)
    assert "EARTHDATA_TOKEN" in str(raised.value)
    assert "opaque-token" not in str(raised.value)


def test_a_licence_that_was_not_accepted_is_recognised(earthdata, reply):
    body = {
        "status_code": 403,
        "error_description": "EULA Acceptance Failure",
        "resolution_url": "https://urs.earthdata.nasa.gov/approve_app?client_id=x",
    }
    access = access_of(earthdata, EARTHDATA_TOKEN="opaque-token", **INSIDE)
    earthdata.server.script(reply(403, body))
    with pytest.raises(RejectedCredentialError, match="licence of this data") as raised:
        access.sign(S3)
    assert "approve_app" in str(raised.value)


@pytest.mark.parametrize(
    ("status", "document"), [(200, {}), (200, {"accessKeyId": "A"}), (404, {"detail": "no"})]
)
def test_an_answer_without_keys_is_a_service_error(earthdata, reply, status, document):
    access = access_of(earthdata, EARTHDATA_TOKEN="opaque-token", **INSIDE)
    earthdata.server.script(reply(status, document))
    with pytest.raises(ServiceError, match="without S3 keys"):
        access.sign(S3)


def test_the_printed_shape_of_keys_is_understood(shared_fixtures, earthdata, reply):
    printed = json.loads((shared_fixtures / "umm/edl_s3credentials_shape.json").read_text())
    printed["expiration"] = printed["expiration"].replace("2022", "2999")
    access = access_of(earthdata, EARTHDATA_TOKEN="opaque-token", **INSIDE)
    earthdata.server.script(reply(200, printed))
    credential = access.credential(S3)
    assert credential.values["token"] == printed["sessionToken"]
    assert credential.expires_at == datetime(2999, 7, 28, 16, 55, 32, tzinfo=UTC)
