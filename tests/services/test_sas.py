"""SAS tokens made with an account's key: what Azurite accepts of our reads, and what it refuses."""

import re
import time

import numpy as np
import pytest

from geostack_dagster.domain.hrefs import Href
from geostack_dagster.errors import AssetError, MissingCredentialError, RejectedCredentialError
from geostack_dagster.providers import PLANETARY_COMPUTER
from geostack_dagster.providers.access import signer_for
from geostack_dagster.stack.load import open_stack
from geostack_dagster.stack.loaders import LOADERS
from geostack_dagster.stack.reader.loop import wait
from geostack_dagster.stack.reader.refusal import StaleError
from tests.services.archives import ACCOUNT
from tests.stack.conftest import item, recipe, tiff, unique

pytestmark = pytest.mark.services

CONTAINER, OTHER = "sentinel2-l2", "landsat-c2"
ROOT = f"https://{ACCOUNT}.blob.core.windows.net/{CONTAINER}"
PIXELS = unique(512, 512)
CONTENT = bytes(range(256)) * 512
SPOILED = {
    "tampered": {"spoil": lambda token: re.sub("sig=..", "sig=AA", token)},
    "prolonged": {"spoil": lambda token: re.sub(r"se=\d{4}", "se=2099", token)},
    "widened": {"spoil": lambda token: token.replace("sp=rl", "sp=rwdl")},
    "expired": {"lifetime_s": -60, "promised_s": 2700},
    "for another container": {"container": OTHER},
    "for listing only": {"permissions": "l"},
}


@pytest.fixture(scope="module")
def filled(running_blobs):
    """Two containers with a scene and plain bytes."""
    for container in (CONTAINER, OTHER):
        running_blobs.account.create(container)
        running_blobs.account.put(container, "48/X/VR/B04.tif", tiff(PIXELS))
        running_blobs.account.put(container, "plain.bin", CONTENT)


@pytest.fixture
def archive(filled, blobs):
    return blobs


@pytest.fixture
def signer():
    return signer_for(PLANETARY_COMPUTER)


def read(source, href: str = f"{ROOT}/plain.bin", start: int = 1000, stop: int = 1300) -> bytes:
    (found,) = wait(source.ranges(Href(href), [start], [stop]))
    return bytes(found)


@pytest.mark.parametrize("loader", LOADERS)
def test_every_loader_reads_the_pixels_with_one_token(archive, signer, loader):
    scene = recipe([item(assets={"B04": f"{ROOT}/48/X/VR/B04.tif"})])
    found = open_stack(scene, signer=signer, loader=loader, chunks={"y": 200, "x": 200})
    np.testing.assert_array_equal(found.B04[0].compute().to_numpy(), PIXELS)
    assert archive.tokens.asked == [f"/token/{ACCOUNT}/{CONTAINER}"]


def test_ranges_come_whole(archive, signer, source):
    made = source(signer)
    opening = wait(made.opening(Href(f"{ROOT}/plain.bin"), 100))
    assert (bytes(opening.data), opening.size) == (CONTENT[:100], len(CONTENT))
    assert read(made) == CONTENT[1000:1300]
    assert read(made, f"{ROOT.replace(CONTAINER, OTHER)}/plain.bin") == CONTENT[1000:1300]
    assert len(archive.tokens.asked) == 2


def test_an_unsigned_read_misses_a_credential(archive, source):
    with pytest.raises(MissingCredentialError, match=r"plain\.bin"):
        read(source(None))


@pytest.mark.parametrize("spoiled", SPOILED.values(), ids=SPOILED)
def test_a_spoiled_token_is_a_rejected_credential(archive, signer, source, spoiled):
    archive.give(**spoiled)
    with pytest.raises(RejectedCredentialError, match=f"{ACCOUNT}/{CONTAINER}") as found:
        read(source(signer))
    assert "sig=" not in str(found.value)
    assert len(archive.tokens.asked) == 1  # another fetch would bring the same


@pytest.mark.parametrize("loader", LOADERS)
def test_every_loader_names_a_rejected_credential(archive, signer, loader):
    archive.give(**SPOILED["tampered"])
    scene = recipe([item(assets={"B04": f"{ROOT}/48/X/VR/B04.tif"})])
    stack = open_stack(scene, signer=signer, loader=loader)
    with pytest.raises(RejectedCredentialError, match=r"403 Auth\w+") as found:
        stack.B04.compute()
    assert "sig=" not in str(found.value)


def test_a_token_that_expires_while_reading_is_renewed_before(archive, signer, source):
    archive.give(lifetime_s=3)
    made, until = source(signer), time.monotonic() + 4.5
    while time.monotonic() < until:
        assert read(made) == CONTENT[1000:1300]
        time.sleep(0.05)
    assert 2 <= len(archive.tokens.asked) <= 4


def test_a_token_that_dies_early_is_renewed_when_refused(archive, signer, source):
    archive.give(lifetime_s=2, promised_s=2700)
    made = source(signer)
    assert read(made) == CONTENT[1000:1300]
    time.sleep(2.5)
    assert read(made) == CONTENT[1000:1300]
    assert (made.traffic.renewals, len(archive.tokens.asked)) == (1, 2)


def test_a_blob_that_was_replaced_is_stale(archive, signer, source):
    archive.account.put(CONTAINER, "changing.bin", CONTENT)
    made, href = source(signer), Href(f"{ROOT}/changing.bin")
    etag = wait(made.opening(href, 10)).etag
    assert etag is not None
    wait(made.ranges(href, [5], [9], etag=etag))
    archive.account.put(CONTAINER, "changing.bin", CONTENT[::-1])
    with pytest.raises(StaleError):
        wait(made.ranges(href, [5], [9], etag=etag))


def test_a_blob_that_is_not_there(archive, signer, source):
    with pytest.raises(AssetError, match="404"):
        read(source(signer), f"{ROOT}/nothing.bin")


def test_a_container_that_is_not_there(archive, signer, source):
    with pytest.raises(AssetError, match="404"):
        read(source(signer), f"{ROOT}-no-such/nothing.bin")


def test_a_file_that_ends_before_the_range(archive, signer, source):
    with pytest.raises(StaleError, match=r"plain\.bin"):
        read(source(signer), start=len(CONTENT) + 10, stop=len(CONTENT) + 20)
