"""Files appear whole, on disk, through fsspec and in a bucket; failures leave what was there."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

from geostack_dagster.errors import (
    ConfigurationError,
    ConflictError,
    MissingCredentialError,
    RejectedCredentialError,
    ServiceError,
)
from geostack_dagster.storage import (
    delete,
    exists,
    failure,
    listing,
    read_bytes,
    staged,
    swap_bytes,
    write_bytes,
)


def write_half(url: str) -> None:
    with staged(url) as path:
        path.write_bytes(b"half")
        message = "disk full"
        raise OSError(message)


@pytest.fixture(params=["path", "file", "memory", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        request.getfixturevalue("bucket")
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
    return {
        "path": f"{tmp_path}/with space",
        "file": f"{tmp_path.as_uri()}/with%20space",
        "memory": "memory://published/deep",
        "s3": "s3://bucket/deep/er",
    }[request.param]


def test_what_is_written_is_read_and_can_be_replaced_and_deleted(folder: str) -> None:
    url = f"{folder}/a.json"
    assert not exists(url)
    delete(url)
    write_bytes(url, b"one")
    assert read_bytes(url) == b"one"
    write_bytes(url, b"another")
    assert read_bytes(url) == b"another"
    delete(url)
    assert not exists(url)


def test_a_failure_while_staging_keeps_the_old_file_and_leaves_no_part(folder: str) -> None:
    url = f"{folder}/a.tif"
    write_bytes(url, b"old")
    with pytest.raises(OSError, match="disk full"):
        write_half(url)
    assert read_bytes(url) == b"old"


def test_nothing_but_the_file_is_left_on_disk(tmp_path: Path) -> None:
    write_bytes(f"{tmp_path}/x/a.txt", b"1")
    with pytest.raises(OSError, match="disk full"):
        write_half(f"{tmp_path}/x/b.txt")
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["a.txt"]


def test_a_refused_credential_is_named_without_its_value(bucket: Any) -> None:
    bucket.refuse = True
    with pytest.raises(RejectedCredentialError, match="AWS_SECRET_ACCESS_KEY") as caught:
        write_bytes("s3://bucket/a.txt", b"1")
    assert "never shown" not in str(caught.value)
    with pytest.raises(RejectedCredentialError):
        read_bytes("s3://bucket/a.txt")


@pytest.mark.parametrize("folder", ["path", "s3"], indirect=True)
def test_a_swap_writes_only_over_what_was_expected(folder: str) -> None:
    url = f"{folder}/state.json"
    with pytest.raises(ConflictError):
        swap_bytes(url, b"1", expected=b"something")
    swap_bytes(url, b"1", expected=None)
    with pytest.raises(ConflictError):
        swap_bytes(url, b"2", expected=None)
    with pytest.raises(ConflictError):
        swap_bytes(url, b"2", expected=b"0")
    assert read_bytes(url) == b"1"
    swap_bytes(url, b"2", expected=b"1")
    assert read_bytes(url) == b"2"


@pytest.mark.parametrize("folder", ["path", "s3"], indirect=True)
def test_no_swap_among_many_is_lost(folder: str) -> None:
    url = f"{folder}/counter"
    swap_bytes(url, b"0", expected=None)

    def count(_: int) -> None:
        while True:
            now = read_bytes(url)
            try:
                swap_bytes(url, str(int(now) + 1).encode(), expected=now)
            except ConflictError:
                continue
            return

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(16)))
    assert read_bytes(url) == b"16"


def test_a_scheme_without_safe_swaps_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot be changed safely"):
        swap_bytes("memory://a/b", b"1", expected=None)


@pytest.mark.parametrize(
    ("url", "said", "error", "words"),
    [
        (
            "s3://b/k",
            "dispatch failure: other: no providers in chain provided credentials",
            MissingCredentialError,
            "AWS_ACCESS_KEY_ID",
        ),
        (
            "az://c/k",
            "GET http://169.254.169.254/metadata/identity - non-2xx status code: 403 Forbidden",
            MissingCredentialError,
            "AZURE_STORAGE_ACCOUNT_KEY",
        ),
        (
            "gs://b/k",
            "error sending request for url (http://metadata.google.internal/computeMetadata/v1)",
            MissingCredentialError,
            "GOOGLE_APPLICATION_CREDENTIALS",
        ),
        (
            "s3://b/k",
            'service error: unhandled error (ExpiredToken): Error { code: "ExpiredToken" }',
            RejectedCredentialError,
            r"\(ExpiredToken\)",
        ),
        (
            "az://c/k",
            "status code: 409 Conflict: <Error>\n  <Code>PublicAccessNotPermitted</Code></Error>",
            RejectedCredentialError,
            "PublicAccessNotPermitted",
        ),
        (
            "s3://b/k",
            "object store error service error: NoSuchBucket: The bucket does not exist",
            ConfigurationError,
            "create it",
        ),
        ("s3://b/k", "status code: 503 Slow Down\nDebug source: x", ServiceError, "Slow Down$"),
    ],
)
def test_the_words_of_object_stores_become_errors(
    url: str, said: str, error: type[Exception], words: str
) -> None:
    found = failure(f"{url}?sig=c2VjcmV0c2VjcmV0", said)
    assert type(found) is error
    assert re.search(words, str(found))
    assert "sig=" not in str(found)


def test_a_listing_has_every_file_below_and_none_beside(folder: str) -> None:
    assert listing(folder) == {}
    write_bytes(f"{folder}/a.json", b"one")
    write_bytes(f"{folder}/deep/b.bin", bytes(1000))
    write_bytes(f"{folder}er/c.json", b"beside")

    assert listing(folder) == {"a.json": 3, "deep/b.bin": 1000}
