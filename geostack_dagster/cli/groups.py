"""Commands in groups: `geostack aoi`, `review`, `model` and `sandbox`."""

from pathlib import Path
from typing import Annotated

import typer

from geostack_dagster.cli.command import ItemsOption, JsonFlag, guarded, show_facts
from geostack_dagster.cli.terminal import console

aoi_app = typer.Typer(no_args_is_help=True, help="Areas of interest.")
review_app = typer.Typer(no_args_is_help=True, help="Uncertain plumes, for people to label.")
model_app = typer.Typer(no_args_is_help=True, help="Models that find plumes, and who is champion.")
sandbox_app = typer.Typer(no_args_is_help=True, help="Twins of the providers on this machine.")
GROUPS = {"aoi": aoi_app, "review": review_app, "model": model_app, "sandbox": sandbox_app}

DetectorOption = Annotated[str, typer.Option(help="Detector: a folder below defs/.")]
PersonOption = Annotated[str, typer.Option("--by", help="Who decides.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it is recorded.")]


@aoi_app.command("add")
@guarded
def aoi_add(
    file: Annotated[Path, typer.Argument(help="GeoJSON file; its name names the AOI.")],
    *,
    crs: Annotated[
        str | None, typer.Option(help="CRS of its cubes; its UTM zone if absent.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Register an AOI in the storage and the Dagster instance, without waiting for the sensor."""
    from geostack_dagster.cli import aois

    show_facts(aois.add(file, crs), as_json=as_json)


@review_app.command("export")
@guarded
def review_export(
    pipeline: Annotated[str, typer.Argument(help="Pipeline name: a folder below defs/.")],
    *,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("queue.geojson"),
    aoi: Annotated[str | None, typer.Option(help="Only over this AOI.")] = None,
    again: Annotated[bool, typer.Option("--all", help="Also what has a label already.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the review queue as GeoJSON, with pictures: set `state` of each feature you judge."""
    from geostack_dagster.cli import review

    show_facts(review.export(pipeline, out, aoi=aoi, again=again), as_json=as_json)


@review_app.command("import")
@guarded
def review_import(
    file: Annotated[Path, typer.Argument(help="The queue with states filled in, GeoJSON.")],
    *,
    reviewer: Annotated[
        str | None, typer.Option(help="Who labelled; the user's login if absent.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Add labels to the store: PLUME, NO_PLUME, UNCERTAIN or UNOBSERVABLE."""
    from geostack_dagster.cli import review

    show_facts(review.take(file, reviewer), as_json=as_json)


@model_app.command("list")
@guarded
def model_list(detector: DetectorOption = "plume_detector", *, as_json: JsonFlag = False) -> None:
    """Every model that was registered, its role, and what became of it."""
    from geostack_dagster.cli import models

    show_facts(models.listed(models.loop_named(detector)), as_json=as_json)


@model_app.command("show")
@guarded
def modelshow_facts(
    model: Annotated[str, typer.Argument(help="Id of a model, or champion, or challenger.")],
    *,
    detector: DetectorOption = "plume_detector",
    as_json: JsonFlag = False,
) -> None:
    """Where a model comes from, what was said of it, and what happened to it."""
    from geostack_dagster.cli import models

    show_facts(models.shown(models.loop_named(detector), model), as_json=as_json)


@model_app.command("rollback")
@guarded
def model_rollback(
    *,
    by: PersonOption,
    reason: ReasonOption,
    detector: DetectorOption = "plume_detector",
    as_json: JsonFlag = False,
) -> None:
    """Make the champion before this one champion again; its outputs are made anew.

    With DAGSTER_HOME set the champion's page in Dagster says so at once.
    """
    from geostack_dagster.cli import models

    found = models.rolled_back(models.loop_named(detector), person=by, reason=reason)
    show_facts(found, as_json=as_json)


@model_app.command("override")
@guarded
def model_override(
    model: Annotated[str, typer.Argument(help="Id of the challenger, or `challenger`.")],
    outcome: Annotated[str, typer.Argument(help="promote, shadow or reject.")],
    *,
    by: PersonOption,
    reason: ReasonOption,
    detector: DetectorOption = "plume_detector",
    as_json: JsonFlag = False,
) -> None:
    """Decide on the challenger against the gate; both decisions are kept.

    With DAGSTER_HOME set the champion's page in Dagster says so at once.
    """
    from geostack_dagster.cli import models

    loop = models.loop_named(detector)
    found = models.overridden(loop, model, outcome, person=by, reason=reason)
    show_facts(found, as_json=as_json)


@sandbox_app.command(
    "run", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
@guarded
def sandbox_run(context: typer.Context, items: ItemsOption = None) -> None:
    """Start the twins, run the command after `--` with their environment, stop everything."""
    from geostack_dagster import sandbox

    if not context.args:
        console.print("give a command: geostack sandbox run -- CMD")
        raise typer.Exit(2)
    raise typer.Exit(sandbox.run(context.args, items=items))


@sandbox_app.command("up")
@guarded
def sandbox_up(items: ItemsOption = None, *, as_json: JsonFlag = False) -> None:
    """Keep the twins running and print the environment to export, until Ctrl-C."""
    from geostack_dagster import sandbox

    sandbox.up(items=items, as_json=as_json)
