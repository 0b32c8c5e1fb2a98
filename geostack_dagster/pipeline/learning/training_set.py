"""The training set: which windows of which scenes are learnt from, and which ones judge.

It holds no pixel: an index of chips (GeoParquet), and a document with the scenes and the labels
that were used, so that a set can be trained on again when the labels have long changed. Sets are
kept under the digest of their content; `training_set.json` names the present one.

What judges is frozen: the first time that a scene falls to the gate its labels are written down,
without those that a model proposed, and later labels of that scene change nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from time import perf_counter

import numpy as np

from geostack_dagster import storage
from geostack_dagster.domain.counts import counted
from geostack_dagster.domain.documents import read_back
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.errors import ConfigurationError, NoDataError
from geostack_dagster.learning.chip_index import read_index, write_index
from geostack_dagster.learning.chips import Chip, index_digest, index_scene, with_injections
from geostack_dagster.learning.labels import Label
from geostack_dagster.learning.leakage import find_leakage
from geostack_dagster.learning.scenes import Maps
from geostack_dagster.learning.splits import Assignment, Split, assign
from geostack_dagster.pipeline.artefacts import Artefact
from geostack_dagster.pipeline.labels import stored_labels
from geostack_dagster.pipeline.learning.documents import (
    encoded,
    find_document,
    read_document,
    write_document,
)
from geostack_dagster.pipeline.learning.scenes import CubeSource, Labelled, scenes_of, whole
from geostack_dagster.pipeline.learning.settings import Loop
from geostack_dagster.pipeline.report import Outcome, StageReport

_POINTER, _GATE = "training_set.json", "gate_set.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Every labelled scene of the sources, as cubes and labels are now."""

    scenes: tuple[Labelled, ...]
    code: str
    statements: Mapping[str, str]
    """Digest of every label in the store, by its id."""

    @property
    def fingerprint(self) -> str:
        """Of all that decides a training set: pixels, labels and settings."""
        return fingerprint([self.code, sorted((one.scene.id, one.digest) for one in self.scenes)])


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """A stored training set."""

    inputs: str
    """Fingerprint of the material that it was made from."""
    code: str
    scenes: tuple[Labelled, ...]
    """With the labels that were used."""
    orbits: Mapping[str, Split]
    statements: Mapping[str, str]
    """Digest of every label that was in the store, by its id."""
    chips: tuple[Chip, ...] = field(repr=False)
    assignment: Assignment = field(repr=False)

    @cached_property
    def data(self) -> str:
        """Digest of what is learnt and calibrated with: equal data gives an equal model."""
        return fingerprint(
            [
                index_digest(one for one in self.of(split) if one.teaches)
                for split in (Split.TRAIN, Split.VALIDATION)
            ]
        )

    def of(self, split: Split) -> list[Chip]:
        """The chips of a split."""
        return self.assignment.select(self.chips, split)

    @property
    def gate_scenes(self) -> list[Labelled]:
        """Scenes that judge, in the order of their ids."""
        judged = {chip.scene for chip in self.of(Split.GATE)}
        found = [one for one in self.scenes if one.scene.id in judged]
        return sorted(found, key=lambda one: one.scene.id)

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.inputs}-{self.data}"

    def index_url(self, loop: Loop) -> str:
        """Its chips, GeoParquet."""
        return loop.url("sets", f"{self.name}.parquet")

    def source(self, loop: Loop) -> CubeSource:
        """Pixels of its scenes."""
        return CubeSource.of(loop.workspace, loop.spec.sources, self.scenes, loop.caution)


def collect(loop: Loop, aois: Sequence[str]) -> Material:
    """Labelled scenes of all sources over these AOIs; what judges has its frozen labels.

    Raises:
        ServiceError: If the storage does not answer.
    """
    labels = stored_labels(loop.workspace).labels
    frozen = _frozen(loop)
    found = (
        one
        for spec in loop.spec.sources
        for aoi in aois
        for one in scenes_of(spec, loop.workspace, aoi, labels)
    )
    scenes = tuple(
        replace(one, labels=frozen[one.scene.id]) if one.scene.id in frozen else one
        for one in found
    )
    return Material(
        scenes=scenes,
        code=loop.spec.code_version("training_set"),
        statements={label.id: statement(label) for label in labels},
    )


def run(loop: Loop, aois: Sequence[str]) -> StageReport:
    """Assemble the training set; nothing is done if neither pixels nor labels changed.

    Raises:
        NoDataError: If no scene was labelled, or nothing can be learnt from those that were.
        ConfigurationError: If a setting is wrong.
    """
    started = perf_counter()
    material = collect(loop, aois)
    known = latest(loop)
    unchanged = known is not None and known.inputs == material.fingerprint
    if known is None or not unchanged:
        known = _assembled(loop, material, {} if known is None else known.orbits)
    return _report(loop, known, seconds=perf_counter() - started, unchanged=unchanged)


def latest(loop: Loop) -> TrainingSet | None:
    """The present training set; None if there is none yet."""
    pointer = find_document(loop.url(_POINTER))
    return None if pointer is None else stored(loop, pointer["set"])


def required(loop: Loop) -> TrainingSet:
    """The present training set.

    Raises:
        ConfigurationError: If there is none.
    """
    found = latest(loop)
    if found is None:
        raise ConfigurationError(
            f"{loop.spec.name} has no training set; materialize {loop.spec.name}/training_set first"
        )
    return found


def stored(loop: Loop, name: str) -> TrainingSet:
    """A training set by its name: the fingerprint of its material and its digest."""
    stated = read_document(loop.url("sets", f"{name}.json"))
    chips = tuple(read_index(loop.url("sets", f"{name}.parquet")))
    orbits = {orbit: Split(split) for orbit, split in stated["orbits"].items()}
    return TrainingSet(
        inputs=stated["inputs"],
        code=stated["code"],
        scenes=tuple(Labelled.of_json(one) for one in stated["scenes"]),
        orbits=orbits,
        statements=stated["statements"],
        chips=chips,
        assignment=assign(chips, loop.splits, earlier=orbits),
    )


def statement(label: Label) -> str:
    """Digest of what a label says."""
    return fingerprint(label.to_feature())


def _assembled(loop: Loop, material: Material, orbits: Mapping[str, Split]) -> TrainingSet:
    if not material.scenes:
        raise NoDataError(
            f"nothing to learn from: no stored label lies on a cube of "
            f"{', '.join(spec.name for spec in loop.spec.sources)}; import labels first"
        )
    scenes = {one.scene.id: one for one in material.scenes}
    drafts = [chip for one in scenes.values() for chip in _windows(loop, one)]
    judged = {
        chip.scene
        for chip in assign(drafts, loop.splits, earlier=orbits).select(drafts, Split.GATE)
    }
    scenes |= {name: scenes[name].human for name in judged}
    _freeze(loop, [scenes[name] for name in sorted(judged)])
    source = CubeSource.of(loop.workspace, loop.spec.sources, scenes.values(), loop.caution)
    observed = [
        chip
        for one in scenes.values()
        for chip in index_scene(one.scene, whole(source, one), one.labels, loop.cutting)
    ]
    first = assign(observed, loop.splits, earlier=orbits)
    taught = with_injections(first.select(observed, Split.TRAIN), loop.shares)
    chips = sorted({chip.id: chip for chip in [*observed, *taught]}.values(), key=lambda c: c.id)
    # What is stored is what its own settings gave: the frozen scenes may have lost labels.
    settled = replace(material, scenes=tuple(scenes.values()))
    found = TrainingSet(
        inputs=settled.fingerprint,
        code=material.code,
        scenes=tuple(scenes.values()),
        orbits=first.orbits,
        statements=material.statements,
        chips=tuple(chips),
        assignment=assign(chips, loop.splits, earlier=first.orbits),
    )
    _write(loop, found)
    return found


def _windows(loop: Loop, one: Labelled) -> list[Chip]:
    """Where the chips of a scene lie; what is in them does not matter to whom they fall."""
    blank = np.zeros(one.scene.shape, np.float32)
    nothing = Maps(
        enhancement=blank, uncertainty=blank, sensitivity=blank, states=blank.astype(np.uint8)
    )
    return index_scene(one.scene, nothing, cutting=loop.cutting)


def _write(loop: Loop, found: TrainingSet) -> None:
    """The set first, the pointer last."""
    name = found.name
    write_index(found.index_url(loop), found.chips)
    document = {
        "inputs": found.inputs,
        "code": found.code,
        "data": found.data,
        "scenes": [one.to_json() for one in found.scenes],
        "orbits": {orbit: split.value for orbit, split in sorted(found.orbits.items())},
        "statements": dict(sorted(found.statements.items())),
    }
    write_document(loop.url("sets", f"{name}.json"), document)
    write_document(loop.url(_POINTER), {"set": name, "data": found.data})


def _frozen(loop: Loop) -> dict[str, tuple[Label, ...]]:
    return {name: one.labels for name, one in _gate_set(loop)[0].items()}


def _gate_set(loop: Loop) -> tuple[dict[str, Labelled], bytes | None]:
    try:
        raw = storage.read_bytes(loop.url(_GATE))
    except FileNotFoundError:
        return {}, None
    scenes = read_back(
        raw,
        loop.url(_GATE),
        lambda found: [Labelled.of_json(one) for one in found["scenes"]],
        remedy="restore it: what judges is frozen in it",
    )
    return {one.scene.id: one for one in scenes}, raw


def _freeze(loop: Loop, scenes: Sequence[Labelled]) -> None:
    """Write down what is known of scenes that judge; those written down before stay as they are."""
    known, raw = _gate_set(loop)
    new = {one.scene.id: one for one in scenes if one.scene.id not in known}
    if new:
        document = {"scenes": [one.to_json() for one in [*known.values(), *new.values()]]}
        storage.swap_bytes(loop.url(_GATE), encoded(document), expected=raw)


def _report(loop: Loop, found: TrainingSet, *, seconds: float, unchanged: bool) -> StageReport:
    by_split = {split: found.of(split) for split in Split}
    counts = {
        f"{split.value}_chips": sum(chip.teaches for chip in chips)
        for split, chips in by_split.items()
    }
    states = Counter(chip.state.value for chip in found.chips if not chip.injected)
    leakage = find_leakage(by_split, loop.splits)
    return StageReport(
        outcome=Outcome.UNCHANGED if unchanged else Outcome.WRITTEN,
        fingerprint=found.data,
        note=f"{counted(len(found.chips), 'chip')} of {counted(len(found.scenes), 'scene')}, "
        f"{counted(len(found.statements), 'label')}{': nothing changed' if unchanged else ''}",
        facts={
            "chips": len(found.chips),
            "scenes": len(found.scenes),
            "labels": len(found.statements),
            "sites": len({chip.site for chip in found.chips}),
            "injected": sum(bool(chip.injected) for chip in found.chips),
            **counts,
            **{f"{state.lower()}_windows": number for state, number in sorted(states.items())},
            "gate_scenes": len(found.gate_scenes),
            "gate_plumes": len({p for chip in by_split[Split.GATE] for p in chip.plumes}),
            "leaks": len(leakage.leaks),
            "nearest_km": leakage.nearest_km if np.isfinite(leakage.nearest_km) else None,
        },
        tables={
            "leaks": [{"leak": line} for line in leakage.leaks],
            "left_out": [
                {"chips": number, "why": why}
                for why, number in sorted(found.assignment.left_out.items())
            ],
        },
        rows=len(found.chips),
        artefact=Artefact(found.index_url(loop), {"labels": loop.workspace.layout.label_log}),
        seconds=seconds,
    )
