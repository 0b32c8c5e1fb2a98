import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geostack_dagster.domain.fingerprint import fingerprint

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def _shuffled(value, random):
    if isinstance(value, dict):
        entries = [(key, _shuffled(entry, random)) for key, entry in value.items()]
        random.shuffle(entries)
        return dict(entries)
    return [_shuffled(entry, random) for entry in value] if isinstance(value, list) else value


@given(JSON, st.randoms())
def test_the_order_of_members_does_not_matter(content, random):
    assert fingerprint(_shuffled(content, random)) == fingerprint(content)


@given(JSON, JSON)
def test_other_content_has_another_fingerprint(one, other):
    if repr(one) != repr(other) and one != other:
        assert fingerprint([one]) != fingerprint([other])


def test_the_order_of_a_list_matters():
    assert fingerprint([1, 2]) != fingerprint([2, 1])


def test_sets_and_mappings_of_other_kinds_are_plain():
    assert fingerprint({"b", "a"}) == fingerprint(frozenset(["a", "b"])) == fingerprint(["a", "b"])
    assert fingerprint(MappingProxyType({"a": 1})) == fingerprint({"a": 1})


def test_another_process_agrees():
    code = (
        "from geostack_dagster.domain.fingerprint import fingerprint\n"
        "print(fingerprint({'b': {'x', 'y', 'z'}, 'a': [1.5, None, 'é']}), end='')"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout == fingerprint({"a": [1.5, None, "é"], "b": {"z", "y", "x"}})


def test_values_with_a_text_of_their_own_are_taken_by_it():
    assert fingerprint(Path("a/b")) == fingerprint("a/b")
    assert fingerprint(datetime(2024, 1, 1, tzinfo=UTC)) == fingerprint("2024-01-01 00:00:00+00:00")


def test_an_object_without_content_is_refused():
    with pytest.raises(TypeError, match="object"):
        fingerprint({"a": object()})
