"""What finds plumes, learned or classical, behind one face: all are scored by the same rules."""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int32

from geostack_dagster.inference.detection import Detection, detect
from geostack_dagster.inference.detector import Detector, segment
from geostack_dagster.inference.enhancement import LEAST_SENSITIVITY
from geostack_dagster.learning.scenes import Maps


class Found(NamedTuple):
    """What a finder makes of a scene."""

    score: Float[np.ndarray, "y x"]
    """Higher is more plume; NaN where it cannot say."""
    labels: Int32[np.ndarray, "y x"]
    """0, or the number of the plume."""


@runtime_checkable
class Finder(Protocol):
    """Anything that finds plumes in the maps of a scene."""

    @property
    def name(self) -> str:
        """Which one it is, for reports."""
        ...

    @property
    def probabilistic(self) -> bool:
        """Whether its score is a logit, so that calibration can be asked for."""
        ...

    def find(self, maps: Maps) -> Found:
        """Scores and plumes of a whole scene."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Learned:
    """A trained detector; its score is the calibrated logit."""

    detector: Detector
    name: str = "learned"
    core: int = 384
    """Rows and columns of a tile without its halo; less for a scene that is smaller."""

    @property
    def probabilistic(self) -> bool:
        """True."""
        return True

    def find(self, maps: Maps) -> Found:
        """Logits, and plumes at the detector's threshold."""
        align = self.detector.architecture.align
        whole = -(-max(maps.states.shape) // align) * align
        logit = self.detector.logit(maps.channels, core=min(self.core, whole))
        return Found(logit, segment(logit, self.detector.threshold).labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Classical:
    """Smoothing and hysteresis, the baseline that a model must beat."""

    settings: Detection = field(default_factory=Detection)
    name: str = "classical"
    corrected: bool = False
    """Divide by the sensitivity first, where the uncertainty is that of the quotient (EMIT)."""

    @property
    def probabilistic(self) -> bool:
        """False: robust standard deviations are no logits."""
        return False

    def find(self, maps: Maps) -> Found:
        """Robust standard deviations, and plumes by hysteresis."""
        enhancement, observed = maps.enhancement.astype(np.float64), maps.observed
        if self.corrected:
            observed = observed & (maps.sensitivity >= LEAST_SENSITIVITY)
            enhancement = enhancement / np.where(observed, maps.sensitivity, np.nan)
        detected = detect(enhancement, maps.uncertainty.astype(np.float64), observed, self.settings)
        return Found(detected.score, detected.labels)
