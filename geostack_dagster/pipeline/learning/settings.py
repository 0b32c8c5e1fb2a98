"""The settings of a detector as `learning` takes them, and where its files lie."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.detector import Architecture
from geostack_dagster.learning.canary import CanaryPlan
from geostack_dagster.learning.chips import Cutting, InjectionShares
from geostack_dagster.learning.drift import DriftRule
from geostack_dagster.learning.evaluate import Bootstrap
from geostack_dagster.learning.gate import Rules
from geostack_dagster.learning.injection import RandomPlume
from geostack_dagster.learning.labels import Caution
from geostack_dagster.learning.registry import Registry
from geostack_dagster.learning.splits import Split, SplitPolicy
from geostack_dagster.learning.train import Training
from geostack_dagster.pipeline.learning.spec import DetectorSpec
from geostack_dagster.pipeline.workspace import Workspace


@dataclass(frozen=True)
class Loop:
    """One detector in one storage: what every stage is given."""

    spec: DetectorSpec
    workspace: Workspace

    @property
    def folder(self) -> str:
        """Where everything but the models lies."""
        return self.workspace.layout.learning(self.spec.name)

    def url(self, *parts: str) -> str:
        """A file of the loop."""
        return "/".join([self.folder, *parts])

    @property
    def registry(self) -> Registry:
        """Models of this detector."""
        return Registry(self.workspace.layout.models(self.spec.name), self.spec.name)

    @cached_property
    def splits(self) -> SplitPolicy:
        """Which chip is used for what."""
        asked = dict(self._of("splits"))
        holdout = asked.pop("holdout", None)
        if holdout is None:
            raise ConfigurationError(f"{self.spec.name}: `splits` needs a `holdout` date")
        shares = asked.pop("shares", None)
        if shares is not None:
            asked["shares"] = {split: float(shares.get(split.value, 0.0)) for split in Split}
        moment = datetime.fromisoformat(str(holdout)).replace(tzinfo=UTC)
        return SplitPolicy(holdout=moment, **asked)

    @cached_property
    def training(self) -> Training:
        """How the network is trained."""
        asked = dict(self._of("training"))
        size = {name: asked.pop(name) for name in ("width", "depth") if name in asked}
        asked.setdefault("warmup", math.ceil(0.1 * asked.get("steps", Training().steps)))
        return Training(architecture=Architecture(**size), **asked)

    @cached_property
    def cutting(self) -> Cutting:
        """How scenes are cut into chips."""
        return Cutting(**self._of("cutting"))

    @cached_property
    def shares(self) -> InjectionShares:
        """How many plumes are injected."""
        return InjectionShares(**self._of("shares"))

    @cached_property
    def inject(self) -> RandomPlume:
        """Which plumes are injected; as large in pixels as the sources' grid makes them."""
        asked = {"pixel_m": self.spec.sources[0].resolution} | dict(self._of("inject"))
        return RandomPlume(**{name: _tuple(value) for name, value in asked.items()})

    @cached_property
    def caution(self) -> Caution:
        """Pixels that no label is sure enough about."""
        return Caution(**self._of("caution"))

    @cached_property
    def rules(self) -> Rules:
        """What a challenger must show."""
        return Rules(**self._of("rules"))

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """How sites are drawn."""
        return Bootstrap(**self._of("bootstrap"))

    @cached_property
    def canaries(self) -> CanaryPlan:
        """Plumes of known rate that a model must find."""
        asked = {"pixel_m": self.spec.sources[0].resolution} | dict(self._of("canaries"))
        return CanaryPlan(**{name: _tuple(value) for name, value in asked.items()})

    @cached_property
    def drift(self) -> DriftRule:
        """How the test for drift is made."""
        return DriftRule(**self._of("drift"))

    def _of(self, section: str) -> Mapping[str, Any]:
        return self.spec.settings.get(section) or {}


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
