"""History, rollback, holds and maintenance of cubes in a bucket: what they are on a disk."""

import pytest

from tests.pipeline.conftest import workspace
from tests.pipeline.test_upkeep import (
    chain,
    test_a_bad_partition_goes_back_and_stays_there,
    test_a_hold_that_ended_does_not_come_back_with_its_inputs,
    test_a_person_can_end_a_hold,
    test_an_unknown_snapshot_changes_nothing,
    test_back_to_before_it_was_made_takes_back_what_was_made_of_it,
    test_history_tells_who_wrote_what,
    test_maintenance_frees_what_nobody_can_hold,
)

__all__ = [
    "chain",
    "test_a_bad_partition_goes_back_and_stays_there",
    "test_a_hold_that_ended_does_not_come_back_with_its_inputs",
    "test_a_person_can_end_a_hold",
    "test_an_unknown_snapshot_changes_nothing",
    "test_back_to_before_it_was_made_takes_back_what_was_made_of_it",
    "test_history_tells_who_wrote_what",
    "test_maintenance_frees_what_nobody_can_hold",
    "workspace",
]

pytestmark = pytest.mark.services


@pytest.fixture(params=["s3", "az"])
def root(request: pytest.FixtureRequest) -> str:
    return f"{request.getfixturevalue(f'{request.param}_url')}/state"
