"""Automation by content: what follows when a parent's data version changes."""

import dagster as dg

follow_changes = dg.AutomationConditionSensorDefinition(
    name="follow_changes",
    target=dg.AssetSelection.all(),
    minimum_interval_seconds=30,
    description=(
        "Runs the rest of a chain for the partitions whose snapshot, stack, cube or enhancement "
        "holds something else than before: soon, and only those. What it may miss, such as a run "
        "that died, the reconcile sensors find."
    ),
)
