"""Cubes on Azure Blob Storage, as Azurite serves it: the local ones' contract, and refusals."""

import pytest

from tests.services.azure import Account
from tests.services.cubes import *  # noqa: F403 - the contract

pytestmark = pytest.mark.services


@pytest.fixture
def place(az_url: str) -> str:
    return az_url


@pytest.fixture
def read_only(on_azure: Account, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on with a signature that may only read and list the container."""
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    token = on_azure.token(place.removeprefix("az://"))[1]
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", token)
