"""Which findings are plumes: drawn by hand, counted by eye."""

import numpy as np
import pytest

from geostack_dagster.learning.objects import Matching, match
from geostack_dagster.learning.scenes import PixelState

SHAPE = (60, 60)


def canvas():
    """Two true plumes, 10 x 20 and 8 x 8, each with a rim; the first peaks at its left end."""
    states = np.full(SHAPE, PixelState.NO_PLUME.value, np.uint8)
    states[8:22, 8:32] = PixelState.UNCERTAIN
    states[10:20, 10:30] = PixelState.PLUME
    states[38:50, 38:50] = PixelState.UNCERTAIN
    states[40:48, 40:48] = PixelState.PLUME
    enhancement = np.ones(SHAPE, np.float32)
    enhancement[15, 10], enhancement[44, 44] = 3000.0, 800.0
    return states, enhancement


def labels(*boxes):
    found = np.zeros(SHAPE, np.int32)
    for number, box in enumerate(boxes, start=1):
        found[box] = number
    return found


ALL = np.s_[10:20, 10:30]
SOURCE = np.s_[14:17, 9:12]  # 3 x 3 at the peak: IoU below 0.1
TAIL = np.s_[14:17, 26:29]  # inside, too small, not at the peak
RIM = np.s_[20:22, 12:26]
ELSEWHERE = np.s_[2:5, 50:55]
SECOND = np.s_[41:47, 41:47]


@pytest.mark.parametrize(
    ("boxes", "found", "right", "wrong"),
    [
        ((), [False, False], 0, 0),
        ((ALL,), [True, False], 1, 0),
        ((SOURCE,), [True, False], 1, 0),
        ((TAIL,), [False, False], 0, 0),
        ((RIM,), [False, False], 0, 0),
        ((ELSEWHERE,), [False, False], 0, 1),
        ((ALL, ELSEWHERE, SECOND), [True, True], 2, 1),
        ((np.s_[10:20, 10:19], np.s_[10:20, 20:29]), [True, False], 2, 0),
        ((np.s_[10:48, 10:48],), [True, True], 1, 0),
        ((np.s_[:, :],), [True, True], 1, 0),
    ],
)
def test_findings_against_truth(boxes, found, right, wrong):
    states, enhancement = canvas()
    matched = match(labels(*boxes), states, enhancement)
    assert [truth.found for truth in matched.truths] == found
    assert (matched.right, matched.wrong) == (right, wrong)
    assert [truth.peak_ppm_m for truth in matched.truths] == [3000.0, 800.0]


def test_rim_pixels_of_a_finding_do_not_dilute_it():
    states, enhancement = canvas()
    enhancement[44, 44], enhancement[40, 40] = 1.0, 800.0
    narrow = np.s_[38:50, 41:43]  # 16 plume pixels of 64, and rim
    matched = match(labels(narrow), states, enhancement, Matching(overlap=0.25))
    assert matched.truths[1].found


def test_parts_of_a_plume_are_one_and_specks_are_none():
    states = np.full(SHAPE, PixelState.NO_PLUME.value, np.uint8)
    states[10:20, 10:14] = PixelState.PLUME
    states[10:20, 18:24] = PixelState.PLUME
    states[40, 40:43] = PixelState.PLUME
    flat = np.ones(SHAPE, np.float32)
    assert len(match(labels(), states, flat).truths) == 1
    speck = match(labels(np.s_[40:41, 40:43]), states, flat)
    assert (len(speck.truths), speck.right, speck.wrong) == (1, 0, 0)


def test_findings_in_doubt_are_not_counted():
    states = np.full(SHAPE, PixelState.UNCERTAIN.value, np.uint8)
    matched = match(labels(ELSEWHERE), states, np.ones(SHAPE, np.float32))
    assert (matched.truths, matched.right, matched.wrong) == ((), 0, 0)
