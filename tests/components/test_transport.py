"""A pipeline chooses what carries its bytes; that makes nothing stale."""

import pytest
from pydantic import ValidationError

from geostack_dagster.components.provider_pipeline import ProviderPipeline

ASKED = {
    "provider": "earth_search",
    "collection": "sentinel-2-l2a",
    "bands": ["B04", "B08"],
    "indices": ["NDVI"],
    "start": "2024-06-01",
}


def test_the_transport_reaches_the_spec_and_no_version():
    usual, other = (
        ProviderPipeline(**ASKED, **changes).spec("field")
        for changes in ({}, {"transport": "fsspec"})
    )
    assert (usual.transport, other.transport) == ("obstore", "fsspec")
    for stage in usual.stages:
        assert usual.code_version(stage) == other.code_version(stage)


def test_an_unknown_transport_is_refused():
    with pytest.raises(ValidationError, match="transport"):
        ProviderPipeline(**ASKED, transport="pigeon")
