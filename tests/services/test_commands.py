"""`geostack history`, `rollback`, `maintain`, and the rerun job, on a bucket: as on a disk."""

import pytest

from tests.cli.test_upkeep import (
    test_a_partition_is_rolled_back_and_dagster_knows,
    test_maintenance_by_hand_and_by_dagster_say_what_was_freed,
    workspace,
)
from tests.components.conftest import instance
from tests.components.test_rerun import (
    failed,
    test_the_command_lists_makes_and_says_what_is_left,
    test_the_job_makes_what_has_the_reason,
)

__all__ = [
    "failed",
    "instance",
    "test_a_partition_is_rolled_back_and_dagster_knows",
    "test_maintenance_by_hand_and_by_dagster_say_what_was_freed",
    "test_the_command_lists_makes_and_says_what_is_left",
    "test_the_job_makes_what_has_the_reason",
    "workspace",
]

pytestmark = [
    pytest.mark.services,
    # Dagster's component loader; nothing of ours calls it.
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated"),
]


@pytest.fixture(params=["s3", "az"])
def root(request: pytest.FixtureRequest) -> str:
    return f"{request.getfixturevalue(f'{request.param}_url')}/state"
