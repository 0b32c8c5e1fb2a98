"""S3 keys, temporary keys and signatures: what moto accepts of our reads, and what it refuses."""

import time

import numpy as np
import pytest

from geostack_dagster.auth.broker import Broker
from geostack_dagster.auth.requester_pays import RequesterPaysSigner
from geostack_dagster.auth.resolution import Settings
from geostack_dagster.auth.s3_keys import S3KeysSigner
from geostack_dagster.domain.hrefs import Href
from geostack_dagster.errors import AssetError, MissingCredentialError, RejectedCredentialError
from geostack_dagster.providers import CDSE, LPCLOUD
from geostack_dagster.providers.access import signer_for
from geostack_dagster.stack.load import open_stack
from geostack_dagster.stack.loaders import LOADERS
from geostack_dagster.stack.reader.loop import wait
from geostack_dagster.stack.reader.refusal import StaleError
from tests.services.aws import REGION, Cloud, Keys
from tests.stack.conftest import item, recipe, tiff, unique

pytestmark = pytest.mark.services

BUCKET, OTHER, DOTTED = "eodata", "lp-prod-protected", "dotted.bucket.name"
PIXELS = unique(512, 512)
CONTENT = bytes(range(256)) * 512
ODD = [
    "a b.bin",
    "a+b.bin",
    "é/ü.bin",
    "(1)~!'*.bin",
    "a=b&c.bin",
    "x@y:z,;.bin",
    "S2.SAFE/a..b.bin",
]


def fill(cloud: Cloud) -> Keys:
    """Buckets with a scene and plain bytes; keys that may read the first bucket."""
    for bucket in (BUCKET, OTHER, DOTTED):
        cloud.bucket(bucket)
        cloud.put(bucket, "48/X/VR/B04.tif", tiff(PIXELS))
        cloud.put(bucket, "plain.bin", CONTENT)
    cloud.put(BUCKET, "refused.tif", tiff(PIXELS))
    for name in ODD:
        cloud.put(BUCKET, name, name.encode())
    # moto takes the first label of CDSE's host for the bucket, and the bucket for part of the key.
    cloud.put(BUCKET, f"{BUCKET}/48/X/VR/B04.tif", tiff(PIXELS))
    return cloud.reader(BUCKET)


@pytest.fixture(scope="module")
def keys(cloud):
    return fill(cloud)


@pytest.fixture(scope="module")
def aws_keys(running_aws):
    return fill(running_aws.cloud)


@pytest.fixture
def signer(cloud, keys):
    """Makes signers for the path-style endpoint; keys may be changed."""

    def make(**changed: str) -> S3KeysSigner:
        values = {"TEST_KEY_ID": keys.key_id, "TEST_SECRET": keys.secret} | changed
        return S3KeysSigner(
            endpoint=cloud.url,
            region=REGION,
            id_variable="TEST_KEY_ID",
            secret_variable="TEST_SECRET",
            registration="Make keys.",
            settings=Settings(arguments={name: v for name, v in values.items() if v}),
            broker=Broker(),
        )

    return make


def read(source, href: str = f"s3://{BUCKET}/plain.bin") -> bytes:
    (found,) = wait(source.ranges(Href(href), [1000], [1300]))
    return bytes(found)


def pixels(href: str, signer, loader: str) -> np.ndarray:
    scene = recipe([item(assets={"B04": href})])
    stack = open_stack(scene, signer=signer, loader=loader, chunks={"y": 200, "x": 200})
    return stack.B04[0].compute().to_numpy()


@pytest.mark.parametrize("loader", LOADERS)
def test_every_loader_reads_the_pixels_with_keys(signer, loader):
    found = pixels(f"s3://{BUCKET}/48/X/VR/B04.tif", signer(), loader)
    np.testing.assert_array_equal(found, PIXELS)


def test_ranges_come_whole(signer, source):
    made = source(signer())
    opening = wait(made.opening(Href(f"s3://{BUCKET}/plain.bin"), 100))
    assert (bytes(opening.data), opening.size) == (CONTENT[:100], len(CONTENT))
    assert read(made) == CONTENT[1000:1300]


@pytest.mark.parametrize("name", ODD)
def test_odd_keys_are_signed_as_the_server_does(signer, source, name):
    opening = wait(source(signer()).opening(Href(f"s3://{BUCKET}/{name}"), 100))
    assert bytes(opening.data).decode() == name


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"TEST_SECRET": "wrong" * 8}, "SignatureDoesNotMatch"),
        ({"TEST_KEY_ID": "AKIAUNKNOWN"}, "InvalidAccessKeyId"),
    ],
)
def test_wrong_keys_are_rejected_and_not_shown(signer, source, changed, code):
    with pytest.raises(RejectedCredentialError, match=f"403 {code}.*TEST_KEY_ID") as found:
        read(source(signer(**changed)))
    assert not any(value in str(found.value) for value in changed.values())


@pytest.mark.parametrize("loader", LOADERS)
def test_every_loader_names_rejected_keys(signer, loader):
    # Of a file that nobody read before: GDAL keeps what it read in one cache for the process.
    with pytest.raises(RejectedCredentialError, match="403 SignatureDoesNotMatch"):
        pixels(f"s3://{BUCKET}/refused.tif", signer(TEST_SECRET="wrong" * 8), loader)


def test_another_bucket_is_denied(signer, source):
    with pytest.raises(RejectedCredentialError, match="403 AccessDenied"):
        read(source(signer()), f"s3://{OTHER}/plain.bin")


def test_no_keys_are_missing_keys(signer, source):
    with pytest.raises(MissingCredentialError, match="TEST_SECRET"):
        read(source(signer(TEST_SECRET="")))


def test_an_object_that_is_not_there(signer, source):
    with pytest.raises(AssetError, match="404"):
        read(source(signer()), f"s3://{BUCKET}/nothing.bin")


def test_an_object_that_was_replaced_is_stale(cloud, signer, source):
    cloud.put(BUCKET, "changing.bin", CONTENT)
    made, href = source(signer()), Href(f"s3://{BUCKET}/changing.bin")
    etag = wait(made.opening(href, 10)).etag
    assert etag is not None
    wait(made.ranges(href, [5], [9], etag=etag))
    cloud.put(BUCKET, "changing.bin", CONTENT[::-1])
    with pytest.raises(StaleError):
        wait(made.ranges(href, [5], [9], etag=etag))


class TestAtTheArchives:
    """With the providers' own records, at their real host names, over TLS."""

    @pytest.fixture(autouse=True)
    def inside(self, aws, aws_keys, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("GEOSTACK_AWS_REGION", REGION)
        monkeypatch.setenv("EARTHDATA_TOKEN", "opaque-earthdata-token")
        aws.give(OTHER)

    @pytest.mark.parametrize("loader", LOADERS)
    def test_cdse(self, aws_keys, loader, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("CDSE_ACCESS_KEY_ID", aws_keys.key_id)
        monkeypatch.setenv("CDSE_SECRET_ACCESS_KEY", aws_keys.secret)
        found = pixels(f"s3://{BUCKET}/48/X/VR/B04.tif", signer_for(CDSE), loader)
        np.testing.assert_array_equal(found, PIXELS)

    @pytest.mark.parametrize("loader", LOADERS)
    def test_temporary_keys_of_a_data_centre(self, aws, loader):
        found = pixels(f"s3://{OTHER}/48/X/VR/B04.tif", signer_for(LPCLOUD), loader)
        np.testing.assert_array_equal(found, PIXELS)
        assert aws.keys.asked == ["/s3credentials"]

    def test_the_https_address_leads_to_s3_inside_the_region(self, source):
        href = f"https://data.lpdaac.earthdatacloud.nasa.gov/{OTHER}/plain.bin"
        assert read(source(signer_for(LPCLOUD)), href) == CONTENT[1000:1300]

    @pytest.mark.parametrize("token", ["", "another session's token"])
    def test_temporary_keys_need_their_session_token(self, aws, source, token):
        aws.give(OTHER, sessionToken=token or "x")
        with pytest.raises(RejectedCredentialError, match="lpdaac") as found:
            read(source(signer_for(LPCLOUD)), f"s3://{OTHER}/plain.bin")
        assert "opaque-earthdata-token" not in str(found.value)

    def test_temporary_keys_for_another_bucket(self, aws, source):
        aws.give(BUCKET)
        with pytest.raises(RejectedCredentialError, match="403 AccessDenied"):
            read(source(signer_for(LPCLOUD)), f"s3://{OTHER}/plain.bin")

    def test_temporary_keys_are_renewed_while_reading(self, aws, source):
        aws.give(OTHER, lifetime_s=2)
        made, until = source(signer_for(LPCLOUD)), time.monotonic() + 3
        while time.monotonic() < until:
            assert read(made, f"s3://{OTHER}/plain.bin") == CONTENT[1000:1300]
            time.sleep(0.05)
        assert 2 <= len(aws.keys.asked) <= 5

    @pytest.mark.parametrize("bucket", [BUCKET, DOTTED])
    def test_requester_pays_with_temporary_keys(
        self, aws, source, bucket, monkeypatch: pytest.MonkeyPatch
    ):
        for name, value in aws.cloud.session(bucket).environment.items():
            monkeypatch.setenv(name, value)
        signer = RequesterPaysSigner(region_of=lambda bucket: REGION, broker=Broker())
        assert read(source(signer), f"s3://{bucket}/plain.bin") == CONTENT[1000:1300]
