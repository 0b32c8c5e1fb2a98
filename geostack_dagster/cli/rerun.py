"""`geostack rerun`: what could not be read is read again, by the reason."""

import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from geostack_dagster.cli.catalog import spec_of
from geostack_dagster.cli.terminal import required
from geostack_dagster.errors import ConfigurationError

if TYPE_CHECKING:
    from geostack_dagster.pipeline.rerun import Rerun


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was asked for, as it was typed."""

    reason: str = "*"
    aois: tuple[str, ...] = ()
    start: str | None = None
    end: str | None = None


def run(pipeline: str, choice: Choice, *, dry_run: bool) -> dict[str, Any]:
    """What has the reason, and what still has it after it was made again.

    The work is the job `<pipeline>_rerun`, so what it makes is recorded in the Dagster instance,
    if there is one.

    Raises:
        ConfigurationError: If the pipeline or an AOI is unknown, or a date is none.
    """
    found = _found(pipeline, choice)
    if not dry_run and found:
        _execute(pipeline, choice, sorted({one.partition.aoi for one in found}))
    left = found if dry_run or not found else _found(pipeline, choice)
    return {
        "pipeline": pipeline,
        "reason": choice.reason,
        "dry_run": dry_run,
        "partitions": len(found),
        "left": len(left),
        "found": _rows(found),
        "still_there": [] if dry_run else _rows(left),
    }


def _found(pipeline: str, choice: Choice) -> "list[Rerun]":
    from geostack_dagster.pipeline.rerun import Asked, find_reruns
    from geostack_dagster.pipeline.workspace import Workspace

    workspace = Workspace(required("GEOSTACK_STORAGE"))
    known = workspace.pins()
    unknown = [name for name in choice.aois if name not in known]
    if unknown:
        raise ConfigurationError(
            f"no AOI {', '.join(unknown)} is registered; there are {', '.join(known) or 'none'}"
        )
    asked = Asked(reason=choice.reason, start=_day(choice.start), end=_day(choice.end))
    return list(find_reruns(spec_of(pipeline), workspace, choice.aois or known, asked))


def _execute(pipeline: str, choice: Choice, aois: list[str]) -> None:
    import dagster as dg

    from geostack_dagster.definitions import defs

    config = {name: value for name, value in asdict(choice).items() if value is not None}
    job = defs().resolve_job_def(f"{pipeline}_rerun")
    with ExitStack() as stack:
        recorded = bool(os.environ.get("DAGSTER_HOME"))
        make = dg.DagsterInstance.get if recorded else dg.DagsterInstance.ephemeral
        job.execute_in_process(
            instance=stack.enter_context(make()),
            run_config={
                "ops": {f"{pipeline}_rerun_by_reason": {"config": {**config, "aois": aois}}},
                "loggers": {"console": {"config": {"log_level": "ERROR"}}},
            },
            raise_on_error=False,  # what is left says so
        )


def _rows(found: "Iterable[Rerun]") -> list[dict[str, Any]]:
    return [
        {
            "date": one.partition.date,
            "aoi": one.partition.aoi,
            "from": one.stage,
            "state": "partial" if one.is_kept else "failed",
            "reasons": ", ".join(f"{name}: {n}" for name, n in sorted(one.reasons.items())),
        }
        for one in found
    ]


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is not a date like 2024-06-01") from error
