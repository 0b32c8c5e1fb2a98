"""S3 signatures are checked for real: in headers and in URLs, for lasting and temporary keys."""

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest
import requests
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.sandbox.held import hold

EODATA = "https://eodata.dataspace.copernicus.eu"
PAYS = "https://sentinel-s2-l2a.s3.eu-central-1.amazonaws.com"
LP = "https://lp-prod-protected.s3.us-west-2.amazonaws.com"
KEY = "probe/product info.json"
PATH = "/probe/product%20info.json"


def code(answer: requests.Response) -> str:
    return ET.fromstring(answer.content).findtext("Code") or ""


def signed(url: str, keys: Credentials, *, region="default", method="GET", **headers) -> dict:
    """Headers by botocore, which is what boto3 and s3fs send."""
    request = AWSRequest(method, url, headers=headers)
    S3SigV4Auth(keys, "s3", region).add_auth(request)
    return dict(request.headers.items())


def presigned(url: str, keys: Credentials, *, region: str, lifetime_s=60, method="GET") -> str:
    request = AWSRequest(method, url)
    S3SigV4QueryAuth(keys, "s3", region, expires=lifetime_s).add_auth(request)
    return str(request.url)


@pytest.fixture
def eodata(in_sandbox) -> Credentials:
    """The account's keys at CDSE, and an object to read with them."""
    hold(in_sandbox, "cdse", f"s3://eodata/{KEY}")
    account = in_sandbox.account
    return Credentials(account["CDSE_ACCESS_KEY_ID"], account["CDSE_SECRET_ACCESS_KEY"])


@pytest.fixture
def amazon(in_sandbox) -> Credentials:
    """The account's keys at Amazon, and an object whose reader pays."""
    hold(in_sandbox, "earth_search", f"s3://sentinel-s2-l2a/{KEY}")
    keys = in_sandbox.withheld
    return Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])


def test_signed_headers_open_an_object(http, eodata):
    url = f"{EODATA}/eodata{PATH}"
    answer = http.get(url, headers=signed(url, eodata, Range="bytes=0-8"))
    assert (answer.status_code, answer.content) == (206, b'{"item": ')


def test_any_region_will_do_at_cdse(http, eodata):
    url = f"{EODATA}/eodata{PATH}"
    assert http.get(url, headers=signed(url, eodata, region="RegionOne")).status_code == 200


def test_a_signature_covers_a_query(http, eodata):
    url = f"{EODATA}/eodata?list-type=2&prefix=probe%2F&delimiter=%2F"
    answer = http.get(url, headers=signed(url, eodata))
    assert re.findall("<Key>(.*?)</Key>", answer.text) == [KEY]
    assert code(http.get(f"{url}&max-keys=1", headers=signed(url, eodata))) == (
        "SignatureDoesNotMatch"
    )


def test_nobody_reads_unsigned(http, eodata):
    answer = http.get(f"{EODATA}/eodata{PATH}")
    assert (answer.status_code, code(answer)) == (403, "AccessDenied")
    assert ET.fromstring(answer.content).findtext("Message") == "", "Ceph says its code only"


@pytest.mark.parametrize(
    ("spoil", "status", "error"),
    [
        (lambda key, secret: Credentials("AKIANOBODY", secret), 403, "InvalidAccessKeyId"),
        (lambda key, secret: Credentials(key, "wrong"), 403, "SignatureDoesNotMatch"),
        (lambda key, secret: Credentials(key, secret, "invented"), 400, "InvalidToken"),
    ],
    ids=["unknown key", "wrong secret", "a token it never had"],
)
def test_wrong_keys(http, eodata, spoil, status, error):
    url = f"{EODATA}/eodata{PATH}"
    answer = http.get(url, headers=signed(url, spoil(eodata.access_key, eodata.secret_key)))
    assert (answer.status_code, code(answer)) == (status, error)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda url, headers: (url.replace("info", "other"), headers),
        lambda url, headers: (url, headers | {"Range": "bytes=0-999"}),
        lambda url, headers: (f"{url}?versionId=1", headers),
        lambda url, headers: (url, headers | {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}),
    ],
    ids=["path", "range", "query", "body"],
)
def test_what_was_signed_cannot_be_changed(http, eodata, tamper):
    url = f"{EODATA}/eodata{PATH}"
    url, headers = tamper(url, signed(url, eodata, Range="bytes=0-8"))
    answer = http.get(url, headers=headers)
    assert (answer.status_code, code(answer)) == (403, "SignatureDoesNotMatch")


def test_an_unsigned_amazon_header_is_refused(http, amazon):
    url = f"{PAYS}{PATH}"
    headers = signed(url, amazon, region="eu-central-1") | {"x-amz-request-payer": "requester"}
    answer = http.get(url, headers=headers)
    assert (answer.status_code, code(answer)) == (403, "AccessDenied")
    assert ET.fromstring(answer.content).findtext("HeadersNotSigned") == "x-amz-request-payer"


@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_wrong_clock_is_refused(http, eodata, monkeypatch, minutes):
    url = f"{EODATA}/eodata{PATH}"
    wrong = datetime.now(UTC) + timedelta(minutes=minutes)
    monkeypatch.setattr(
        "botocore.auth.get_current_datetime", lambda **_: wrong.replace(tzinfo=None)
    )
    answer = http.get(url, headers=signed(url, eodata))
    assert (answer.status_code, code(answer)) == (403, "RequestTimeTooSkewed")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
def test_keys_do_not_write(http, eodata, method):
    url = f"{EODATA}/eodata{PATH}"
    answer = http.request(method, url, headers=signed(url, eodata, method=method))
    assert (answer.status_code, code(answer)) == (403, "AccessDenied")


def test_cdse_keys_open_nothing_at_amazon(http, eodata, amazon):
    url = f"{PAYS}{PATH}"
    headers = {"x-amz-request-payer": "requester"}
    answer = http.get(url, headers=signed(url, eodata, region="eu-central-1", **headers))
    assert (answer.status_code, code(answer)) == (403, "InvalidAccessKeyId")


def test_the_requester_pays(http, amazon):
    url, payer = f"{PAYS}{PATH}", {"x-amz-request-payer": "requester"}
    answer = http.get(url, headers=signed(url, amazon, region="eu-central-1", **payer))
    assert (answer.status_code, answer.headers["x-amz-request-charged"]) == (200, "requester")
    answer = http.get(url, headers=signed(url, amazon, region="eu-central-1"))
    assert (answer.status_code, code(answer)) == (403, "AccessDenied")
    assert code(http.get(url, headers=payer)) == "AccessDenied"


def test_a_signature_is_for_one_region(http, amazon):
    url, payer = f"{PAYS}{PATH}", {"x-amz-request-payer": "requester"}
    answer = http.get(url, headers=signed(url, amazon, region="us-west-2", **payer))
    assert (answer.status_code, code(answer)) == (400, "AuthorizationHeaderMalformed")
    assert ET.fromstring(answer.content).findtext("Region") == "eu-central-1"


def test_an_account_does_not_open_every_bucket(http, in_sandbox, amazon):
    hold(in_sandbox, "lpcloud", f"s3://lp-prod-protected/{KEY}")
    url = f"{LP}{PATH}"
    answer = http.get(url, headers=signed(url, amazon, region="us-west-2"))
    assert (answer.status_code, code(answer)) == (403, "AccessDenied")


def test_presigned_urls(http, amazon):
    url = presigned(f"{PAYS}{PATH}?x-amz-request-payer=requester", amazon, region="eu-central-1")
    assert http.get(url, headers={"Range": "bytes=0-8"}).status_code == 206
    answer = http.head(url)
    assert answer.status_code == 403, "the method is signed as well"
    answer = http.get(url.replace("info", "other"))
    assert (answer.status_code, code(answer)) == (403, "SignatureDoesNotMatch")


def test_a_presigned_url_goes_without_a_header(http, amazon):
    url = presigned(f"{PAYS}{PATH}", amazon, region="eu-central-1")
    answer = http.get(url, headers={"Authorization": "Bearer of-another-service"})
    assert (answer.status_code, code(answer)) == (400, "InvalidArgument")
    assert "Only one auth mechanism allowed" in answer.text


def test_a_presigned_url_expires(http, amazon, monkeypatch):
    earlier = datetime.now(UTC) - timedelta(seconds=5)
    monkeypatch.setattr(
        "botocore.auth.get_current_datetime", lambda **_: earlier.replace(tzinfo=None)
    )
    url = f"{PAYS}{PATH}?x-amz-request-payer=requester"
    assert http.get(presigned(url, amazon, region="eu-central-1")).status_code == 200
    answer = http.get(presigned(url, amazon, region="eu-central-1", lifetime_s=4))
    assert (answer.status_code, code(answer)) == (403, "AccessDenied")
    assert ET.fromstring(answer.content).findtext("Message") == "Request has expired"


def test_a_bearer_is_no_signature(http, eodata):
    answer = http.get(f"{EODATA}/eodata{PATH}", headers={"Authorization": "Bearer x"})
    assert (answer.status_code, code(answer)) == (400, "InvalidArgument")


def test_another_version_of_an_object(http, eodata):
    url = f"{EODATA}/eodata{PATH}"
    etag = http.head(url, headers=signed(url, eodata, method="HEAD")).headers["ETag"]
    assert http.get(url, headers=signed(url, eodata) | {"If-Match": etag}).status_code == 200
    answer = http.get(url, headers=signed(url, eodata) | {"If-Match": '"0"'})
    assert (answer.status_code, code(answer)) == (412, "PreconditionFailed")
