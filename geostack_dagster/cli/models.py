"""`geostack model`: the registry of a detector, and what a person may do to it."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geostack_dagster.cli.surroundings import ROOT
from geostack_dagster.errors import ConfigurationError

if TYPE_CHECKING:
    from geostack_dagster.pipeline.learning.settings import Loop


def listed(loop: "Loop") -> dict[str, Any]:
    """Every model with its role, oldest first, and what happened last."""
    registry = loop.registry
    aliases, history = registry.aliases, registry.history
    roles = {aliases.challenger: "challenger", aliases.champion: "champion"}
    rows = []
    for model in registry.models:
        events = [event for event in history if event["model"] == model]
        rows.append(
            {
                "model": model,
                "role": roles.get(model, ""),
                "created": registry.item(model)["properties"]["created"],
                "last": events[-1]["event"] if events else "",
                "by": events[-1]["by"] if events else "",
            }
        )
    return {"detector": loop.spec.name, "champion": aliases.champion, "models": rows}


def shown(loop: "Loop", model: str) -> dict[str, Any]:
    """Card, scores and history of one model; `champion` and `challenger` are names too.

    Raises:
        ConfigurationError: If there is no such model.
    """
    registry = loop.registry
    item = registry.item(model)
    name, stated = item["id"], item["properties"]
    history = [event for event in registry.history if event["model"] == name]
    decisions = [event["decision"] for event in history if "decision" in event]
    return {
        "model": name,
        "digest": registry.digest_of(name),
        "created": stated["created"],
        "data": stated["geostack:data"],
        "code": stated["geostack:code"],
        "learnt": f"{stated['start_datetime']} to {stated['end_datetime']}",
        "parameters": stated["mlm:total_parameters"],
        "hyperparameters": stated["mlm:hyperparameters"],
        "derived_from": [one["href"] for one in item["links"] if one["rel"] == "derived_from"],
        "reasons": decisions[-1]["reasons"] if decisions else [],
        "history": [
            {key: event.get(key) for key in ("at", "event", "by", "previous", "reason")}
            for event in history
        ],
    }


def rolled_back(loop: "Loop", *, person: str, reason: str) -> dict[str, Any]:
    """Make the champion before this one champion again; who is what then.

    Raises:
        ConfigurationError: If there was none, or the person or reason is not named.
    """
    _named(person, reason)
    before = loop.registry.aliases.champion
    aliases = loop.registry.rollback(by=person, reason=reason, at=datetime.now(UTC))
    _tell_dagster(loop, before, f"{person} rolled {before} back to {aliases.champion}: {reason}")
    return {"champion": aliases.champion, "challenger": aliases.challenger}


def overridden(
    loop: "Loop", model: str, outcome: str, *, person: str, reason: str
) -> dict[str, Any]:
    """Decide against the gate; who is what then.

    Raises:
        ConfigurationError: If the model is not the challenger, or the outcome is none.
    """
    from geostack_dagster.learning.gate import Outcome
    from geostack_dagster.pipeline.learning.verdict import override

    if outcome not in {one.value for one in Outcome}:
        raise ConfigurationError(
            f"outcome {outcome!r} is none of {', '.join(one.value for one in Outcome)}"
        )
    before = loop.registry.aliases.champion
    aliases = override(loop, model, Outcome(outcome), person=person, reason=reason)
    now = f"the champion is {aliases.champion or 'nobody'}"
    _tell_dagster(loop, before, f"{person} decided {outcome}: {reason}; {now}")
    return {"champion": aliases.champion, "challenger": aliases.challenger}


def loop_named(detector: str) -> "Loop":
    """The detector of that name, in the storage of the environment.

    Raises:
        ConfigurationError: If there is none, or no storage is named.
    """
    import dagster as dg

    from geostack_dagster.cli.catalog import spec_of
    from geostack_dagster.components import PlumeDetector
    from geostack_dagster.pipeline.learning.settings import Loop
    from geostack_dagster.pipeline.workspace import Workspace

    root = os.environ.get("GEOSTACK_STORAGE")
    if not root:
        raise ConfigurationError("set GEOSTACK_STORAGE to the storage root that holds the models")
    tree = dg.ComponentTree.for_project(ROOT)
    if not (tree.defs_module_path / detector / "defs.yaml").is_file():
        raise ConfigurationError(f"no detector {detector!r} below defs/")
    component = tree.load_component(Path(detector), PlumeDetector)
    sources = [spec_of(name) for name in component.sources]
    return Loop(component.spec(detector, sources), Workspace(root))


def _tell_dagster(loop: "Loop", before: str | None, note: str) -> None:
    """Record it on the champion's page, which would show the one before; without one, nowhere."""
    import dagster as dg

    from geostack_dagster.components.events import told
    from geostack_dagster.pipeline.learning.verdict import standing

    if not os.environ.get("DAGSTER_HOME"):
        return
    event = told(dg.AssetKey([loop.spec.name, "champion"]), standing(loop, before, note))
    with dg.DagsterInstance.get() as instance:
        instance.report_runless_asset_event(event)


def _named(person: str, reason: str) -> None:
    if not person.strip() or not reason.strip():
        raise ConfigurationError("name who decides (--by) and why (--reason): it is recorded")
