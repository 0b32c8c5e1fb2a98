"""Arrays of chips: the moment at which an index becomes pixels."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from geostack_dagster.errors import ConfigurationError, IntegrityError, NoDataError
from geostack_dagster.learning.chips import Chip, content_digest, index_digest
from geostack_dagster.learning.injection import Inject
from geostack_dagster.learning.scenes import Maps, PixelState, SceneSource


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Arrays of chips, in the order of their ids: what a training takes."""

    ids: tuple[str, ...]
    maps: Float32[np.ndarray, "n 3 y x"]
    """Enhancement, uncertainty, sensitivity in physical units; NaN where unobserved."""
    plume: Bool[np.ndarray, "n y x"]
    known: Bool[np.ndarray, "n y x"]
    """Pixels that count: PLUME or NO_PLUME, neither rim nor doubt nor nodata."""
    weight: Float32[np.ndarray, " n"]
    digest: str
    """Of the chips they were made from: the data hash of a training."""

    @property
    def positive(self) -> Bool[np.ndarray, " n"]:
        """Chips with plume pixels."""
        return np.asarray(self.plume.any(axis=(1, 2)))


def assemble(
    chips: Iterable[Chip], source: SceneSource, *, inject: Inject | None = None
) -> Samples:
    """Arrays of the chips that teach something, in memory: 57 KB for one of 64 x 64.

    A synthetic plume depends on its chip's id alone, not on order or on other chips.

    Args:
        chips: From an index; those that teach nothing are left out.
        source: Of the pixels.
        inject: Adds the synthetic plumes; needed if any chip has one.

    Raises:
        NoDataError: If no chip teaches anything.
        IntegrityError: If the pixels of a chip are not those that it was indexed with.
        ConfigurationError: If a chip has a synthetic plume and `inject` is None.
    """
    chosen = sorted((chip for chip in chips if chip.teaches), key=lambda chip: chip.id)
    if not chosen:
        raise NoDataError("no chip has a plume or is known to be free of one: nothing to learn")
    windows = [_window(chip, source, inject) for chip in chosen]
    states = np.stack([maps.states for maps in windows])
    return Samples(
        ids=tuple(chip.id for chip in chosen),
        maps=np.stack([maps.channels for maps in windows]),
        plume=states == PixelState.PLUME,
        known=(states == PixelState.PLUME) | (states == PixelState.NO_PLUME),
        weight=np.array([chip.weight for chip in chosen], np.float32),
        digest=index_digest(chosen),
    )


def _window(chip: Chip, source: SceneSource, inject: Inject | None) -> Maps:
    maps = source.read(chip.scene, *chip.window)
    if content_digest(maps) != chip.content:
        raise IntegrityError(
            f"chip {chip.id} has other pixels or labels than when it was indexed; index its "
            "scene again"
        )
    if not chip.injected:
        return maps
    if inject is None:
        raise ConfigurationError(f"chip {chip.id} has a synthetic plume; say how to `inject` it")
    seed = int.from_bytes(hashlib.sha256(chip.id.encode()).digest()[:8])
    return inject(maps, np.random.default_rng(seed))
