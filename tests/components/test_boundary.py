"""One error, one verdict."""

import dagster as dg
import pytest

from geostack_dagster.components.boundary import verdict
from geostack_dagster.errors import (
    AssetError,
    ConfigurationError,
    ConflictError,
    IntegrityError,
    MissingCredentialError,
    RejectedCredentialError,
    ServiceError,
)


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError("unknown band 'B0X'"),
        MissingCredentialError("set CDSE_ACCESS_KEY"),
        RejectedCredentialError("CDSE_ACCESS_KEY was refused"),
        IntegrityError("header contradicts item"),
        AssetError("s3://bucket/key is truncated"),
    ],
)
def test_what_waiting_cannot_mend_fails_at_once(error):
    found = verdict({"p/a/2024-06-01": error})

    assert isinstance(found, dg.Failure)
    assert found.allow_retries is False
    assert str(error) in found.description
    assert found.metadata["p/a/2024-06-01"].value["error"] == type(error).__name__


def test_a_busy_service_is_retried_after_the_wait_it_asked_for():
    errors = {
        "a": ServiceError("429", retry_after_s=7),
        "b": ServiceError("503", retry_after_s=31),
        "c": AssetError("truncated"),
    }

    found = verdict(errors)

    assert isinstance(found, dg.RetryRequested)
    assert found.seconds_to_wait == 31


def test_a_conflict_is_retried_soon():
    assert verdict({"a": ConflictError("another writer")}).seconds_to_wait == 1


def test_a_signature_in_a_message_is_masked():
    signed = "https://x.blob.core.windows.net/c/k?sv=1&sig=AAAABBBBCCCCDDDDEEEEFFFF%3D"

    found = verdict({"a": AssetError(f"cannot read {signed}")})

    assert "AAAABBBB" not in found.description
    assert "AAAABBBB" not in str(found.metadata)
