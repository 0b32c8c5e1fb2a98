"""The challenger: a detector trained on the present training set, and registered.

Equal data, code and settings give the same model id, and such a model is not trained again. A
training that was interrupted goes on from its checkpoint.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import numpy as np

from geostack_dagster import storage
from geostack_dagster.inference.detector import Detector
from geostack_dagster.learning.calibrate import calibrated
from geostack_dagster.learning.model_card import Coverage, ModelCard, code_digest
from geostack_dagster.learning.samples import assemble
from geostack_dagster.learning.splits import Split
from geostack_dagster.learning.train import Progress, Trained, fit
from geostack_dagster.pipeline.artefacts import Artefact
from geostack_dagster.pipeline.learning.documents import (
    CHALLENGER,
    read_document,
    write_document,
)
from geostack_dagster.pipeline.learning.settings import Loop
from geostack_dagster.pipeline.learning.training_set import TrainingSet, required
from geostack_dagster.pipeline.report import Outcome, StageReport
from geostack_dagster.publish.chart import Axes, chart

_POINTS = 100


def run(loop: Loop, *, progress: Callable[[Progress], None] | None = None) -> StageReport:
    """Train, calibrate and register a detector; nothing is done if it is registered already.

    Args:
        loop: The detector.
        progress: Called after every step.

    Raises:
        ConfigurationError: If there is no training set, or nothing to learn in it.
        NoDataError: If training or validation hold no plume, or nothing else.
    """
    started = perf_counter()
    found = required(loop)
    model = card_of(loop, found, Detector.untrained(loop.training.architecture)).id
    unchanged = model in loop.registry.models
    if not unchanged:
        _train(loop, found, model, progress)
    facts = read_document(loop.url("trainings", f"{model}.json"))
    write_document(
        loop.url(CHALLENGER),
        {"model": model, "data": found.data, "inputs": found.inputs, "asked": _now()},
    )
    losses = facts.pop("losses")
    return StageReport(
        outcome=Outcome.UNCHANGED if unchanged else Outcome.WRITTEN,
        fingerprint=loop.registry.digest_of(model),
        note=f"{model}: same data, code and settings, trained before"
        if unchanged
        else f"{model}: trained in {facts['training_seconds']:.0f} s, loss {facts['loss']:.3f}",
        facts={"model": model, **facts, "first_loss": losses[0][1]},
        pictures={"loss_curve": _curve(losses)},
        artefact=Artefact(loop.registry.item_url(model), {"training_set": found.index_url(loop)}),
        seconds=perf_counter() - started,
    )


def card_of(loop: Loop, found: TrainingSet, detector: Detector) -> ModelCard:
    """Card of a detector that learns, or learnt, from a training set."""
    chips = [chip for chip in found.of(Split.TRAIN) if chip.teaches]
    settings = asdict(loop.training)
    del settings["architecture"], settings["checkpoint_every"]
    return ModelCard(
        name=loop.spec.name,
        detector=detector,
        hyperparameters=settings | {"injection": asdict(loop.inject)},
        data=found.data,
        code=code_digest(),
        coverage=Coverage.of(chips),
        derived_from=(found.index_url(loop),),
    )


def _train(
    loop: Loop, found: TrainingSet, model: str, progress: Callable[[Progress], None] | None
) -> None:
    source = found.source(loop)
    taught = assemble(found.of(Split.TRAIN), source, inject=loop.inject)
    checks = assemble([c for c in found.of(Split.VALIDATION) if not c.injected], source)
    checkpoint = loop.url("checkpoints", f"{model}.ckpt")
    trained = fit(taught, loop.training, checkpoint=checkpoint, progress=progress)
    detector = calibrated(trained.detector, checks)
    facts = _facts(loop, found, trained, detector)
    write_document(loop.url("trainings", f"{model}.json"), {**facts, "losses": _thinned(trained)})
    card = card_of(loop, found, detector)
    loop.registry.add(replace(card, facts={"loss": facts["loss"]}), datetime.now(UTC))
    storage.delete(checkpoint)


def _facts(loop: Loop, found: TrainingSet, trained: Trained, detector: Detector) -> dict[str, Any]:
    return {
        "data": found.data,
        "set": found.name,
        "parameters": detector.parameters,
        "steps": loop.training.steps,
        "seed": loop.training.seed,
        "chips": len(found.of(Split.TRAIN)),
        "loss": float(np.mean(trained.losses[-10:])),
        "threshold": detector.threshold,
        "resumed_at": trained.resumed_at,
        "training_seconds": round(trained.seconds, 1),
        "trained": _now(),
    }


def _thinned(trained: Trained) -> list[list[float]]:
    """Means of some hundred parts of the loss curve, with the step in their middle."""
    parts = np.array_split(np.arange(trained.losses.size), min(_POINTS, trained.losses.size))
    return [
        [float(part.mean()) + 1, round(float(trained.losses[part].mean()), 5)] for part in parts
    ]


def _curve(losses: list[list[float]]) -> bytes:
    steps, values = zip(*losses, strict=True)
    axes = Axes(title="Training loss", x="step", y="cross entropy and overlap")
    return chart(axes, {"loss": (steps, values)})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
