"""Earthdata Login and LP DAAC's gateway: tokens, the OAuth flow, S3 keys, who sees the bearer."""

import re
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.credentials import Credentials

from tests.sandbox.access.test_s3 import code, signed
from tests.sandbox.held import hold

LOGIN = "https://urs.earthdata.nasa.gov"
GATE = "https://data.lpdaac.earthdatacloud.nasa.gov"
KEY = "EMITL2BCH4ENH.002/probe/EMIT_probe.json"
CLOSED, OPEN = f"{GATE}/lp-prod-protected/{KEY}", f"{GATE}/lp-prod-public/{KEY}"
BROWSER = {"User-Agent": "Mozilla/5.0"}


@pytest.fixture
def login(in_sandbox) -> tuple[str, str]:
    account = in_sandbox.account
    return account["EARTHDATA_USERNAME"], account["EARTHDATA_PASSWORD"]


@pytest.fixture
def body(in_sandbox) -> bytes:
    return hold(in_sandbox, "lpcloud", CLOSED)


@pytest.fixture
def bearer(http, login) -> dict:
    token = http.post(f"{LOGIN}/api/users/find_or_create_token", auth=login).json()
    return {"Authorization": f"Bearer {token['access_token']}"}


def test_a_token_is_found_before_one_is_made(http, login):
    url = f"{LOGIN}/api/users/find_or_create_token"
    first = http.post(url, auth=login).json()
    assert list(first) == ["access_token", "token_type", "expiration_date"]
    assert re.fullmatch(r"\d\d/\d\d/\d{4}", first["expiration_date"])
    assert http.post(url, auth=login).json() == first
    assert first in http.get(f"{LOGIN}/api/users/tokens", auth=login).json()


def test_a_wrong_login_is_refused_as_recorded(http, login):
    for auth in (None, (login[0], "wrong")):
        answer = http.post(f"{LOGIN}/api/users/find_or_create_token", auth=auth)
        assert answer.status_code == 401
        assert answer.json() == {
            "error": "invalid_credentials",
            "error_description": "Invalid user credentials",
        }


def test_a_bearer_is_sent_on_to_another_host(http, bearer, body):
    answer = http.get(CLOSED, headers=bearer, allow_redirects=False)
    assert answer.status_code == 303
    target = answer.headers["Location"]
    assert urlsplit(target).hostname == "d1nklfio7vscoe.cloudfront.net"
    assert "X-Amz-Security-Token" in parse_qs(urlsplit(target).query)
    read = http.get(target, headers={"Range": "bytes=0-8"})
    assert (read.status_code, read.content) == (206, body[:9])
    refusal = http.get(target, headers=bearer)
    assert (refusal.status_code, code(refusal)) == (400, "InvalidArgument")
    assert http.head(target).status_code == 403, "it was signed for GET"
    assert code(http.get(target.replace("EMIT_probe", "EMIT_other"))) == "SignatureDoesNotMatch"


def test_a_signed_address_expires(http, in_sandbox, bearer, body):
    in_sandbox.control.set_token_lifetime(1)
    try:
        target = http.get(CLOSED, headers=bearer, allow_redirects=False).headers["Location"]
    finally:
        in_sandbox.control.set_token_lifetime(45 * 60)
    assert http.get(target).content == body
    time.sleep(2.1)
    answer = http.get(target)
    assert answer.status_code in (400, 403)
    assert code(answer) in ("ExpiredToken", "AccessDenied")


def test_public_files_are_open(http, in_sandbox):
    body = hold(in_sandbox, "lpcloud", OPEN)
    assert http.get(OPEN).content == body


@pytest.mark.parametrize(("agent", "status"), [("python-requests/2", 401), ("Mozilla/5.0", 200)])
def test_without_a_login_a_page_comes(http, body, agent, status):
    hops = http.get(CLOSED, headers={"User-Agent": agent})
    assert hops.history[0].status_code == 302
    assert urlsplit(hops.url).path == "/oauth/authorize"
    assert hops.status_code == status
    assert 'type="password"' in hops.text
    assert ("WWW-Authenticate" in hops.headers) is (status == 401)


def test_a_login_goes_the_oauth_way(http, login, body):
    redirect = http.get(CLOSED, allow_redirects=False)
    answer = http.get(redirect.headers["Location"], auth=login)
    assert answer.content == body
    assert [hop.status_code for hop in answer.history] == [302, 301, 303]
    assert {"asf-urs", "_urs-gui_session"} <= set(http.cookies.keys())
    assert http.get(CLOSED).content == body, "the cookie is enough now"


def test_a_wrong_login_does_not(http, login, body):
    redirect = http.get(CLOSED, headers=BROWSER, allow_redirects=False)
    answer = http.get(redirect.headers["Location"], auth=(login[0], "wrong"), headers=BROWSER)
    assert 'type="password"' in answer.text
    forged = f"{GATE}/login?code=eyJ.invented.code&state=/lp-prod-protected/{KEY}"
    assert http.get(forged).status_code == 401


def test_tampered_and_strange_tokens(http, bearer, body):
    spoiled = {"Authorization": bearer["Authorization"][:-2] + "AA"}
    answer = http.get(CLOSED, headers=spoiled, allow_redirects=False)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
    for header in ("Bearer opaque", "Basic bm86bm8="):
        answer = http.get(CLOSED, headers={"Authorization": header}, allow_redirects=False)
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith(f"{LOGIN}/oauth/authorize?")


def test_a_revoked_token(http, login, bearer, body):
    token = bearer["Authorization"].removeprefix("Bearer ")
    http.post(f"{LOGIN}/api/users/revoke_token", params={"token": token}, auth=login)
    answer = http.get(CLOSED, headers=bearer, allow_redirects=False)
    assert answer.status_code == 401
    another = http.post(f"{LOGIN}/api/users/find_or_create_token", auth=login).json()
    assert another["access_token"] != token


def test_s3_keys(http, bearer, body):
    answer = http.get(f"{GATE}/s3credentials", headers=bearer)
    keys = answer.json()
    assert list(keys) == ["accessKeyId", "secretAccessKey", "sessionToken", "expiration"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00", keys["expiration"])
    assert datetime.fromisoformat(keys["expiration"]) > datetime.now(UTC) + timedelta(minutes=44)
    assert http.get(f"{GATE}/s3credentials", headers=bearer).json() != keys, "minted each time"
    url = f"https://lp-prod-protected.s3.us-west-2.amazonaws.com/{KEY}"
    found = Credentials(keys["accessKeyId"], keys["secretAccessKey"], keys["sessionToken"])
    assert http.get(url, headers=signed(url, found, region="us-west-2")).content == body
    for token, status, error in (
        ("another", 400, "InvalidToken"),
        (None, 403, "InvalidAccessKeyId"),  # temporary keys are known with their token only
    ):
        wrong = Credentials(found.access_key, found.secret_key, token)
        refusal = http.get(url, headers=signed(url, wrong, region="us-west-2"))
        assert (refusal.status_code, code(refusal)) == (status, error)
    elsewhere = "https://sentinel-s2-l2a.s3.eu-central-1.amazonaws.com/x"
    payer = {"x-amz-request-payer": "requester"}
    refusal = http.get(elsewhere, headers=signed(elsewhere, found, region="eu-central-1", **payer))
    assert (refusal.status_code, code(refusal)) == (403, "AccessDenied")


def test_s3_keys_expire(http, in_sandbox, bearer, body):
    in_sandbox.control.set_token_lifetime(1)
    try:
        keys = http.get(f"{GATE}/s3credentials", headers=bearer).json()
    finally:
        in_sandbox.control.set_token_lifetime(45 * 60)
    found = Credentials(keys["accessKeyId"], keys["secretAccessKey"], keys["sessionToken"])
    url = f"https://lp-prod-protected.s3.us-west-2.amazonaws.com/{KEY}"
    assert http.get(url, headers=signed(url, found, region="us-west-2")).status_code == 200
    time.sleep(2.1)
    refusal = http.get(url, headers=signed(url, found, region="us-west-2"))
    assert (refusal.status_code, code(refusal)) == (400, "ExpiredToken")


def test_s3_keys_want_a_login(http):
    answer = http.get(f"{GATE}/s3credentials", allow_redirects=False)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(f"{LOGIN}/oauth/authorize?")


def test_a_licence_that_was_not_accepted(http, in_sandbox, bearer, body):
    in_sandbox.control.fault(host="data.lpdaac.*", unlicensed=True)
    for url in (CLOSED, f"{GATE}/s3credentials"):
        answer = http.get(url, headers=bearer)
        assert answer.status_code == 403
        assert answer.json()["error_description"] == "EULA Acceptance Failure"
        assert answer.json()["resolution_url"].startswith(f"{LOGIN}/approve_app?client_id=")


def test_what_is_not_there(http, bearer):
    answer = http.get(CLOSED.replace("EMIT_probe", "EMIT_nothing"), headers=bearer)
    assert (answer.status_code, answer.headers["Content-Type"][:9]) == (404, "text/html")
    assert http.get(f"{GATE}/lp-prod-secret/x", headers=bearer).status_code == 404
    assert http.put(CLOSED, headers=bearer, data=b"mine").status_code == 405
