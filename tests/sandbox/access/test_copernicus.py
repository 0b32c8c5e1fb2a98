"""The Copernicus Data Space: tokens of a client and of a user, and what they open."""

import time

import pytest

from tests.sandbox.held import hold

TOKEN = "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token"
NODE = "odata/v1/Products(0a1b)/Nodes(S2A_MSIL2A.SAFE)/Nodes(manifest.safe)/$value"
DOWNLOAD = f"https://download.dataspace.copernicus.eu/{NODE}"
ZIPPER = f"https://zipper.dataspace.copernicus.eu/{NODE}"


@pytest.fixture
def client(in_sandbox) -> dict:
    account = in_sandbox.account
    return {
        "grant_type": "client_credentials",
        "client_id": account["SH_CLIENT_ID"],
        "client_secret": account["SH_CLIENT_SECRET"],
    }


@pytest.fixture
def user(in_sandbox) -> dict:
    account = in_sandbox.account
    return {
        "grant_type": "password",
        "client_id": "cdse-public",
        "username": account["CDSE_USERNAME"],
        "password": account["CDSE_PASSWORD"],
    }


@pytest.fixture
def manifest(in_sandbox) -> bytes:
    return hold(in_sandbox, "cdse", DOWNLOAD)


def bearer(document: dict) -> dict:
    return {"Authorization": f"Bearer {document['access_token']}"}


def test_a_client_gets_a_token_without_refresh(http, client):
    answer = http.post(TOKEN, data=client)
    document = answer.json()
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert list(document) == [
        "access_token", "expires_in", "refresh_expires_in", "token_type", "not-before-policy",
        "scope",
    ]  # fmt: skip
    assert (document["expires_in"], document["refresh_expires_in"]) == (45 * 60, 0)
    assert document["access_token"].count(".") == 2, "shaped like a JWT"


def test_a_client_may_use_a_basic_header(http, client):
    login = client["client_id"], client["client_secret"]
    assert http.post(TOKEN, data={"grant_type": "client_credentials"}, auth=login).ok


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"client_id": "cdse-public"}, 401, "unauthorized_client"),
        ({"grant_type": "magic", "client_id": "cdse-public"}, 400, "unsupported_grant_type"),
        ({"grant_type": None}, 400, "invalid_request"),
    ],
)
def test_refused_clients(http, client, change, status, error):
    answer = http.post(TOKEN, data=client | change)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_a_wrong_password(http, user):
    answer = http.post(TOKEN, data=user | {"password": "wrong"})
    assert answer.status_code == 401
    assert answer.json() == {
        "error": "invalid_grant",
        "error_description": "Invalid user credentials",
    }


def test_a_user_refreshes(http, user, manifest):
    first = http.post(TOKEN, data=user).json()
    assert first["refresh_expires_in"] == 6 * first["expires_in"]
    again = {
        "grant_type": "refresh_token",
        "client_id": "cdse-public",
        "refresh_token": first["refresh_token"],
    }
    second = http.post(TOKEN, data=again).json()
    assert second["access_token"] != first["access_token"]
    assert http.get(DOWNLOAD, headers=bearer(second)).content == manifest
    answer = http.post(TOKEN, data=again | {"refresh_token": first["access_token"]})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("url", [DOWNLOAD, ZIPPER])
def test_downloads_want_a_token(http, user, manifest, url):
    token = http.post(TOKEN, data=user).json()
    answer = http.get(url, headers=bearer(token) | {"Range": "bytes=1-6"})
    assert (answer.status_code, answer.content) == (206, manifest[1:7])
    refusal = http.get(url)
    assert (refusal.status_code, refusal.json()) == (401, {"detail": "Unauthorized"})
    assert http.put(url, headers=bearer(token), data=b"mine").status_code == 405


def test_a_token_that_is_not_one(http, user, manifest):
    document = http.post(TOKEN, data=user).json()
    spoiled = document["access_token"][:-2] + "AA"
    for token in (spoiled, document["refresh_token"], "opaque"):
        answer = http.get(DOWNLOAD, headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid token!"})


def test_a_token_of_another_service(http, in_sandbox, manifest):
    account = in_sandbox.account
    login = account["EARTHDATA_USERNAME"], account["EARTHDATA_PASSWORD"]
    users = "https://urs.earthdata.nasa.gov/api/users"
    token = bearer(http.post(f"{users}/find_or_create_token", auth=login).json())
    assert http.get(DOWNLOAD, headers=token).json() == {"detail": "Invalid token!"}


def test_an_expired_token_says_so(http, in_sandbox, user, manifest):
    in_sandbox.control.set_token_lifetime(1)
    try:
        document = http.post(TOKEN, data=user).json()
    finally:
        in_sandbox.control.set_token_lifetime(45 * 60)
    assert document["expires_in"] == 1
    assert http.get(DOWNLOAD, headers=bearer(document)).status_code == 200
    time.sleep(2)
    answer = http.get(DOWNLOAD, headers=bearer(document))
    assert (answer.status_code, answer.json()) == (401, {"detail": "Expired signature!"})


def test_a_rule_can_let_tokens_expire(http, in_sandbox, user, manifest):
    token = bearer(http.post(TOKEN, data=user).json())
    in_sandbox.control.fault(host="download.*", expire=True, times=1)
    assert http.get(DOWNLOAD, headers=token).status_code == 401
    assert http.get(DOWNLOAD, headers=token).status_code == 200
