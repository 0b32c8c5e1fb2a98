"""Before and after a promotion: one scene that judged, as the old finder and the new one see it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geostack_dagster import storage
from geostack_dagster.domain.counts import counted
from geostack_dagster.inference.detector import probability
from geostack_dagster.learning.evaluate import Evaluation, SceneScore
from geostack_dagster.learning.finders import Finder
from geostack_dagster.learning.scenes import WHOLE, Maps, PixelState, Scene, SceneSource
from geostack_dagster.pipeline.learning.settings import Loop
from geostack_dagster.publish.colours import STYLES, Style
from geostack_dagster.publish.comparison import Comparison, Panel

_DEVIATIONS = Style(ramp=STYLES["probability"].ramp, low=0.0, high=9.0, unit="robust sd")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """A finder and how it scored."""

    role: str
    """What it was in the match: `champion`."""
    finder: Finder
    evaluation: Evaluation

    def panel(self, maps: Maps, number: int) -> Panel:
        """What it makes of the scene of that number."""
        found, score = self.finder.find(maps), self.evaluation.scenes[number]
        is_chance = self.finder.probabilistic
        name = "" if self.finder.name == self.role else f" {self.finder.name}"
        return Panel(
            title=f"{self.role}{name}: {'probability' if is_chance else 'score'}",
            values=probability(found.score) if is_chance else found.score,
            style=STYLES["probability"] if is_chance else _DEVIATIONS,
            found=found.labels > 0,
            notes=(f"here: {_balance([score])}", f"all: {_balance(self.evaluation.scenes)}"),
        )


def picture_of(before: Side, after: Side, scenes: Sequence[Scene], source: SceneSource) -> bytes:
    """PNG of the scene on which the two differ most: what is there, and what either finds.

    Args:
        before: Champion, or baseline.
        after: Challenger, scored on the same scenes.
        scenes: Those that judged, in the order of the scores.
        source: Of their pixels and labels.
    """
    number = most_telling(before.evaluation, after.evaluation)
    scene = scenes[number]
    maps = source.read(scene.id, WHOLE, WHOLE)
    known = maps.states != PixelState.UNOBSERVABLE
    there = Panel(
        title="methane enhancement",
        values=np.where(known, maps.enhancement, np.nan),
        style=STYLES["enhancement"],
        notes=(f"here: {counted(len(after.evaluation.scenes[number].truths), 'plume')} outlined",),
    )
    return Comparison(
        title=f"{before.role} and {after.role} on a scene that neither learned from",
        subtitle=f"{scene.id}, {scene.acquired:%Y-%m-%d %H:%M} UTC: of {len(scenes)} scenes that "
        "judge, the one on which they differ most",
        panels=(there, before.panel(maps, number), after.panel(maps, number)),
        truth=maps.states == PixelState.PLUME,
        pixel_m=1000 * float(np.sqrt(scene.pixel_km2)),
    ).png()


def most_telling(before: Evaluation, after: Evaluation) -> int:
    """Number of the scene on which plumes found and false alarms differ most; then of plumes."""

    def told(number: int) -> tuple[int, int, int]:
        old, new = before.scenes[number].counts, after.scenes[number].counts
        apart = abs(int(new.found) - int(old.found)) + abs(int(new.wrong) - int(old.wrong))
        return apart, int(new.truths), -number

    return max(range(len(after.scenes)), key=told)


def keep_picture(loop: Loop, after: str, before: str | None, picture: bytes) -> None:
    """Keep the picture of a match; `before` is None where there was no champion."""
    storage.write_bytes(_url(loop, after, before), picture)


def kept_picture(loop: Loop, after: str, before: str | None) -> dict[str, bytes]:
    """The picture of a match by its name; none if there was no such match."""
    try:
        return {"before_after": storage.read_bytes(_url(loop, after, before))}
    except FileNotFoundError:
        return {}


def _url(loop: Loop, after: str, before: str | None) -> str:
    return loop.workspace.layout.before_after(loop.spec.name, after, before)


def _balance(scores: Sequence[SceneScore]) -> str:
    found, truths, wrong = (
        sum(int(getattr(one.counts, name)) for one in scores)
        for name in ("found", "truths", "wrong")
    )
    return f"{found} of {counted(truths, 'plume')} found, {counted(wrong, 'false alarm')}"
