"""Icechunk's storage at a location, set up by the environment as obstore's is.

Icechunk reads the same variables (`geostack_dagster.storage` lists them) but two: it does not look
up the Azure account, and it asks other S3 services than AWS for `bucket.endpoint`, which most of
them do not know.
"""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import icechunk

from geostack_dagster.cube.location import ACCOUNT_VARIABLE, Location
from geostack_dagster.errors import ConfigurationError

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_VIRTUAL_HOST = "AWS_VIRTUAL_HOSTED_STYLE_REQUEST"
_TRUE = {"1", "true", "on", "yes", "y"}


def icechunk_storage(location: Location, options: Mapping[str, Any]) -> icechunk.Storage:
    """Where the repository is; `options` count before the environment.

    Raises:
        ConfigurationError: If an option is unknown, or the Azure account is nowhere.
    """
    silence()
    bucket, prefix = location.bucket, location.path
    if location.local:
        return icechunk.local_filesystem_storage(prefix)
    try:
        if location.scheme == "s3":
            return icechunk.s3_storage(bucket=bucket, prefix=prefix, **{**_s3(), **options})
        if location.scheme == "gs":
            return icechunk.gcs_storage(bucket=bucket, prefix=prefix, **options)
        account = {"account": location.account} if location.account else {}
        return icechunk.azure_storage(container=bucket, prefix=prefix, **{**account, **options})
    except TypeError as error:  # names the keyword, never its value
        advice = f"; set {ACCOUNT_VARIABLE}" if location.scheme == "az" else ""
        raise ConfigurationError(
            f"options of {location.scheme}://{bucket}/{prefix} do not fit: {error}{advice}"
        ) from error


def _s3() -> dict[str, Any]:
    is_elsewhere = any(os.environ.get(name) for name in _ENDPOINTS)
    return {"force_path_style": is_elsewhere and not _is_true(_VIRTUAL_HOST)}


def _is_true(name: str) -> bool:
    return os.environ.get(name, "").lower() in _TRUE


@cache
def silence() -> None:
    """Drop two warnings: the file lock answers the first, and attempts to commit the second."""
    icechunk.set_logs_filter(
        "warn,icechunk_arrow_object_store=error,icechunk_storage::readback=error"
    )
