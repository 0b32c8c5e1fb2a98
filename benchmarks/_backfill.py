"""A backfill of the whole chain over the sandbox, and the same again, which has nothing to do."""

import os
import shutil
import tempfile
from datetime import date, timedelta
from pathlib import Path
from time import process_time

from _report import Case, timed

PIPELINE = "earth_search_s2"


def no_op_backfill(*, quick: bool) -> Case:
    """All stages of partitions that are current, as one run of Dagster with its SQLite storage."""
    dates, aois = (10, 2) if quick else (50, 20)
    from geostack_dagster.cli.surroundings import ROOT, environment
    from geostack_dagster.sandbox import Sandbox

    with tempfile.TemporaryDirectory(prefix="geostack-bench-") as place, Sandbox() as sandbox:
        root = Path(place)
        for name in ("dagster", "aois"):
            (root / name).mkdir()
        shutil.copyfile(ROOT / "dagster.yaml", root / "dagster" / "dagster.yaml")
        variables = {
            "DAGSTER_HOME": str(root / "dagster"),
            "GEOSTACK_STORAGE": str(root / "storage"),
            "GEOSTACK_AOIS": str(root / "aois"),
        }
        with environment(sandbox.environment | variables):
            spent = backfilled(root / "storage", dates, aois)
    count = dates * aois
    first, again, processor, stages = (seconds / count * 1e3 for seconds in spent)
    note = (
        f"{again:.0f} ms each ({processor:.0f} ms of processor time), of which the stages "
        f"{stages:.0f} ms; at first {first:.0f} ms; load {os.getloadavg()[0]:.1f}"
    )
    case = f"no-op backfill of {count} partitions through Dagster"
    return Case(case=case, ours=spent[1], note=note)


def backfilled(storage: Path, dates: int, aois: int) -> tuple[float, float, float, float]:
    """Seconds of the first run over dates and AOIs and of the same one again.

    Of the second also those of processor time, the sandbox's searches included, and those of the
    stages.
    """
    import dagster as dg

    from geostack_dagster.cli.demo import Chain
    from geostack_dagster.components.partitions import AOI as DIMENSION
    from geostack_dagster.components.partitions import range_tags
    from geostack_dagster.definitions import defs
    from geostack_dagster.domain.aoi import AOI
    from geostack_dagster.pipeline.workspace import Workspace

    names = [f"field-{number:03}" for number in range(aois)]
    for number, name in enumerate(names):
        west, south = 7.80 + 0.004 * (number % 10), 46.95 + 0.004 * (number // 10)
        field = AOI.from_bbox(name, (west, south, west + 0.003, south + 0.002))
        Workspace(str(storage)).pin(field)
    days = [(date(2024, 6, 1) + timedelta(days=number)).isoformat() for number in range(dates)]
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions(DIMENSION, names)
        chain = Chain(defs(), instance)
        request = dg.RunRequest(
            asset_selection=[dg.AssetKey([PIPELINE, noun]) for noun in chain.stages(PIPELINE)],
            tags=range_tags(days, names),
        )

        def run() -> None:
            if not chain.execute(request):
                raise AssertionError("a partition failed")

        first, before = timed(run), process_time()
        again, processor = timed(run), process_time() - before
        stages = sum(
            float(record.asset_materialization.metadata["seconds"].value)
            for key in request.asset_selection
            for record in instance.fetch_materializations(key, limit=len(days) * aois).records
        )
        return first, again, processor, stages
