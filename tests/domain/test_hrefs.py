from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geostack_dagster.domain.hrefs import Location, basename, canonical, locate

PLAIN = st.from_regex(
    r"https://[a-z]{1,8}\.[a-z]{2,3}(/[A-Za-z0-9._~%,=@-]{0,10}){0,4}", fullmatch=True
)
FIELDS = st.lists(
    st.sampled_from(["versionId=a%2Cb", "assets=visual", "bidx=1,2,3", "f=json", "empty=", "flag"]),
    unique=True,
)
SIGNATURES = [
    "sig=abc%3D", "se=2024-05-14T19%3A00%3A49Z", "sp=rl", "sv=2021-06-08", "sr=c", "st=x",
    "skoid=1", "sktid=2", "skt=3", "ske=4", "sks=b", "skv=5", "X-Amz-Signature=ff",
    "X-Amz-Credential=AK%2Fx", "x-amz-security-token=t", "Signature=s", "Expires=17",
    "AWSAccessKeyId=AK", "token=secret", "access_token=secret", "subscription-key=k",
    "X-Goog-Signature=1", "Key-Pair-Id=K", "Policy=p",
]  # fmt: skip


@given(PLAIN, FIELDS, st.lists(st.sampled_from(SIGNATURES), unique=True), st.randoms())
def test_signatures_go_and_all_else_stays_as_it_was_written(url, fields, signatures, random):
    mixed = fields + signatures
    random.shuffle(mixed)
    kept = [field for field in mixed if field in fields]
    signed = f"{url}?{'&'.join(mixed)}" if mixed else url
    expected = f"{url}?{'&'.join(kept)}" if kept else url
    assert canonical(signed) == expected
    assert canonical(canonical(signed)) == canonical(signed)


@given(st.text())
def test_canonical_takes_any_text_and_is_idempotent(text):
    once = canonical(text)
    assert canonical(once) == once


def test_a_tile_service_address_is_not_a_signature():
    href = (
        "https://planetarycomputer.microsoft.com/api/data/v1/item/tilejson.json"
        "?collection=sentinel-2-l2a&items=S2A&assets=visual&bidx=1,2,3&nodata=0"
    )
    assert canonical(href) == href


def test_the_recorded_signed_address_becomes_the_blobs(shared_fixtures):
    import json

    lines = (shared_fixtures / "http/pc_sas_token.ndjson").read_text().splitlines()
    signed = json.loads(lines[1])["request"]["uri"]
    assert dict(parse_qsl(urlsplit(signed).query))["sig"]
    assert canonical(signed) == signed.partition("?")[0]


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("s3://Eodata/Sentinel-2/x.jp2", Location("s3", "eodata", "Sentinel-2/x.jp2")),
        ("https://Host:443/a/b", Location("https", "host", "a/b")),
        ("http://host:80/a", Location("http", "host", "a")),
        ("https://host:8443/a", Location("https", "host:8443", "a")),
        ("/data/a.tif", Location("file", "", "/data/a.tif")),
        ("file:///data/a.tif", Location("file", "", "/data/a.tif")),
        ("relative/a.tif", Location("file", "", "relative/a.tif")),
        ("http://[", Location("", "", "http://[")),
    ],
)
def test_locations(href, expected):
    assert locate(href) == expected


@pytest.mark.parametrize(
    ("href", "bucket"),
    [
        (
            "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/a.tif",
            "sentinel2l2a01/sentinel2-l2",
        ),
        ("s3://sentinel-cogs/a.tif", "sentinel-cogs"),
        ("https://download.geoservice.dlr.de/ENMAP/a.tif", "download.geoservice.dlr.de"),
    ],
)
def test_buckets(href, bucket):
    assert locate(href).bucket == bucket


@pytest.mark.parametrize(
    ("href", "name"),
    [
        ("https://h/a/EMIT_L2B_CH4ENH_002.tif?sig=x", "EMIT_L2B_CH4ENH_002.tif"),
        ("s3://b/tiles/39/T/WK/", "WK"),
        ("https://h", ""),
        ("", ""),
    ],
)
def test_basenames(href, name):
    assert basename(href) == name
