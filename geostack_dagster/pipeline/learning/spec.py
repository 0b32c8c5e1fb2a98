"""What a detector is asked to be: the light form of its `defs.yaml`; `settings` is the full one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.pipeline.spec import PipelineSpec

STAGES = ("training_set", "challenger", "evaluation", "gate", "champion")
"""Nouns of a detector's assets that make a model, parents first."""
# As `pipeline.spec.STAGE_CODE`, and the sections of the settings that a stage depends on.
_CODE = {
    "training_set": (1, ("splits", "cutting", "shares", "caution")),
    "challenger": (1, ("training", "inject")),
    "evaluation": (3, ("rules", "bootstrap", "canaries")),
    "gate": (1, ()),
    "champion": (1, ()),
    "drift": (1, ("drift",)),
}
_NOTHING: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainRule:
    """When a training is asked for, and how soon after the last."""

    new_labels: int = 25
    """Labels since the last training that are enough by themselves."""
    new_share: float = 0.1
    """Part of the labels of the last training that new ones must be as well."""
    oldest_days: float = 180.0
    """Age of the last training from which any new label is enough."""
    cool_down_hours: float = 24.0
    """Time after a training in which none is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSpec:
    """One detector: whose maps it learns from, how, and what a new model must show."""

    name: str
    sources: tuple[PipelineSpec, ...]
    """Pipelines whose cubes hold enhancement maps."""
    settings: Mapping[str, Mapping[str, Any]] = field(default=_NOTHING)
    """What differs from the defaults of `learning`, by section: `training: {steps: 200}`."""
    retrain: RetrainRule = field(default_factory=RetrainRule)
    recent_days: int = 60
    """Newest days of the sources that are compared with what a model learned from."""

    def __post_init__(self) -> None:
        if not self.sources:
            raise ConfigurationError(f"{self.name} has no `sources`: name pipelines to learn from")
        for source in self.sources:
            if source.methane is None:
                raise ConfigurationError(
                    f"{self.name} cannot learn from {source.name}: it retrieves no methane"
                )

    def code_version(self, stage: str) -> str:
        """Changes when the stage's code or the part of the settings it depends on changes."""
        number, sections = _CODE[stage]
        asked: list[Any] = [{name: self.settings.get(name) for name in sections}]
        if stage == "training_set":
            asked.append([source.name for source in self.sources])
        return fingerprint([stage, number, *asked])[:12]
