"""Learned plume detection: a small U-Net over enhancement maps, the same answer however tiled.

Nothing in it looks at the whole image: inputs are scaled by fixed constants, and there is neither
normalisation nor pooling over a batch or a map. So a halo of its receptive field makes tiles give
what one tile over the whole scene gives.

Weights are stored as arrays behind a line of JSON with their checksum, never as a pickle.
"""

import hashlib
import io
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32

from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.inference.blocks import Kernel
from geostack_dagster.inference.detection import Detected, grown_pieces
from geostack_dagster.inference.tiling import halo_of, tile_kernel, tiled

FORMAT = "geostack-detector/1"
_REACH = 2  # pixels on either side that two 3 x 3 convolutions depend on
_NHWC = ("NHWC", "HWIO", "NHWC")  # XLA's own order on a CPU: 2.4 x faster steps than NCHW


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One input: `clip(value / unit, low, high)`, a constant of the model, not of the scene."""

    name: str
    unit: float
    low: float
    high: float


CHANNELS = (
    Channel(name="enhancement", unit=1000.0, low=-2.0, high=5.0),
    Channel(name="uncertainty", unit=500.0, low=0.0, high=5.0),
    Channel(name="sensitivity", unit=1.0, low=0.0, high=3.0),
)
"""[ppm m], [ppm m] and [1]; the network sees their validity as one more channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Size of the network: 122,185 parameters as it stands."""

    width: int = 8
    """Channels at full resolution; they double with every level."""
    depth: int = 3
    """Times that the map is halved."""
    channels: tuple[Channel, ...] = CHANNELS

    def __post_init__(self) -> None:
        if min(self.width, self.depth, len(self.channels)) < 1:
            raise ConfigurationError(f"{self} is no network: width and depth must be 1 or more")

    @property
    def align(self) -> int:
        """Pixels of full resolution in a cell of the coarsest level."""
        return int(2**self.depth)

    @property
    def reach_px(self) -> int:
        """Pixels beyond a coarsest cell that its results depend on; tiles are of whole cells."""
        low, high = 0, self.align - 1
        for _ in range(self.depth):  # down the decoder: an upsampled pixel is its cell's
            low, high = (low - _REACH) // 2, (high + _REACH) // 2
        low, high = low - _REACH, high + _REACH
        for _ in range(self.depth):  # up the encoder: a cell is the largest of its pixels
            low, high = 2 * low - _REACH, 2 * high + 1 + _REACH
        return max(-low, high - self.align + 1)

    @property
    def halo_px(self) -> int:
        """Halo that makes tiles equal to the whole."""
        return halo_of([self.reach_px], align=self.align)


class Convolution(eqx.Module):
    """3 x 3, zeros beyond the edge."""

    weight: Float32[Array, "3 3 i o"]
    bias: Float32[Array, " o"]

    def __init__(self, inputs: int, outputs: int, rng: np.random.Generator) -> None:
        spread = np.sqrt(2 / (9 * inputs))  # He: activations keep their size
        drawn = spread * rng.standard_normal((3, 3, inputs, outputs))
        self.weight = jnp.asarray(drawn, jnp.float32)
        self.bias = jnp.asarray(np.zeros(outputs), jnp.float32)

    def __call__(self, maps: Float32[Array, "n y x i"]) -> Float32[Array, "n y x o"]:
        """The maps convolved."""
        found = jax.lax.conv_general_dilated(
            maps, self.weight, (1, 1), "SAME", dimension_numbers=_NHWC
        )
        return found + self.bias[None, None, None]


class Pair(eqx.Module):
    """Two convolutions, each with a GELU."""

    first: Convolution
    second: Convolution

    def __init__(self, inputs: int, outputs: int, rng: np.random.Generator) -> None:
        self.first = Convolution(inputs, outputs, rng)
        self.second = Convolution(outputs, outputs, rng)

    def __call__(self, maps: Float32[Array, "n y x i"]) -> Float32[Array, "n y x o"]:
        """Features of the maps."""
        return jax.nn.gelu(self.second(jax.nn.gelu(self.first(maps))))


class UNet(eqx.Module):
    """Encoder, bottom and decoder with a skip at every level; one logit for each pixel."""

    encoder: tuple[Pair, ...]
    bottom: Pair
    decoder: tuple[Pair, ...]
    weight: Float32[Array, " c"]
    bias: Float32[Array, ""]

    def __init__(self, architecture: Architecture, *, seed: int) -> None:
        rng = np.random.default_rng(seed)  # numpy's: JAX would compile a program for every shape
        widths = [architecture.width * 2**level for level in range(architecture.depth + 1)]
        inputs = [len(architecture.channels) + 1, *widths]
        levels = range(architecture.depth)
        self.encoder = tuple(Pair(inputs[level], widths[level], rng) for level in levels)
        self.bottom = Pair(widths[-2], widths[-1], rng)
        self.decoder = tuple(
            Pair(widths[level] + widths[level + 1], widths[level], rng)
            for level in reversed(levels)
        )
        self.weight = jnp.asarray(np.zeros(widths[0]), jnp.float32)
        self.bias = jnp.asarray(np.zeros(()), jnp.float32)

    def __call__(self, maps: Float32[Array, "n y x c"]) -> Float32[Array, "n y x"]:
        """Logits; rows and columns must be multiples of `Architecture.align`."""
        skips = []
        for pair in self.encoder:
            skips.append(pair(maps))
            maps = _pooled(skips[-1])
        maps = self.bottom(maps)
        for pair in self.decoder:
            maps = pair(jnp.concatenate([_doubled(maps), skips.pop()], axis=-1))
        return maps @ self.weight + self.bias


@dataclass(frozen=True, slots=True, kw_only=True)
class Platt:
    """What turns a raw logit into one whose probability can be believed: `slope z + intercept`."""

    slope: float = 1.0
    intercept: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Detector:
    """A network with all that its numbers depend on."""

    network: UNet
    architecture: Architecture = field(default_factory=Architecture)
    platt: Platt = field(default_factory=Platt)
    threshold: float = 0.5
    """Probability at which a plume starts."""

    @classmethod
    def untrained(cls, architecture: Architecture | None = None, *, seed: int = 0) -> "Detector":
        """A detector that says one half everywhere; the seed decides where training starts."""
        architecture = architecture or Architecture()
        network = UNet(architecture, seed=seed)
        return cls(network=network, architecture=architecture)

    @property
    def parameters(self) -> int:
        """Numbers that training adjusts."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.network))

    @cached_property
    def kernel(self) -> Kernel:
        """What runs on one tile; it counts how often XLA compiled it."""

        def logits(tile: Float32[Array, "c y x"], valid: Bool[Array, "y x"]) -> Array:
            maps = prepared(tile[None], valid[None], self.architecture.channels)
            found = self.network(maps)[0]
            return jnp.float32(self.platt.slope) * found + jnp.float32(self.platt.intercept)

        return tile_kernel(logits)

    def logit(
        self, maps: Float[np.ndarray, "c y x"], *, core: int = 384, origin: tuple[int, int] = (0, 0)
    ) -> Float32[np.ndarray, "y x"]:
        """Calibrated logit of a plume at every pixel; NaN where any channel is.

        Args:
            maps: The channels of the architecture, in its order and units.
            core: Rows and columns kept of each tile; a multiple of `align`.
            origin: Row and column of the first pixel on the global grid.

        Raises:
            ConfigurationError: If the number of channels or the core do not fit.
        """
        expected = [channel.name for channel in self.architecture.channels]
        if maps.shape[0] != len(expected):
            raise ConfigurationError(f"{maps.shape[0]} maps given; the detector needs {expected}")
        found = tiled(
            self.kernel,
            maps.astype(np.float32, copy=False),
            halo=self.architecture.halo_px,
            core=core,
            align=self.architecture.align,
            origin=origin,
        )
        return np.asarray(found)

    def to_bytes(self) -> bytes:
        """A line of JSON, then the weights; equal detectors give equal bytes."""
        leaves = io.BytesIO()
        eqx.tree_serialise_leaves(leaves, self.network)
        header = {
            "format": FORMAT,
            "architecture": asdict(self.architecture),
            "platt": asdict(self.platt),
            "threshold": self.threshold,
            "sha256": hashlib.sha256(leaves.getvalue()).hexdigest(),
        }
        return json.dumps(header, sort_keys=True).encode() + b"\n" + leaves.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Detector":
        """The detector that `to_bytes` wrote.

        Raises:
            IntegrityError: If the content is cut off, altered or of another format.
        """
        line, _, leaves = content.partition(b"\n")
        header = _header(line)
        if hashlib.sha256(leaves).hexdigest() != header.get("sha256"):
            raise IntegrityError("the weights do not match their checksum; fetch or train anew")
        try:
            architecture = _architecture(header["architecture"])
            network = eqx.tree_deserialise_leaves(io.BytesIO(leaves), UNet(architecture, seed=0))
            platt, threshold = Platt(**header["platt"]), float(header["threshold"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise IntegrityError(f"the detector's header does not fit its weights: {error}") from (
                error
            )
        return cls(network=network, architecture=architecture, platt=platt, threshold=threshold)


def prepared(
    maps: Float32[Array, "n c y x"], valid: Bool[Array, "n y x"], channels: tuple[Channel, ...]
) -> Float32[Array, "n y x d"]:
    """Network input: scaled and clipped channels, 0 where not valid, and validity as the last."""
    low, unit, high = (
        jnp.asarray([getattr(channel, name) for channel in channels], jnp.float32)[
            None, :, None, None
        ]
        for name in ("low", "unit", "high")
    )
    scaled = jnp.clip(maps / unit, low, high)
    kept = jnp.where(jnp.broadcast_to(valid[:, None], scaled.shape), scaled, jnp.float32(0))
    return jnp.moveaxis(jnp.concatenate([kept, valid[:, None].astype(jnp.float32)], axis=1), 1, -1)


def probability(logit: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """1 / (1 + exp(-logit)), without overflow; NaN stays."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logit)), dtype=logit.dtype)


def log_odds(chance: float) -> float:
    """The logit of a probability between 0 and 1."""
    return float(np.log(chance / (1 - chance)))


def segment(
    logit: Float[np.ndarray, "y x"], threshold: float, *, minimum_pixels: int = 5
) -> Detected:
    """Plumes of a whole scene: they start at the threshold and reach down to half of it.

    Raises:
        ConfigurationError: If the threshold is not a probability between 0 and 1.
    """
    if not 0 < threshold < 1:
        raise ConfigurationError(f"threshold {threshold} is not a probability between 0 and 1")
    with np.errstate(invalid="ignore"):
        core, grown = logit > log_odds(threshold), logit > log_odds(threshold / 2)
    return Detected(
        labels=grown_pieces(core, grown, minimum_pixels), score=logit.astype(np.float64)
    )


def _pooled(maps: Float32[Array, "n y x c"]) -> Float32[Array, "n h w c"]:
    count, rows, columns, channels = maps.shape
    return maps.reshape(count, rows // 2, 2, columns // 2, 2, channels).max(axis=(2, 4))


def _doubled(maps: Float32[Array, "n y x c"]) -> Float32[Array, "n h w c"]:
    return jnp.repeat(jnp.repeat(maps, 2, axis=1), 2, axis=2)


def _header(line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError as error:
        raise IntegrityError("no detector: the first line is not JSON") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise IntegrityError(f"no detector of format {FORMAT}; train it with this version")
    return header


def _architecture(stated: dict[str, Any]) -> Architecture:
    channels = tuple(Channel(**channel) for channel in stated["channels"])
    return Architecture(width=stated["width"], depth=stated["depth"], channels=channels)
