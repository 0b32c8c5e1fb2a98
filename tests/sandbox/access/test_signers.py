"""Every signer of `auth/` opens its objects on the twins, by both transports, and asks once."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import pytest

from geostack_dagster.auth.broker import BROKER
from geostack_dagster.domain.hrefs import canonical
from geostack_dagster.errors import MissingCredentialError, RejectedCredentialError
from geostack_dagster.providers import provider_named
from geostack_dagster.providers.access import signer_for
from geostack_dagster.stack.reader.loop import wait
from geostack_dagster.stack.reader.source import ByteSource
from tests.sandbox.held import hold

LP = "lp-prod-protected/EMITL2BCH4ENH.002/probe/EMIT_signers.json"
READERS = 24


@dataclass(frozen=True, kw_only=True)
class Case:
    """An address, the variables that open it, and where tokens for it come from."""

    provider: str
    href: str
    variables: tuple[str, ...]
    tokens: tuple[str, str] | None = None
    """Host and path of the token service."""
    region: str = "none"


EARTHDATA = ("EARTHDATA_USERNAME", "EARTHDATA_PASSWORD")
FIND = ("urs.earthdata.nasa.gov", "/api/users/find_or_create_token")
CASES = {
    "S3 keys": Case(
        provider="cdse",
        href="s3://eodata/Sentinel-2/probe/signers.json",
        variables=("CDSE_ACCESS_KEY_ID", "CDSE_SECRET_ACCESS_KEY"),
    ),
    "OAuth2": Case(
        provider="cdse",
        href="https://download.dataspace.copernicus.eu/odata/v1/Products(1)/Nodes(a.json)/$value",
        variables=("CDSE_USERNAME", "CDSE_PASSWORD"),
        tokens=(
            "identity.dataspace.copernicus.eu",
            "/auth/realms/CDSE/protocol/openid-connect/token",
        ),
    ),
    "bearer": Case(
        provider="lpcloud",
        href=f"https://data.lpdaac.earthdatacloud.nasa.gov/{LP}",
        variables=EARTHDATA,
        tokens=FIND,
    ),
    "bearer for an S3 address": Case(
        provider="lpcloud", href=f"s3://{LP}", variables=EARTHDATA, tokens=FIND
    ),
    "STS": Case(
        provider="earthaccess",
        href=f"https://data.lpdaac.earthdatacloud.nasa.gov/{LP}",
        variables=EARTHDATA,
        tokens=("data.lpdaac.earthdatacloud.nasa.gov", "/s3credentials"),
        region="us-west-2",
    ),
    "Basic": Case(
        provider="enmap",
        href="https://download.geoservice.dlr.de/ENMAP/files/signers.json",
        variables=("ENMAP_USERNAME", "ENMAP_PASSWORD"),
    ),
    "requester pays": Case(
        provider="earth_search",
        href="s3://sentinel-s2-l1c/tiles/32/T/MT/signers.json",
        variables=("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    ),
    "SAS": Case(
        provider="planetary_computer",
        href="https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/probe/signers.json",
        variables=(),
        tokens=(
            "planetarycomputer.microsoft.com",
            "/api/sas/v1/token/sentinel2l2a01/sentinel2-l2",
        ),
    ),
}


with_secret = pytest.mark.parametrize(
    "case", [name for name, case in CASES.items() if case.variables], indirect=True
)


@pytest.fixture(params=CASES)
def case(request, in_sandbox, monkeypatch) -> Case:
    """Each scheme, with its account in the environment and nothing in the broker."""
    found = CASES[request.param]
    for name, value in in_sandbox.withheld.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GEOSTACK_AWS_REGION", found.region)
    monkeypatch.setenv("NETRC", "/nowhere")
    in_sandbox.control.set_token_lifetime(45 * 60)
    BROKER.clear()
    return found


@pytest.fixture(params=["obstore", "fsspec"])
def source(request, case) -> ByteSource:
    return ByteSource(signer_for(provider_named(case.provider)), transport=request.param)


async def read(source: ByteSource, href: str, times: int) -> list[bytes]:
    found = await asyncio.gather(*(source.opening(canonical(href), 1 << 16) for _ in range(times)))
    return [bytes(opening.data) for opening in found]


def test_objects_are_opened_and_tokens_asked_for_once(in_sandbox, case, source):
    body = hold(in_sandbox, case.provider, case.href)
    in_sandbox.control.clear_log()
    assert wait(read(source, case.href, READERS)) == [body] * READERS
    log = in_sandbox.control.log()
    assert not [entry for entry in log if entry["status"] >= 400]
    if case.tokens is not None:
        asked = [entry for entry in log if (entry["host"], entry["path"]) == case.tokens]
        assert len(asked) == 1


@with_secret
def test_a_wrong_secret_is_rejected(in_sandbox, case, source, monkeypatch):
    hold(in_sandbox, case.provider, case.href)
    monkeypatch.setenv(case.variables[1], "wrong")
    with pytest.raises(RejectedCredentialError, match=case.variables[0]) as caught:
        wait(read(source, case.href, 1))
    assert "wrong" not in str(caught.value).split()


@with_secret
def test_a_missing_secret_is_missing(in_sandbox, case, source, monkeypatch):
    hold(in_sandbox, case.provider, case.href)
    monkeypatch.delenv(case.variables[1])
    with pytest.raises(MissingCredentialError, match=case.variables[1]):
        wait(read(source, case.href, 1))


def test_a_refused_credential_is_renewed_once(in_sandbox, case, source, http, monkeypatch):
    """A scheme with a token service gets another token and goes on; keys have no other."""
    body = hold(in_sandbox, case.provider, case.href)
    wait(read(source, case.href, 1))
    monkeypatch.setattr("geostack_dagster.auth.broker._MIN_AGE", timedelta())
    in_sandbox.control.set_token_lifetime(40 * 60)  # a SAS of the same second would be the same
    in_sandbox.control.clear_log()
    if case.tokens == FIND:
        revoke(http, in_sandbox)
    else:
        # obstore asks twice: its own refusals do not say enough.
        times = 2 if source.transport == "obstore" else 1
        name = case.href.rpartition("/")[2]
        in_sandbox.control.fault(path=f"*/{name}", expire=True, times=times)
    if case.tokens is None:
        with pytest.raises(RejectedCredentialError):
            wait(read(source, case.href, 1))
        return
    assert wait(read(source, case.href, 1)) == [body]
    log = in_sandbox.control.log()
    assert len([entry for entry in log if (entry["host"], entry["path"]) == case.tokens]) == 1


def revoke(http, sandbox) -> None:
    login = tuple(sandbox.account[name] for name in EARTHDATA)
    users = "https://urs.earthdata.nasa.gov/api/users"
    for token in http.get(f"{users}/tokens", auth=login).json():
        query = {"token": token["access_token"]}
        http.post(f"{users}/revoke_token", params=query, auth=login)
