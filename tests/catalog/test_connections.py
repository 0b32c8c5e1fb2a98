"""Connections to a catalogue: several at once, with one TLS context that trusts nobody else."""

import ssl

import certifi
import pytest
import requests

from geostack_dagster.catalog.connections import Connections
from geostack_dagster.providers import provider_named
from geostack_dagster.sandbox import Sandbox

ROOT = provider_named("earth_search").stac_url


@pytest.fixture
def session(in_sandbox: Sandbox) -> requests.Session:
    session = requests.Session()
    session.mount("https://", Connections(2))
    return session


def test_connections_at_once_share_one_context_that_verifies(session: requests.Session) -> None:
    # Bodies are not read yet, so neither connection is free for the other.
    answers = [session.get(ROOT, stream=True, timeout=60) for _ in range(2)]
    sockets = [answer.raw.connection.sock for answer in answers]
    assert sockets[0] is not sockets[1]
    assert sockets[0].context is sockets[1].context
    assert sockets[0].context.verify_mode is ssl.CERT_REQUIRED
    assert sockets[0].context.check_hostname
    assert [answer.json()["type"] for answer in answers] == ["Catalog", "Catalog"]


def test_what_no_authority_vouches_for_is_refused(session: requests.Session) -> None:
    with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        session.get(ROOT, verify=certifi.where(), timeout=60)
