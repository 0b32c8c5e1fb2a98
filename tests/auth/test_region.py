import pytest

from geostack_dagster.auth import region
from geostack_dagster.auth.region import in_region
from geostack_dagster.auth.resolution import Settings


@pytest.fixture(autouse=True)
def metadata(loopback, monkeypatch):
    """The instance metadata service, on loopback; silent until a test scripts it."""
    monkeypatch.setattr(region, "_METADATA", f"{loopback.url}/latest")
    region._instance_region.cache_clear()
    yield loopback
    region._instance_region.cache_clear()


@pytest.mark.parametrize(
    ("given", "inside"),
    [
        ({"GEOSTACK_AWS_REGION": "us-west-2"}, True),
        ({"GEOSTACK_AWS_REGION": "none"}, False),
        ({"GEOSTACK_AWS_REGION": "none", "AWS_REGION": "us-west-2"}, False),
        ({"AWS_REGION": "us-west-2", "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"}, True),
        ({"AWS_REGION": "us-east-1", "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"}, False),
        ({"AWS_REGION": "us-west-2"}, False),
        ({}, False),
    ],
)
def test_the_override_counts_most_and_a_laptops_region_not_at_all(given, inside):
    assert in_region("us-west-2", Settings(arguments=given)) is inside


def test_the_instance_is_asked_once_and_told_nothing(metadata, reply, monkeypatch):
    monkeypatch.setenv("EARTHDATA_TOKEN", "hush-hush")

    def answer(asked):
        if asked.path == "/latest/api/token":
            return reply(200, body=b"session")
        assert asked.headers["x-aws-ec2-metadata-token"] == "session"
        return reply(200, body=b"us-west-2\n")

    metadata.answer = answer
    assert in_region("us-west-2")
    assert in_region("us-west-2")
    assert [asked.method for asked in metadata.asked] == ["PUT", "GET"]
    assert all("authorization" not in asked.headers for asked in metadata.asked)


def test_another_region_is_outside(metadata, reply):
    metadata.answer = lambda asked: reply(200, body=b"us-east-1")
    assert not in_region("us-west-2")
