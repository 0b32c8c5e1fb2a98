"""Refusals of Azure Blob and S3 are the providers' own: status, code and wording."""

import re
import time
from datetime import datetime, timedelta
from urllib.parse import parse_qs
from xml.etree import ElementTree as ET

import pytest

from tests.sandbox.conftest import PLANETARY, signed

COGS = "https://sentinel-cogs.s3.us-west-2.amazonaws.com"


def code(response) -> str:
    return ET.fromstring(response.content).findtext("Code")


@pytest.fixture
def href(planetary_item) -> str:
    return planetary_item["assets"]["B04"]["href"]


def test_a_token_has_the_recorded_shape(http):
    answer = http.get(f"{PLANETARY}/sas/v1/token/sentinel2l2a01/sentinel2-l2").json()
    fields = parse_qs(answer["token"])
    assert list(fields) == [
        "st", "se", "sp", "sv", "sr", "skoid", "sktid", "skt", "ske", "sks", "skv", "sig",
    ]  # fmt: skip
    assert (fields["sp"], fields["sr"]) == (["rl"], ["c"])
    start, end = (datetime.fromisoformat(fields[name][0]) for name in ("st", "se"))
    assert end == datetime.fromisoformat(answer["msft:expiry"])
    assert timedelta(days=1, minutes=44) < end - start < timedelta(days=1, minutes=46)


def test_a_collection_leads_to_the_token_of_its_container(http, href):
    token = http.get(f"{PLANETARY}/sas/v1/token/sentinel-2-l2a").json()["token"]
    assert http.head(f"{href}?{token}").status_code == 200
    assert http.get(f"{PLANETARY}/sas/v1/token/no-such").status_code == 404


def test_a_signed_read(http, href):
    answer = http.get(signed(http, href), headers={"Range": "bytes=0-15"})
    assert answer.status_code == 206
    assert answer.content[:4] == b"II*\0"
    assert answer.headers["Content-Range"].startswith("bytes 0-15/")
    assert answer.headers["x-ms-blob-type"] == "BlockBlob"
    assert answer.headers["Server"].startswith("Windows-Azure-Blob/1.0")


def test_an_unsigned_read_is_a_conflict(http, href):
    answer = http.get(href)
    assert (answer.status_code, code(answer)) == (409, "PublicAccessNotPermitted")
    assert http.head(href).headers["x-ms-error-code"] == "PublicAccessNotPermitted"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda url: re.sub(r"sig=..", "sig=AA", url),
        lambda url: re.sub(r"se=\d{4}", "se=2099", url),
        lambda url: url.replace("sp=rl", "sp=rwdl"),
        lambda url: url.replace("sentinel2-l2/", "other-container/"),
        lambda url: url.replace("//sentinel2l2a01.", "//landsateuwest."),
    ],
    ids=["tampered", "prolonged", "widened", "other container", "other account"],
)
def test_a_spoiled_signature_is_refused(http, href, spoil):
    answer = http.get(spoil(signed(http, href)))
    assert (answer.status_code, code(answer)) == (403, "AuthenticationFailed")
    assert "Signature did not match" in answer.text


def test_an_expired_signature_says_so(http, href, in_sandbox):
    in_sandbox.control.set_token_lifetime(1)
    try:
        url = signed(http, href)
    finally:
        in_sandbox.control.set_token_lifetime(45 * 60)
    time.sleep(2.1)
    answer = http.get(url)
    assert (answer.status_code, code(answer)) == (403, "AuthenticationFailed")
    assert "Signature not valid in the specified time frame" in answer.text


def test_a_read_token_cannot_write(http, href):
    answer = http.put(signed(http, href), data=b"mine", headers={"x-ms-blob-type": "BlockBlob"})
    assert (answer.status_code, code(answer)) == (403, "AuthorizationPermissionMismatch")


def test_a_blob_that_is_not_there(http, href):
    answer = http.get(signed(http, href).replace("_B04_", "_B99_"))
    assert (answer.status_code, code(answer)) == (404, "BlobNotFound")


def test_blobs_can_be_listed(http, href):
    container, _, key = href.partition("/sentinel2-l2/")
    listing = signed(http, f"{container}/sentinel2-l2")
    folder = key.rpartition("/")[0]
    answer = http.get(listing, params={"restype": "container", "comp": "list", "prefix": folder})
    names = re.findall("<Name>(.*?)</Name>", answer.text)
    assert key in names
    assert all(name.startswith(folder) for name in names)


@pytest.mark.parametrize("path", ["", "path style"])
def test_public_buckets_are_open(http, earth_search_item, path):
    href = earth_search_item["assets"]["red"]["href"]
    if path:
        href = href.replace(COGS, "https://s3.us-west-2.amazonaws.com/sentinel-cogs")
    answer = http.get(href, headers={"Range": "bytes=0-3"})
    assert (answer.status_code, answer.content) == (206, b"II*\0")
    assert answer.headers["Server"] == "AmazonS3"
    assert re.fullmatch('"[0-9a-f]{32}"', answer.headers["ETag"])


@pytest.mark.parametrize(
    ("url", "status", "error"),
    [
        (f"{COGS}/nothing.tif", 404, "NoSuchKey"),
        ("https://no-such.s3.us-west-2.amazonaws.com/x", 404, "NoSuchBucket"),
        ("https://usgs-landsat.s3.us-west-2.amazonaws.com/x", 403, "AccessDenied"),
        ("https://sentinel-s2-l1c.s3.eu-central-1.amazonaws.com/x", 403, "AccessDenied"),
        (f"{COGS}/x?X-Amz-Signature=abc", 400, "AuthorizationQueryParametersError"),
    ],
)
def test_s3_refusals(http, url, status, error):
    answer = http.get(url)
    assert (answer.status_code, code(answer)) == (status, error)


def test_a_wrong_region_is_redirected(http):
    url = "https://sentinel-cogs.s3.eu-central-1.amazonaws.com/x"
    answer = http.get(url, allow_redirects=False)
    assert (answer.status_code, code(answer)) == (301, "PermanentRedirect")
    assert answer.headers["x-amz-bucket-region"] == "us-west-2"
    assert http.head(url, allow_redirects=False).headers["x-amz-bucket-region"] == "us-west-2"


def test_public_buckets_cannot_be_written(http):
    assert code(http.put(f"{COGS}/mine", data=b"x")) == "AccessDenied"


@pytest.mark.parametrize(
    ("asked", "status", "length"),
    [("bytes=10-19", 206, 10), ("bytes=-7", 206, 7), ("bytes=999999999999-", 416, None)],
)
def test_ranges(http, earth_search_item, asked, status, length):
    href = earth_search_item["assets"]["scl"]["href"]
    answer = http.get(href, headers={"Range": asked})
    assert answer.status_code == status
    if length is None:
        assert code(answer) == "InvalidRange"
    else:
        assert len(answer.content) == length


def test_listing_goes_page_by_page(http, earth_search_item):
    folder = "sentinel-s2-l2a-cogs/32/T/MT/2024/6/S2B_32TMT_20240628_0_L2A/"
    names, token = [], None
    for _ in range(9):
        params = {"list-type": "2", "prefix": folder, "max-keys": "4"}
        answer = http.get(COGS, params=params | ({"continuation-token": token} if token else {}))
        names += re.findall("<Key>(.*?)</Key>", answer.text)
        token = next(iter(re.findall("<NextContinuationToken>(.*?)<", answer.text)), None)
        if token is None:
            break
    held = {
        asset["href"].removeprefix(f"{COGS}/")
        for asset in earth_search_item["assets"].values()
        if asset["href"].startswith(COGS)
    }
    assert names == sorted(held)


def test_hosts_without_a_twin_are_refused(http, in_sandbox):
    import requests

    with pytest.raises(requests.exceptions.ProxyError, match="403"):
        http.get("https://example.com/")
    with pytest.raises(requests.exceptions.ProxyError, match="403"):
        http.get("https://planetarycomputer.microsoft.com:8443/")
    assert http.get("http://planetarycomputer.microsoft.com/").status_code == 403
    assert [entry["host"] for entry in in_sandbox.control.log()][:1] == ["example.com"]
