"""Disks that are full or read-only: a typed error, and the old state stays whole."""

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from geostack_dagster.cube.store import Kind, open_store
from geostack_dagster.errors import GeostackError
from tests.cube import scenes
from tests.cube.scenes import SCHEMA, assert_holds, window

pytestmark = pytest.mark.faults

REFUSED = 3
READ_ONLY = """
import sys
from tests.faults.test_cube_storage import rewrite
rewrite(sys.argv[1], "icechunk")
"""


def rewrite(url: str, kind: Kind, limit_bytes: int | None = None) -> None:
    """Rewrite a day, while no file may grow beyond a limit; exit with what came of it."""
    store = open_store(url, kind=kind)
    assert store.is_current(SCHEMA.name, window(0), "one")
    if limit_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))
    try:
        scenes.write(store, {0: 2}, "two")
    except GeostackError as error:
        if limit_bytes is None:  # a limit holds for captured output as well
            print(error, flush=True)  # noqa: T201
        sys.exit(REFUSED)


@pytest.mark.parametrize("limit_bytes", [0, 40, 200, 400, 800])
@pytest.mark.parametrize("kind", ["icechunk", "zarr"])
def test_a_full_disk(tmp_path: Path, kind: Kind, limit_bytes: int):
    store = open_store(str(tmp_path / "cube"), kind=kind)
    store.ensure(SCHEMA)
    scenes.write(store, {0: 1, 1: 4}, "one")
    (code,) = scenes.run_all([(rewrite, (store.url, kind, limit_bytes))])
    assert code in (0, REFUSED)
    if limit_bytes < 40:
        assert code == REFUSED
    if code == 0:
        assert_holds(store, {0: 2, 1: 4})
    elif kind == "icechunk":
        assert_holds(store, {0: 1, 1: 4})
        assert store.is_current(SCHEMA.name, window(0, 2), "one")
    else:
        assert not store.is_current(SCHEMA.name, window(0), "two")
    scenes.write(store, {0: 2}, "two")
    assert_holds(store, {0: 2, 1: 4})


def test_a_read_only_disk(tmp_path: Path):
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare to mount a folder read-only")
    store = open_store(str(tmp_path / "cube"))
    store.ensure(SCHEMA)
    scenes.write(store, {0: 1}, "one")
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" || exit 77; shift 0; exec "$@"'
    command = ["unshare", "-m", "sh", "-c", mount, str(tmp_path)]
    child = subprocess.run(
        [*command, sys.executable, "-c", READ_ONLY, store.url],
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode in (1, 77):
        pytest.skip(f"may not mount here: {child.stderr.strip()[-200:]}")
    assert child.returncode == REFUSED, child.stderr
    assert str(tmp_path) in child.stdout
    assert_holds(store, {0: 1})
