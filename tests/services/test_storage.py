"""Files by URL on moto and Azurite: the contract of `storage`, and what refusals become."""

import base64
import os

import pytest

from geostack_dagster.errors import (
    ConfigurationError,
    MissingCredentialError,
    RejectedCredentialError,
)
from geostack_dagster.storage import delete, exists, read_bytes, staged, write_bytes
from tests import test_storage as contract
from tests.test_storage import (  # noqa: F401 - run here against this module's folder
    test_a_failure_while_staging_keeps_the_old_file_and_leaves_no_part,
    test_what_is_written_is_read_and_can_be_replaced_and_deleted,
)

pytestmark = pytest.mark.services

MIB = 1 << 20


@pytest.fixture(params=["s3", "az"])
def folder(request: pytest.FixtureRequest) -> str:
    """A folder in a bucket of its own."""
    return f"{request.getfixturevalue(f'{request.param}_url')}/deep/er"


def test_a_swap_writes_only_over_what_was_expected(folder: str) -> None:
    contract.test_a_swap_writes_only_over_what_was_expected(folder)


def test_no_swap_among_many_is_lost(folder: str) -> None:
    contract.test_no_swap_among_many_is_lost(folder)


def test_large_files_go_up_in_parts_and_come_back_whole(folder: str) -> None:
    content = os.urandom(MIB) * 23
    with staged(f"{folder}/large.tif") as path:
        path.write_bytes(content)
    assert read_bytes(f"{folder}/large.tif") == content


@pytest.mark.parametrize(
    "name", ["a b.json", "é+ü.json", "a&b=c.json", "(1)~!'*.json", "50%25.json"]
)
def test_odd_names_are_kept_apart(folder: str, name: str) -> None:
    write_bytes(f"{folder}/{name}", name.encode())
    write_bytes(f"{folder}/other.json", b"other")
    assert read_bytes(f"{folder}/{name}") == name.encode()
    delete(f"{folder}/{name}")
    assert not exists(f"{folder}/{name}")
    assert exists(f"{folder}/other.json")


def test_a_missing_file_is_not_a_missing_bucket(folder: str) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_bytes(f"{folder}/nothing.json")
    scheme = folder.partition(":")[0]
    with pytest.raises(ConfigurationError, match="does not exist; create it"):
        write_bytes(f"{scheme}://no-such-bucket/a.json", b"1")


def spoiled(scheme: str) -> dict[str, str]:
    wrong = base64.b64encode(b"wrong" * 8).decode()
    return {
        "s3": {"AWS_SECRET_ACCESS_KEY": wrong},
        "az": {"AZURE_STORAGE_ACCOUNT_KEY": wrong},
    }[scheme]


def test_a_wrong_key_is_named_and_not_shown(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(f"{folder}/a.json", b"1")
    for name, value in spoiled(folder[:2]).items():
        monkeypatch.setenv(name, value)
    for use in (read_bytes, exists, delete, lambda url: write_bytes(url, b"2")):
        with pytest.raises(RejectedCredentialError, match=next(iter(spoiled(folder[:2])))) as found:
            use(f"{folder}/a.json")
        assert value not in str(found.value)


def test_an_unknown_key_is_refused(on_s3, monkeypatch: pytest.MonkeyPatch) -> None:
    on_s3.bucket("unknown-key")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN")
    with pytest.raises(RejectedCredentialError, match="InvalidAccessKeyId"):
        write_bytes("s3://unknown-key/a.json", b"1")


def test_temporary_keys_work_with_their_session_token_only(
    on_s3, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_s3.bucket("temporary")
    write_bytes("s3://temporary/a.json", b"1")
    for name, value in on_s3.session("temporary").environment.items():
        monkeypatch.setenv(name, value)
    assert read_bytes("s3://temporary/a.json") == b"1"
    with pytest.raises(RejectedCredentialError, match="AccessDenied"):
        write_bytes("s3://temporary/a.json", b"2")  # the role may only read
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    with pytest.raises(RejectedCredentialError, match="AWS_SESSION_TOKEN"):
        read_bytes("s3://temporary/a.json")


def test_a_token_that_may_only_read_does(on_azure, monkeypatch: pytest.MonkeyPatch) -> None:
    on_azure.create("read-only")
    write_bytes("az://read-only/a.json", b"1")
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", on_azure.token("read-only")[1])
    assert read_bytes("az://read-only/a.json") == b"1"
    with pytest.raises(RejectedCredentialError, match="Authorization") as found:
        write_bytes("az://read-only/a.json", b"2")
    assert "sig" not in str(found.value)


def test_an_azure_account_that_is_not_named_is_asked_for(
    on_azure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME")
    with pytest.raises(MissingCredentialError, match="AZURE_STORAGE_ACCOUNT_NAME"):
        write_bytes("az://somewhere/a.json", b"1")
