from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geostack_dagster.auth.sigv4 import S3Keys, signed_headers

EXAMPLE = S3Keys(
    key_id="AKIAIOSFODNN7EXAMPLE",
    secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    region="us-east-1",
)
NOON = datetime(2013, 5, 24, tzinfo=UTC)


def test_the_example_of_the_aws_manual():
    # "Authenticating Requests: Using the Authorization Header", example GET Object.
    headers = signed_headers(
        "https://examplebucket.s3.amazonaws.com/test.txt",
        EXAMPLE,
        now=NOON,
        extra={"range": "bytes=0-9"},
    )
    assert headers["Authorization"].endswith(
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


KEYS = st.text(
    st.characters(codec="utf-8", exclude_characters="#?\\", exclude_categories=["C", "Z"]),
    min_size=1,
    max_size=20,
).filter(lambda key: not key.startswith("/") and "%" not in key)


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow")
@given(key=KEYS, token=st.none() | st.just("session//token+="), region=st.sampled_from(["a", "b"]))
def test_signatures_equal_botocores(key, token, region):
    from urllib.parse import quote

    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    url = f"https://eodata.example.org/eodata/{quote(key, safe='/~')}"
    keys = S3Keys(key_id="AK", secret="se/cret", region=region, token=token)
    request = AWSRequest(method="GET", url=url)
    S3SigV4Auth(Credentials("AK", "se/cret", token), "s3", region).add_auth(request)
    stamp = request.headers["X-Amz-Date"]
    now = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    ours = signed_headers(url, keys, now=now)
    assert ours["Authorization"] == request.headers["Authorization"]
    assert ours.get("x-amz-security-token") == request.headers.get("X-Amz-Security-Token")


def test_keys_do_not_show():
    assert "EXAMPLE" not in repr(EXAMPLE)
