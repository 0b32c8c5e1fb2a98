"""A token of earthaccess's own login is the token that our exchange gets, and nothing else."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import earthaccess
import pytest

from geostack_dagster.auth.broker import Broker
from geostack_dagster.auth.earthdata import EarthdataSigner
from geostack_dagster.auth.resolution import Settings
from geostack_dagster.domain.hrefs import canonical
from geostack_dagster.errors import (
    ConfigurationError,
    GeostackError,
    MissingCredentialError,
    RejectedCredentialError,
    ServiceError,
)
from tests.real_hosts import Answer, RealHosts, Request, real_hosts

URS = "urs.earthdata.nasa.gov"
FILE = canonical("https://data.lpdaac.earthdatacloud.nasa.gov/lp-prod-protected/x.nc")
PASSWORD = "hush-hush"


def login(request: Request) -> Answer:
    """Earthdata Login as recorded: 401 without a login or with a wrong one, else a token."""
    if request.path != "/api/users/find_or_create_token":
        return Answer(404)
    expected = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
    if request.headers.get("authorization") != f"Basic {expected}":
        return Answer(401, b'{"error": "invalid_credentials"}')
    document = {
        "access_token": "a-token",
        "token_type": "Bearer",
        "expiration_date": "11/19/2999",
    }
    return Answer(200, json.dumps(document).encode())


@pytest.fixture
def urs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with real_hosts(tmp_path, (URS,), login) as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found


def signer(**arguments: str) -> EarthdataSigner:
    return EarthdataSigner(settings=Settings(arguments=arguments), broker=Broker())


def netrc(folder: Path, password: str = PASSWORD) -> None:
    path = folder / ".netrc"
    path.write_text(f"machine {URS} login me password {password}\n")
    path.chmod(0o600)


def environment(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("strategy", ["netrc", "environment"])
def test_both_ways_give_the_same_token(urs: RealHosts, tmp_path, monkeypatch, strategy):
    if strategy == "netrc":
        netrc(tmp_path)
    else:
        environment(monkeypatch, EARTHDATA_USERNAME="me", EARTHDATA_PASSWORD=PASSWORD)
    ours = signer().credential(FILE)
    theirs = signer(GEOSTACK_EARTHACCESS_LOGIN=strategy).credential(FILE)
    assert dict(theirs.values) == dict(ours.values) == {"access_token": "a-token"}
    assert theirs.expires_at == ours.expires_at == datetime(2999, 11, 19, tzinfo=UTC)
    assert strategy in theirs.source
    assert urs.strangers == []


def test_a_token_of_the_environment_is_taken_as_it_is(urs: RealHosts, monkeypatch):
    body = base64.urlsafe_b64encode(json.dumps({"exp": 4102444800}).encode()).decode().rstrip("=")
    environment(monkeypatch, EARTHDATA_TOKEN=f"eyJhbGciOiJSUzI1NiJ9.{body}.c2lnbmF0dXJl")
    ours = signer().credential(FILE)
    theirs = signer(GEOSTACK_EARTHACCESS_LOGIN="environment").credential(FILE)
    assert dict(theirs.values) == dict(ours.values)
    assert theirs.expires_at == ours.expires_at == datetime(2100, 1, 1, tzinfo=UTC)
    assert urs.asked == []


def test_earthaccess_itself_is_not_logged_in_by_it(urs: RealHosts, tmp_path):
    netrc(tmp_path)
    signer(GEOSTACK_EARTHACCESS_LOGIN="netrc").sign(FILE)
    assert not earthaccess.__auth__.authenticated
    assert earthaccess.__store__ is None


def test_a_session_of_this_process_can_be_used(monkeypatch):
    session = earthaccess.Auth()
    session.token = {"access_token": "of-the-session"}
    session.authenticated = True
    found = signer(GEOSTACK_EARTHACCESS_LOGIN="session")
    with pytest.raises(MissingCredentialError, match=r"earthaccess\.login\(\) first"):
        found.sign(FILE)
    monkeypatch.setattr(earthaccess, "_auth", session)
    assert found.sign(FILE).headers == {"Authorization": "Bearer of-the-session"}


def test_what_is_wrong_is_named(urs: RealHosts, tmp_path):
    def refused(strategy: str, kind: type[GeostackError], match: str) -> None:
        with pytest.raises(kind, match=match) as raised:
            signer(GEOSTACK_EARTHACCESS_LOGIN=strategy).sign(FILE)
        assert "wrong-secret" not in str(raised.value)
        assert raised.value.__cause__ is None

    refused("magic", ConfigurationError, "no login strategy 'magic'")
    refused("netrc", MissingCredentialError, r"No \.netrc found")
    refused("environment", MissingCredentialError, "EARTHDATA_USERNAME")
    netrc(tmp_path, password="wrong-secret")
    refused("netrc", RejectedCredentialError, "invalid_credentials")
    (tmp_path / ".netrc").write_text("machine wrong-secret login")
    refused("netrc", MissingCredentialError, "netrc")
    netrc(tmp_path)
    urs.answer = lambda request: Answer(503, b"<html>maintenance</html>")
    refused("netrc", ServiceError, "maintenance")
