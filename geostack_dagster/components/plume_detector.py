"""`PlumeDetector`: a model that learns from cubes and stored labels, declared in YAML."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, override

import dagster as dg
from pydantic import Field

from geostack_dagster.components.detector_assets import detector_assets
from geostack_dagster.components.detector_sensors import Look, reinfer_sensor, retrain_sensor
from geostack_dagster.components.provider_pipeline import ProviderPipeline
from geostack_dagster.pipeline.learning.spec import DetectorSpec, RetrainRule
from geostack_dagster.pipeline.spec import PipelineSpec


class SplitsModel(dg.Model, dg.Resolvable):
    """Who learns and who judges: sites by hash, and a date from which scenes only judge."""

    holdout: str
    """First date of test and gate, `2024-07-01`; training and validation take those before."""
    salt: str | None = None
    buffer_km: float | None = Field(default=None, ge=0)
    shares: Mapping[str, float] | None = None
    """Part of the sites: train, validation, test and gate add up to 1."""


class TrainingModel(dg.Model, dg.Resolvable):
    """Size of the network and length of the training; the seed decides the rest."""

    steps: int | None = Field(default=None, ge=1)
    batch: int | None = Field(default=None, ge=1)
    learning_rate: float | None = Field(default=None, gt=0)
    positive_weight: float | None = Field(default=None, gt=0)
    seed: int | None = None
    width: int | None = Field(default=None, ge=1)
    depth: int | None = Field(default=None, ge=1)
    checkpoint_every: int | None = Field(default=None, ge=1)


class CuttingModel(dg.Model, dg.Resolvable):
    """How scenes are cut into windows [pixels]."""

    size: int | None = Field(default=None, ge=8)
    stride: int | None = Field(default=None, ge=8)


class InjectionModel(dg.Model, dg.Resolvable):
    """Synthetic plumes: part of the positive windows of a site with many or few real ones."""

    many: float | None = Field(default=None, ge=0, lt=1)
    few: float | None = Field(default=None, ge=0, lt=1)
    enough: int | None = None
    at_empty_sites: int | None = Field(default=None, ge=0)


class GateModel(dg.Model, dg.Resolvable):
    """What a challenger must show; see `learning.gate.Rules`."""

    ap_loss: float | None = None
    f1_loss: float | None = None
    baseline_gain: float | None = None
    slice_plumes: int | None = None
    slice_ap_loss: float | None = None
    slice_recall_loss: float | None = None
    false_alarm_growth: float | None = None
    calibration_error: float | None = None
    sites: int | None = None
    plumes: int | None = None


class BootstrapModel(dg.Model, dg.Resolvable):
    """How sites are drawn for comparisons."""

    draws: int | None = Field(default=None, ge=100)
    seed: int | None = None


class CanariesModel(dg.Model, dg.Resolvable):
    """Injected plumes of known rate that a model must find."""

    rates_t_h: Sequence[float] | None = None
    trials: int | None = Field(default=None, ge=1)
    size: int | None = Field(default=None, ge=32)


class DriftModel(dg.Model, dg.Resolvable):
    """Drift: at which rate of false alarms, within which season."""

    false_alarm_rate: float | None = Field(default=None, gt=0, lt=1)
    permutations: int | None = Field(default=None, ge=19)
    season_days: float | None = Field(default=None, gt=0)
    least_groups: int | None = Field(default=None, ge=2)


class RetrainModel(dg.Model, dg.Resolvable):
    """When a training is asked for."""

    new_labels: int = Field(default=25, ge=1)
    new_share: float = Field(default=0.1, ge=0)
    oldest_days: float = Field(default=180.0, gt=0)
    cool_down_hours: float = Field(default=24.0, ge=0)


class LookModel(dg.Model, dg.Resolvable):
    """How often the sensors look, and how much they ask for at a time."""

    retrain_interval_s: int = Field(default=300, ge=5)
    reinfer_interval_s: int = Field(default=120, ge=5)
    most_requests: int = Field(default=20, ge=1)
    most_partitions: int = Field(default=2000, ge=1)


class PlumeDetector(dg.Component, dg.Model, dg.Resolvable):
    """Training set -> challenger -> evaluation -> gate -> champion, with sensors that ask for them.

    The detector is named after its folder below `defs/`. What is left out takes the defaults of
    `geostack_dagster.learning`.
    """

    sources: Sequence[str]
    """Pipelines with `methane` to learn from: folders below `defs/`."""
    splits: SplitsModel
    training: TrainingModel = TrainingModel()
    cutting: CuttingModel = CuttingModel()
    injection: InjectionModel = InjectionModel()
    gate: GateModel = GateModel()
    bootstrap: BootstrapModel = BootstrapModel()
    canaries: CanariesModel = CanariesModel()
    drift: DriftModel = DriftModel()
    recent_days: int = Field(default=60, ge=1)
    """Newest days that the drift test looks at."""
    drift_cron: str = "0 7 * * 1"
    """When the drift test looks; Monday mornings by default."""
    retrain: RetrainModel = RetrainModel()
    sensors: LookModel = LookModel()
    owners: Sequence[str] = ()

    def spec(self, name: str, sources: Sequence[PipelineSpec]) -> DetectorSpec:
        """The validated detector.

        Raises:
            ConfigurationError: If a source retrieves no methane.
        """
        sections = {
            "splits": self.splits,
            "training": self.training,
            "cutting": self.cutting,
            "shares": self.injection,
            "rules": self.gate,
            "bootstrap": self.bootstrap,
            "canaries": self.canaries,
            "drift": self.drift,
        }
        return DetectorSpec(
            name=name,
            sources=tuple(sources),
            settings={key: _stated(section) for key, section in sections.items()},
            retrain=RetrainRule(**self.retrain.model_dump()),
            recent_days=self.recent_days,
        )

    @override
    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Assets and sensors of the detector."""
        sources = [
            context.component_tree.load_component(Path(name), ProviderPipeline).spec(name)
            for name in self.sources
        ]
        return self.named(context.path.name, sources)

    def named(self, name: str, sources: Sequence[PipelineSpec]) -> dg.Definitions:
        """The same for a detector of this name over these pipelines."""
        spec, look = self.spec(name, sources), Look(**self.sensors.model_dump())
        sensors = [retrain_sensor(spec, look)]
        if any(one.methane is not None and one.methane.detector == name for one in sources):
            sensors.append(reinfer_sensor(spec, look))
        schedule = dg.ScheduleDefinition(
            name=f"{name}_drift",
            target=dg.AssetSelection.assets([name, "drift"]),
            cron_schedule=self.drift_cron,
            description="Compares the newest scenes with those that the champion learned from.",
        )
        assets = detector_assets(spec, owners=list(self.owners))
        return dg.Definitions(assets=assets, sensors=sensors, schedules=[schedule])


def _stated(section: dg.Model) -> dict[str, Any]:
    """What was said; silence is a default."""
    return section.model_dump(exclude_none=True)
