"""`geostack`: everything the project does, from the command line.

Every command takes `--json` for machines. Heavy modules are imported by the command that needs
them, so `geostack --help` answers at once.
"""

from pathlib import Path
from typing import Annotated

import typer

from geostack_dagster.cli.command import ItemsOption, JsonFlag, guarded, print_json, show_facts
from geostack_dagster.cli.groups import GROUPS
from geostack_dagster.cli.terminal import console, progress

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Earth-observation cubes and retrievals from several archives, as Dagster assets.",
)
for _name, _group in GROUPS.items():
    app.add_typer(_group, name=_name)


@app.command()
@guarded
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo writes.")] = Path(
        "out/demo"
    ),
    *,
    live: Annotated[bool, typer.Option(help="Use the real Earth Search; no sandbox.")] = False,
    loop: Annotated[
        bool, typer.Option(help="The learning loop instead: train, promote, reject, roll back.")
    ] = False,
    items: ItemsOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Run the whole job for every pipeline, score it against the truth, write a summary."""
    if loop:
        from geostack_dagster.cli import loop as learning

        summary = learning.run(out)
    else:
        from geostack_dagster.cli.demo import run, run_live

        summary = run_live(out) if live else run(out, items=items)
    if as_json:
        print_json(summary)
    raise typer.Exit(0 if summary["ok"] else 1)


@app.command()
@guarded
def dev(
    home: Annotated[Path, typer.Option(help="DAGSTER_HOME and storage.")] = Path(".dagster"),
    port: Annotated[int, typer.Option(help="Port of the Dagster UI on this machine.")] = 3000,
    *,
    live: Annotated[bool, typer.Option(help="Use the real archives; no sandbox.")] = False,
) -> None:
    """Start the Dagster UI and daemon, over the sandbox unless --live; Ctrl-C stops all."""
    from geostack_dagster.cli.dev import run

    raise typer.Exit(run(home, port=port, live=live))


@app.command()
@guarded
def report(
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    *,
    open_it: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the state of the storage as one HTML page: places, coverage, plumes, models, sizes.

    Damaged objects are named with their remedy, on the page too; the rest is shown. Exits with 1
    then.
    """
    from geostack_dagster.cli import report as page

    with progress("reading the storage"):
        facts = page.write(out)
    show_facts(facts, as_json=as_json)
    if open_it:
        page.show(out)
    raise typer.Exit(1 if facts["damaged"] else 0)


@app.command()
@guarded
def snapshot(  # noqa: PLR0913 - a command's options are its parameters
    provider: Annotated[str, typer.Argument(help="Provider slug, such as earth_search.")],
    collection: Annotated[str, typer.Argument(help="Collection id.")],
    output: Annotated[Path, typer.Argument(help="File to write: *.parquet.")],
    *,
    start: Annotated[str, typer.Option(help="First UTC instant, 2024-06-01.")],
    end: Annotated[str, typer.Option(help="UTC instant after the last.")],
    bbox: Annotated[str | None, typer.Option(help="west,south,east,north in degrees.")] = None,
    aoi: Annotated[Path | None, typer.Option(help="GeoJSON file instead of a bbox.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="Predicate, 'eo:cloud_cover<=60'; repeatable.")
    ] = None,
    max_items: Annotated[int | None, typer.Option(help="Stop after so many Items.")] = None,
    client: Annotated[str, typer.Option(help="pystac-client or rustac.")] = "pystac-client",
    as_json: JsonFlag = False,
) -> None:
    """Search a catalogue and freeze the answer as stac-geoparquet, without Dagster."""
    from geostack_dagster.cli.catalog import Ask, area, take

    ask = Ask(
        provider=provider,
        collection=collection,
        start=start,
        end=end,
        area=area(bbox, aoi),
        where=tuple(where or ()),
        max_items=max_items,
        client=client,
    )
    with progress(f"searching {provider}"):
        facts = take(ask, output)
    show_facts(facts, as_json=as_json)


@app.command()
@guarded
def plan(
    pipeline: Annotated[str, typer.Argument(help="Pipeline name: a folder below defs/.")],
    *,
    start: Annotated[str, typer.Option(help="First date.")],
    end: Annotated[str, typer.Option(help="Date after the last.")],
    aoi: Annotated[
        list[Path], typer.Option(help="GeoJSON file of an AOI; repeatable.", exists=True)
    ],
    as_json: JsonFlag = False,
) -> None:
    """Say what a backfill would read: partitions, Items, requests and bytes. Reads no pixel."""
    from geostack_dagster.cli.catalog import plan_of

    with progress(f"planning {pipeline}"):
        facts = plan_of(pipeline, start=start, end=end, aois=aoi)
    show_facts(facts, as_json=as_json)


@app.command()
@guarded
def explain(
    item: Annotated[Path, typer.Argument(help="STAC Item, JSON file.", exists=True)],
    *,
    provider: Annotated[
        str | None, typer.Option(help="Provider slug; recognised from the Item if absent.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Say how this project would treat one STAC Item, band by band, with every warning."""
    from geostack_dagster.cli import explanation

    explained = explanation.of_file(item, provider)
    if as_json:
        print_json(explained.to_json())
    else:
        explanation.show_explanation(explained)


@app.command()
@guarded
def doctor(
    providers: Annotated[
        list[str] | None, typer.Argument(help="Provider slugs; all if none is given.")
    ] = None,
    *,
    as_json: JsonFlag = False,
) -> None:
    """Check what stands between this machine and each archive; exits with 1 on any failure."""
    from geostack_dagster.cli import checkup

    findings = checkup.run(providers or [], as_table=not as_json)
    if as_json:
        print_json([finding.to_json() for finding in findings])
    raise typer.Exit(1 if checkup.is_ill(findings) else 0)


@app.command()
@guarded
def history(
    pipeline: Annotated[str, typer.Argument(help="Pipeline name.")],
    aoi: Annotated[str, typer.Argument(help="Name of a registered AOI.")],
    *,
    limit: Annotated[int, typer.Option(help="Newest commits to show.", min=1)] = 30,
    as_json: JsonFlag = False,
) -> None:
    """Show the commits of a pipeline's cubes over an AOI, newest first."""
    from geostack_dagster.cli import upkeep

    show_facts(upkeep.history_of(pipeline, aoi, limit), as_json=as_json)


@app.command()
@guarded
def rollback(  # noqa: PLR0913 - a command's options are its parameters
    pipeline: Annotated[str, typer.Argument(help="Pipeline name.")],
    aoi: Annotated[str, typer.Argument(help="Name of a registered AOI.")],
    date: Annotated[str, typer.Argument(help="Date of the partition, 2024-06-01.")],
    *,
    to: Annotated[str | None, typer.Option(help="Snapshot to go back to; see history.")] = None,
    reason: Annotated[str, typer.Option(help="Why; shown wherever the hold is.")] = "",
    release: Annotated[
        bool, typer.Option(help="End a rollback's hold: runs make it from its inputs again.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Roll a bad partition of a cube back, and hold it there until its inputs change."""
    from geostack_dagster.cli import upkeep

    if release == (to is not None):
        console.print("give either --to SNAPSHOT or --release")
        raise typer.Exit(2)
    if to is None:
        facts = upkeep.release(pipeline, aoi, date)
    else:
        facts = upkeep.roll_back(pipeline, aoi, date, to, reason)
    show_facts(facts, as_json=as_json)


@app.command()
@guarded
def maintain(
    pipelines: Annotated[
        list[str] | None, typer.Argument(help="Pipeline names; all if none is given.")
    ] = None,
    *,
    keep_days: Annotated[
        float, typer.Option(help="Snapshots younger than this stay, for whoever reads them.")
    ] = 30.0,
    as_json: JsonFlag = False,
) -> None:
    """Forget old snapshots of cubes and free what only they hold; exits with 1 on any failure."""
    from geostack_dagster.cli import upkeep

    facts = upkeep.maintained(pipelines or [], keep_days)
    show_facts(facts, as_json=as_json)
    raise typer.Exit(1 if facts["failures"] else 0)


@app.command()
@guarded
def rerun(  # noqa: PLR0913 - a command's options are its parameters
    pipeline: Annotated[str, typer.Argument(help="Pipeline name: a folder below defs/.")],
    *,
    reason: Annotated[
        str, typer.Option(help="Reason of the ledger, or a pattern: http-404, 'http-5*'.")
    ] = "*",
    aoi: Annotated[
        list[str] | None, typer.Option(help="Registered AOI; repeatable; all if absent.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="First date.")] = None,
    end: Annotated[str | None, typer.Option(help="Date after the last.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List them only.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make partitions again of which something could not be read, by the reason."""
    from geostack_dagster.cli.rerun import Choice, run

    choice = Choice(reason=reason, aois=tuple(aoi or ()), start=start, end=end)
    with progress(f"looking through the ledgers of {pipeline}"):
        facts = run(pipeline, choice, dry_run=dry_run)
    show_facts(facts, as_json=as_json)
    raise typer.Exit(1 if facts["left"] and not dry_run else 0)
