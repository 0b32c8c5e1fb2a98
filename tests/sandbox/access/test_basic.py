"""DLR's downloads: a user name and password, on every request."""

import pytest

from tests.sandbox.held import hold

URL = "https://download.geoservice.dlr.de/ENMAP/files/L2A/METADATA.json"


@pytest.fixture
def login(in_sandbox) -> tuple[str, str]:
    return in_sandbox.account["ENMAP_USERNAME"], in_sandbox.account["ENMAP_PASSWORD"]


@pytest.fixture
def body(in_sandbox) -> bytes:
    return hold(in_sandbox, "enmap", URL)


def test_a_login_opens_files(http, login, body):
    answer = http.get(URL, auth=login, headers={"Range": "bytes=2-5"})
    assert (answer.status_code, answer.content) == (206, body[2:6])
    assert answer.headers["Content-Range"] == f"bytes 2-5/{len(body)}"
    whole = http.get(URL, auth=login)
    assert (whole.status_code, whole.content) == (200, body)
    assert http.get(URL, auth=login, headers={"If-Match": '"0"'}).status_code == 412


@pytest.mark.parametrize("wrong", [("", ""), ("nobody", "x")])
def test_no_login_and_a_wrong_one(http, body, login, wrong):
    for auth in (None, wrong, (login[0], "wrong")):
        answer = http.get(URL, auth=auth)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
        assert answer.headers["Content-Type"].startswith("text/html")


def test_what_else_is_refused(http, login, body):
    assert http.put(URL, auth=login, data=b"mine").status_code == 405
    assert http.get(URL.replace("METADATA", "NOTHING"), auth=login).status_code == 404
    assert http.get(URL, auth=login, headers={"Range": "bytes=999-"}).status_code == 416
    token = {"Authorization": "Bearer x"}
    assert http.get(URL, headers=token).status_code == 401
