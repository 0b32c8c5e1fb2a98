"""Cubes on S3, as moto serves it: the contract of the local ones, and refusals."""

import pytest

from tests.services.aws import Cloud
from tests.services.cubes import *  # noqa: F403 - the contract

pytestmark = pytest.mark.services


@pytest.fixture
def place(s3_url: str) -> str:
    return s3_url


@pytest.fixture
def read_only(on_s3: Cloud, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on with keys that may only read the bucket."""
    for name, value in on_s3.reader(place.removeprefix("s3://")).environment.items():
        monkeypatch.setenv(name, value)
