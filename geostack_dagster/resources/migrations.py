"""Dagster's migration scripts, read once in a process.

Whenever Dagster opens its instance, so for every tick, it compares each of its three databases with
its newest migration script, and to find that it runs all of them, some sixty: 70 of the 80 ms that
opening takes. Scripts do not change while a process runs. What they leave behind, modules that hold
one another and tables of names, made the code server rise for as long as it ticked: after 700
openings the interpreter's table of names doubled, to 15 MiB.
"""

from functools import lru_cache
from typing import override

from alembic.config import Config
from alembic.script import ScriptDirectory
from dagster._core.storage import sql


class _ReadOnce(ScriptDirectory):
    @override
    @classmethod
    def from_config(cls, config: Config) -> ScriptDirectory:
        return _read(config)


@lru_cache(maxsize=3)  # of runs, events and schedules; Dagster keeps their `config` as well
def _read(config: Config) -> ScriptDirectory:
    return ScriptDirectory.from_config(config)


def remember() -> None:
    """Let Dagster find the newest revisions in scripts that it has read."""
    sql.ScriptDirectory = _ReadOnce  # type: ignore[attr-defined]
