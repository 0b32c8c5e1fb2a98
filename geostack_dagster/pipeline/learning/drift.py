"""Drift of the maps: whether new scenes still look like those that the champion learned from.

Features are of whole scenes; they come from the maps and their uncertainty, not from labels, so
every new scene counts. The champion's own training set is the reference, matched by season.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from time import perf_counter
from typing import Any

import numpy as np
from jaxtyping import Float64

from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.learning.drift import Drift, Observations, detect_drift
from geostack_dagster.learning.scenes import Maps
from geostack_dagster.pipeline.artefacts import Artefact
from geostack_dagster.pipeline.learning.documents import (
    find_document,
    read_document,
    write_document,
)
from geostack_dagster.pipeline.learning.scenes import CubeSource, Labelled, scenes_of, whole
from geostack_dagster.pipeline.learning.settings import Loop
from geostack_dagster.pipeline.learning.training_set import stored
from geostack_dagster.pipeline.report import Outcome, StageReport

FEATURES = (
    "enhancement_spread",
    "enhancement_to_uncertainty",
    "suspicious_share",
    "uncertainty_median",
    "sensitivity_spread",
    "unobserved_share",
)
POINTER = "drift.json"
_SUSPICIOUS = 3.0
_SPREAD = 1.4826
_MOST_SCENES = 400


def run(loop: Loop, aois: Sequence[str], *, today: date | None = None) -> StageReport:
    """Compare the newest scenes with those that the champion learned from.

    Nothing is read again if neither pixels nor champion nor rule changed since the last look.

    Args:
        loop: The detector.
        aois: Registered AOIs.
        today: Last day that counts as current; the clock's if None.
    """
    started = perf_counter()
    champion = loop.registry.aliases.champion
    reference = [] if champion is None else _reference(loop, champion)
    since = (today or datetime.now(UTC).date()) - timedelta(days=loop.spec.recent_days)
    learnt = {one.scene.id for one in reference}
    current = [one for one in _recent(loop, aois, since) if one.scene.id not in learnt]
    mark = _mark(loop, champion, reference, current)
    document = last_drift(loop)
    unchanged = document is not None and document.get("mark") == mark
    if document is None or not unchanged:
        found = detect_drift(observed(loop, reference), observed(loop, current), loop.drift)
        document = _document(found, champion, mark)
        write_document(loop.url(POINTER), document)
    written = Outcome.EMPTY if document["drifted"] is None else Outcome.WRITTEN
    return StageReport(
        outcome=Outcome.UNCHANGED if unchanged else written,
        fingerprint=mark,
        note="no champion yet" if champion is None else document["reason"],
        facts={
            "drifted": document["drifted"],
            "chance": document["chance"],
            "discrepancy": document["discrepancy"],
            "reference_scenes": document["reference"],
            "current_scenes": document["current"],
            "champion": champion,
        },
        tables={"features": document["features"]},
        artefact=Artefact(loop.url(POINTER), {"champion": loop.registry.url}),
        seconds=perf_counter() - started,
    )


def last_drift(loop: Loop) -> dict[str, Any] | None:
    """What the last look said; None if nobody looked yet."""
    return find_document(loop.url(POINTER))


def features_of(maps: Maps) -> Float64[np.ndarray, " f"]:
    """Features of one scene, in the order of `FEATURES`; NaN where nothing was observed."""
    seen = maps.observed
    if not seen.any():
        return np.full(len(FEATURES), np.nan)
    enhancement = maps.enhancement[seen].astype(np.float64)
    uncertainty = maps.uncertainty[seen].astype(np.float64)
    sensitivity = maps.sensitivity[seen].astype(np.float64)
    spread, usual = _spread(enhancement), float(np.median(uncertainty))
    deviations = (enhancement - np.median(enhancement)) / max(spread, 1e-9)
    return np.array(
        [
            spread,
            spread / max(usual, 1e-9),
            float((deviations > _SUSPICIOUS).mean()),
            usual,
            _spread(sensitivity),
            float(1 - seen.mean()),
        ]
    )


def observed(loop: Loop, scenes: Sequence[Labelled]) -> Observations:
    """Features of scenes, a row each; an overpass varies together."""
    source = CubeSource.of(loop.workspace, loop.spec.sources, scenes, loop.caution)
    rows = [features_of(whole(source, one)) for one in scenes]
    return Observations(
        features=np.array(rows, np.float64).reshape(len(rows), len(FEATURES)),
        names=FEATURES,
        acquired=tuple(one.scene.acquired for one in scenes),
        groups=tuple(one.scene.orbit for one in scenes),
    )


def _reference(loop: Loop, champion: str) -> list[Labelled]:
    training = read_document(loop.url("trainings", f"{champion}.json"))
    return list(stored(loop, training["set"]).scenes)


def _recent(loop: Loop, aois: Iterable[str], since: date) -> list[Labelled]:
    found = [
        one
        for spec in loop.spec.sources
        for aoi in aois
        for one in scenes_of(spec, loop.workspace, aoi, None, since=since)
    ]
    return sorted(found, key=lambda one: (one.day, one.scene.id))[-_MOST_SCENES:]


def _mark(
    loop: Loop, champion: str | None, reference: Sequence[Labelled], current: Sequence[Labelled]
) -> str:
    """Fingerprint of all that decides the answer: the pixels of both sides, and the rule."""
    sides = (reference, current)
    pixels = [sorted([one.scene.id, one.made_from] for one in side) for side in sides]
    return fingerprint([champion, *pixels, loop.spec.code_version("drift")])


def _document(found: Drift, champion: str | None, mark: str) -> dict[str, Any]:
    return {
        "mark": mark,
        "champion": champion,
        "drifted": found.drifted,
        "chance": None if np.isnan(found.chance) else found.chance,
        "discrepancy": None if np.isnan(found.discrepancy) else found.discrepancy,
        "reason": found.reason,
        "reference": found.reference,
        "current": found.current,
        "features": [asdict(one) for one in found.features],
    }


def _spread(values: Float64[np.ndarray, " n"]) -> float:
    return _SPREAD * float(np.median(np.abs(values - np.median(values))))
