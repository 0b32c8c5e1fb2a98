import pytest

from geostack_dagster.auth.broker import Broker
from geostack_dagster.auth.requester_pays import RequesterPaysSigner
from geostack_dagster.auth.resolution import Settings
from geostack_dagster.domain.hrefs import canonical
from geostack_dagster.errors import MissingCredentialError

HREF = canonical("s3://usgs-landsat/collection02/x_B4.TIF")
KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "hush"}


def _signer(**values: str) -> RequesterPaysSigner:
    return RequesterPaysSigner(
        region_of=lambda _: "us-west-2", settings=Settings(arguments=values), broker=Broker()
    )


@pytest.mark.parametrize("values", [{}, {"AWS_ACCESS_KEY_ID": "AKID"}])
def test_without_keys_the_error_says_who_pays_and_what_to_set(values):
    with pytest.raises(MissingCredentialError, match="requester pays") as raised:
        _signer(**values).sign(HREF)
    assert "AWS_ACCESS_KEY_ID" in str(raised.value)
    assert "usgs-landsat" in str(raised.value)


def test_the_payer_is_part_of_the_signature():
    request = _signer(**KEYS).sign(HREF)
    assert request.url == "https://usgs-landsat.s3.us-west-2.amazonaws.com/collection02/x_B4.TIF"
    assert request.headers["x-amz-request-payer"] == "requester"
    assert "x-amz-request-payer" in request.headers["Authorization"]
    assert "/us-west-2/s3/aws4_request" in request.headers["Authorization"]
    assert "AKID" not in repr(request)


def test_temporary_keys_carry_their_session():
    request = _signer(**KEYS, AWS_SESSION_TOKEN="session").sign(HREF)
    assert request.headers["x-amz-security-token"] == "session"


@pytest.mark.usefixtures("impatient")
def test_keys_that_were_refused_help_only_when_they_have_changed(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    signer = RequesterPaysSigner(region_of=lambda _: "us-west-2", broker=Broker())
    request = signer.sign(HREF)
    assert not signer.forget(HREF, request)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "rotated")
    assert signer.forget(HREF, request)
    assert signer.sign(HREF).headers["Authorization"] != request.headers["Authorization"]
