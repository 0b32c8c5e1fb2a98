"""Training of the detector: the same samples, settings and seed give the same weights, to the bit.

So it is in every process on as many processors: XLA shares out its sums over them, and another
number gives other roundings, which a training makes visible.

The batch of a step depends on seed and step alone, so a training that was interrupted goes on from
its last checkpoint as if nothing had happened.
"""

import functools
import io
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import absl.logging
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float32, Float64
from numpy.typing import NDArray

from geostack_dagster import storage
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.inference.detector import Architecture, Detector, UNet, prepared
from geostack_dagster.learning.samples import Samples

FORMAT = "geostack-checkpoint/1"

# optax brings absl, whose handler keeps what is standard error at its import and closes that when
# logging is configured (every run of Dagster does) while something else is: a caller's redirection.
absl.logging.get_absl_handler().python_handler.setStream(sys.__stderr__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Settings of a training; with the samples they decide every weight."""

    steps: int = 500
    batch: int = 16
    learning_rate: float = 2e-3
    """At its highest, after the warm-up; a cosine brings it down to 0."""
    warmup: int = 50
    weight_decay: float = 1e-4
    clip: float = 1.0
    """Largest norm of a gradient."""
    positive_weight: float = 4.0
    """Weight of plume pixels in the cross entropy."""
    dice: float = 0.5
    """Weight of the overlap loss beside the cross entropy."""
    positive_share: float = 0.6
    """Part of a batch drawn from chips with plumes."""
    seed: int = 0
    checkpoint_every: int = 100
    architecture: Architecture = field(default_factory=Architecture)

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.checkpoint_every) < 1:
            raise ConfigurationError(f"steps, batch and checkpoint_every must be positive: {self}")
        if not (0 <= self.positive_share <= 1 and 0 <= self.warmup <= self.steps):
            raise ConfigurationError(f"positive_share or warmup is out of range: {self}")

    @property
    def digest(self) -> str:
        """Fingerprint of what decides the weights; when to write checkpoints does not."""
        settings = asdict(self)
        del settings["checkpoint_every"]
        return fingerprint(settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a training stands."""

    step: int
    """Steps done."""
    steps: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """What a training gave; `calibrate.calibrated` makes its probabilities believable."""

    detector: Detector
    losses: Float32[np.ndarray, " step"]
    """The loss curve."""
    training: Training
    data: str
    """Digest of the samples."""
    seconds: float
    """Of this call."""
    resumed_at: int
    """Steps that a checkpoint had done already; 0 for a training from scratch."""


class Batch(NamedTuple):
    """What one step sees."""

    maps: Float32[np.ndarray, "n c y x"]
    plume: Bool[np.ndarray, "n y x"]
    known: Bool[np.ndarray, "n y x"]


class _State(NamedTuple):
    network: UNet
    optimiser: Any
    losses: Float32[np.ndarray, " step"]
    done: np.int64


def fit(
    samples: Samples,
    training: Training | None = None,
    *,
    checkpoint: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """A detector trained on the samples.

    Args:
        samples: Of the training split alone.
        training: `Training()` if None.
        checkpoint: Path or URL of a file to go on from, written as training proceeds and left
            there; one training's own.
        progress: Called after every step; what it raises ends the training.

    Raises:
        ConfigurationError: If the samples have no plume or nothing else, or their size does not
            fit the network, or the checkpoint belongs to another training.
        IntegrityError: If the loss is no longer a number.
    """
    training = training or Training()
    draws = _Draws(samples, training)
    started = time.perf_counter()
    state = _resumed(checkpoint, samples, training) or _initial(training)
    first = int(state.done)
    take = _step(replace(training, seed=0, checkpoint_every=1))  # neither changes the program
    for step in range(first, training.steps):
        network, optimiser, loss = take(state.network, state.optimiser, *draws.batch(step))
        state.losses[step] = loss
        state = _State(network, optimiser, state.losses, np.int64(step + 1))
        if (step + 1) % training.checkpoint_every == 0 or step + 1 == training.steps:
            _checked(state, step)
            if checkpoint is not None:
                storage.write_bytes(checkpoint, _encoded(state, samples, training))
        if progress is not None:
            progress(Progress(step=step + 1, steps=training.steps, loss=float(loss)))
    return Trained(
        detector=Detector(network=state.network, architecture=training.architecture),
        losses=state.losses,
        training=training,
        data=samples.digest,
        seconds=time.perf_counter() - started,
        resumed_at=first,
    )


class _Draws:
    """Batches by number: chips by weight, turned and mirrored."""

    def __init__(self, samples: Samples, training: Training) -> None:
        positive = samples.positive
        if positive.all() or not positive.any():
            raise ConfigurationError(
                f"{int(positive.sum())} of {positive.size} chips have a plume; training needs "
                "chips with plumes and chips without"
            )
        size = samples.maps.shape[-1]
        if samples.maps.shape[-2] != size or size % training.architecture.align:
            raise ConfigurationError(
                f"chips of {samples.maps.shape[-2:]} pixels do not fit a network of depth "
                f"{training.architecture.depth}; cut squares of a multiple of "
                f"{training.architecture.align}"
            )
        self._samples, self._training = samples, training
        self._groups = [
            (np.flatnonzero(chosen), _shares(samples.weight[chosen]))
            for chosen in (positive, ~positive)
        ]

    def batch(self, step: int) -> Batch:
        """What a step sees: it depends on seed and step alone."""
        rng = np.random.default_rng([self._training.seed, step])
        wanted = round(self._training.batch * self._training.positive_share)
        counts = (wanted, self._training.batch - wanted)
        chosen = np.concatenate(
            [
                rng.choice(members, count, p=shares)
                for (members, shares), count in zip(self._groups, counts, strict=True)
            ]
        )
        turns = rng.integers(0, 8, chosen.size)
        maps, plume, known = (
            np.stack([_turned(array[one], turn) for one, turn in zip(chosen, turns, strict=True)])
            for array in (self._samples.maps, self._samples.plume, self._samples.known)
        )
        return Batch(maps, plume, known)


def _shares(weight: Float32[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    doubled = weight.astype(np.float64)
    return np.asarray(doubled / doubled.sum())


def _turned(array: NDArray[Any], turn: np.int64) -> NDArray[Any]:
    """One of the eight orientations: no input says where the wind or the sun is."""
    turned = np.rot90(array, int(turn % 4), axes=(-2, -1))
    return turned[..., ::-1] if turn >= 4 else turned


def _optimiser(training: Training) -> optax.GradientTransformation:
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, training.learning_rate, training.warmup, max(training.steps, training.warmup + 1)
    )
    return optax.chain(
        optax.clip_by_global_norm(training.clip),
        optax.adamw(schedule, weight_decay=training.weight_decay),
    )


def _initial(training: Training) -> _State:
    network = UNet(training.architecture, seed=training.seed)
    optimiser = jax.jit(_optimiser(training).init)(network)
    return _State(network, optimiser, np.full(training.steps, np.nan, np.float32), np.int64(0))


@functools.lru_cache(maxsize=8)
def _step(training: Training) -> Callable[..., tuple[UNet, Any, Array]]:
    optimiser = _optimiser(training)

    def step(
        network: UNet,
        state: Any,
        maps: Float32[Array, "n c y x"],
        plume: Bool[Array, "n y x"],
        known: Bool[Array, "n y x"],
    ) -> tuple[UNet, Any, Array]:
        loss, gradient = jax.value_and_grad(_loss)(network, maps, plume, known, training)
        updates, state = optimiser.update(gradient, state, network)
        return optax.apply_updates(network, updates), state, loss

    return jax.jit(step, donate_argnums=(0, 1))


def _loss(
    network: UNet,
    maps: Float32[Array, "n c y x"],
    plume: Bool[Array, "n y x"],
    known: Bool[Array, "n y x"],
    training: Training,
) -> Float32[Array, ""]:
    """Weighted cross entropy and overlap (Dice), over pixels that are known and observed."""
    valid = jnp.all(jnp.isfinite(maps), axis=1)
    logits = network(prepared(maps, valid, training.architecture.channels))
    counts = (valid & known).astype(jnp.float32)
    target = plume.astype(jnp.float32)
    found = jax.nn.sigmoid(logits)
    entropy = training.positive_weight * target * jax.nn.softplus(-logits)
    entropy = entropy + (1 - target) * jax.nn.softplus(logits)
    both = 2 * jnp.sum(counts * found * target) + 1
    either = jnp.sum(counts * found) + jnp.sum(counts * target) + 1
    mean = jnp.sum(counts * entropy) / jnp.maximum(jnp.sum(counts), 1)
    return mean + training.dice * (1 - both / either)


def _checked(state: _State, step: int) -> None:
    if not math.isfinite(float(state.losses[step])):
        raise IntegrityError(
            f"the loss is no longer a number at step {step + 1}; lower the learning rate or look "
            "for maps with values that are not physical"
        )


def _encoded(state: _State, samples: Samples, training: Training) -> bytes:
    leaves = io.BytesIO()
    eqx.tree_serialise_leaves(leaves, state)
    header = {"format": FORMAT, "training": training.digest, "data": samples.digest}
    return json.dumps(header, sort_keys=True).encode() + b"\n" + leaves.getvalue()


def _resumed(checkpoint: str | None, samples: Samples, training: Training) -> _State | None:
    if checkpoint is None:
        return None
    try:
        line, _, leaves = storage.read_bytes(checkpoint).partition(b"\n")
    except FileNotFoundError:
        return None
    expected = {"format": FORMAT, "training": training.digest, "data": samples.digest}
    if line != json.dumps(expected, sort_keys=True).encode():
        raise ConfigurationError(
            f"checkpoint {checkpoint} belongs to another training; delete it or name another"
        )
    try:
        state: _State = eqx.tree_deserialise_leaves(io.BytesIO(leaves), _initial(training))
    except (RuntimeError, ValueError, EOFError) as error:
        raise IntegrityError(f"checkpoint {checkpoint} is cut off; delete it: {error}") from error
    return state
