from hypothesis import given
from hypothesis import strategies as st

from geostack_dagster.stack.reader.ranges import Coalescing, coalesce

spans = st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 400)), max_size=30)


@given(spans, st.integers(0, 300), st.integers(1, 2000))
def test_every_range_lies_in_exactly_one_request(found, gap, limit):
    starts = [start for start, _ in found]
    stops = [start + length for start, length in found]
    made = coalesce(starts, stops, Coalescing(gap_bytes=gap, max_bytes=limit))
    members = sorted(number for span in made for number in span.members)
    assert members == list(range(len(found)))
    for span in made:
        assert all(span.start <= starts[n] and stops[n] <= span.stop for n in span.members)
        assert span.start == min(starts[n] for n in span.members)
        assert span.stop == max(stops[n] for n in span.members)
        assert len(span.members) == 1 or span.stop - span.start <= limit


def test_holes_up_to_the_gap_are_read_and_larger_ones_are_not():
    rule = Coalescing(gap_bytes=10, max_bytes=1000)
    assert len(coalesce([0, 110], [100, 200], rule)) == 1
    assert len(coalesce([0, 111], [100, 200], rule)) == 2


def test_joining_stops_at_the_largest_request():
    rule = Coalescing(gap_bytes=0, max_bytes=250)
    made = coalesce([0, 100, 200, 300], [100, 200, 300, 400], rule)
    assert [(span.start, span.stop) for span in made] == [(0, 200), (200, 400)]
