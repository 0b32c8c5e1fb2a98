"""`geostack report`: the storage's state as one HTML page."""

import os
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geostack_dagster.cli.surroundings import ROOT
from geostack_dagster.cli.terminal import required

if TYPE_CHECKING:
    from geostack_dagster.pipeline.spec import PipelineSpec


def write(out: Path) -> dict[str, Any]:
    """Write the page about `GEOSTACK_STORAGE`; what it says, in numbers."""
    from geostack_dagster.pipeline.state import read_state
    from geostack_dagster.pipeline.workspace import Workspace
    from geostack_dagster.publish.state_page import state_page

    state = read_state(declared(), Workspace(required("GEOSTACK_STORAGE")))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(state_page(state), encoding="utf-8")
    cells = [cell for one in state.pipelines for row in one.calendar.values() for cell in row]
    return {
        "report": str(out),
        "aois": len(state.areas),
        "pipelines": len(state.pipelines),
        "partitions": len(cells),
        "with_pixels": sum(cell.coverage is not None and cell.items > 0 for cell in cells),
        "plumes": sum(mark.is_sure for mark in state.plumes),
        "not_read": len(state.failures),
        "models": len({one.model for one in state.models}),
        "bytes": sum(sum(one.sizes.values()) for one in state.pipelines),
        "damaged": [{"object": one.path, "problem": one.problem} for one in state.damages],
    }


def show(page: Path) -> bool:
    """Open a page in the browser if there is a display; whether it was."""
    has_display = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    return has_display and webbrowser.open(page.resolve().as_uri())


def declared() -> "list[PipelineSpec]":
    """Every pipeline below `defs/`, by name."""
    import dagster as dg

    from geostack_dagster.components import ProviderPipeline

    tree = dg.ComponentTree.for_project(ROOT)
    names = sorted(file.parent.name for file in tree.defs_module_path.glob("*/defs.yaml"))
    found = ((name, tree.load_component(Path(name))) for name in names)
    return [part.spec(name) for name, part in found if isinstance(part, ProviderPipeline)]
