"""Stored documents that were cut off or edited are told as damage, with their place and remedy."""

import pytest

from geostack_dagster.domain.documents import read_back, read_mapping
from geostack_dagster.errors import ConfigurationError, DamagedError, IntegrityError

URL, REMEDY = "s3://bucket/a.json", "restore it"
TOLD = r"s3://bucket/a\.json is damaged \(.*\); restore it"


def refuse(_: object) -> None:
    raise ConfigurationError("a reversed window")


@pytest.mark.parametrize(
    ("content", "build"),
    [
        (b"", dict),
        (b'{"a": ', dict),
        (b"\xff\xfe{}", dict),
        (b"[]", lambda found: found["a"]),
        (b"{}", lambda found: found["a"]),
        (b"null", lambda found: found.get("a")),
        (b"[1]", lambda found: found[1]),
        (b'{"a": "x"}', lambda found: int(found["a"])),
        (b"{}", refuse),
    ],
)
def test_whatever_the_reader_stumbles_over_is_damage(content, build):
    with pytest.raises(DamagedError, match=TOLD):
        read_back(content, URL, build, remedy=REMEDY)


def test_what_says_itself_what_is_wrong_is_left_as_it_is():
    def build(_: object) -> None:
        raise IntegrityError("it was edited")

    with pytest.raises(IntegrityError, match=r"^it was edited$"):
        read_back(b"{}", URL, build, remedy=REMEDY)


def test_a_mapping_says_where_it_lies_when_it_is_asked_for_what_it_lacks():
    found = read_mapping(b'{"a": {"b": [{"c": 1}]}}', URL, remedy=REMEDY)

    assert found == {"a": {"b": [{"c": 1}]}}
    assert found.get("x") is None
    for ask in (
        lambda: found["x"],
        lambda: found["a"]["x"],
        lambda: found["a"]["b"][0]["x"],
    ):
        with pytest.raises(DamagedError, match=TOLD):
            ask()
    with pytest.raises(DamagedError, match="no JSON object"):
        read_mapping(b"[]", URL, remedy=REMEDY)
