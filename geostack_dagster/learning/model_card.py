"""What a model is and where it comes from, as a STAC Item of the MLM extension."""

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from geostack_dagster import inference, learning
from geostack_dagster.domain.fingerprint import fingerprint
from geostack_dagster.domain.hrefs import SIGNATURE
from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.inference.detector import FORMAT, Detector
from geostack_dagster.learning.chips import Chip
from geostack_dagster.learning.train import Trained

EXTENSIONS = (
    "https://stac-extensions.github.io/mlm/v1.4.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
)
WEIGHTS = "weights.eqx"
_SHA256_MULTIHASH = "1220"  # code of sha2-256, then its length in bytes
_DECIDING = (
    (inference, ("detector.py", "tiling.py", "blocks.py")),
    (learning, ("train.py", "samples.py", "injection.py", "calibrate.py")),
)
_PACKAGES = ("geostack-dagster", "jax", "jaxlib", "equinox", "optax", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Where and when a model learned."""

    bbox: tuple[float, float, float, float]
    """West, south, east, north [degrees]; west > east across the antimeridian is not merged."""
    first: datetime
    last: datetime

    @classmethod
    def of(cls, chips: Iterable[Chip]) -> "Coverage":
        """Of these chips.

        Raises:
            ConfigurationError: If there is none.
        """
        places = [(chip.longitude, chip.latitude, chip.acquired) for chip in chips]
        if not places:
            raise ConfigurationError("a model that learned from no chip covers nothing")
        longitudes, latitudes, moments = zip(*places, strict=True)
        return cls(
            bbox=(min(longitudes), min(latitudes), max(longitudes), max(latitudes)),
            first=min(moments),
            last=max(moments),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelCard:
    """A detector with its origin."""

    name: str
    """Family of models: `plume-detector`."""
    detector: Detector
    hyperparameters: Mapping[str, Any]
    """Settings that decided the weights, JSON-like."""
    data: str
    """Digest of the samples."""
    code: str
    """Digest of the sources that decided the weights."""
    coverage: Coverage
    derived_from: tuple[str, ...] = ()
    """Canonical hrefs of the index and snapshots that it learned from."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Scores, loss, seconds: what may differ between two trainings of the same model."""

    @classmethod
    def of(
        cls,
        trained: Trained,
        detector: Detector,
        chips: Iterable[Chip],
        *,
        derived_from: Iterable[str] = (),
        name: str = "plume-detector",
    ) -> "ModelCard":
        """Card of a training's detector, after its calibration."""
        settings = asdict(trained.training)
        del settings["architecture"], settings["checkpoint_every"]
        return cls(
            name=name,
            detector=detector,
            hyperparameters=settings,
            data=trained.data,
            code=code_digest(),
            coverage=Coverage.of(chips),
            derived_from=tuple(derived_from),
            facts={"loss": float(trained.losses[-1]), "seconds": round(trained.seconds, 1)},
        )

    @property
    def id(self) -> str:
        """The same for the same data, code and settings: training them again makes no new model."""
        architecture = asdict(self.detector.architecture)
        origin = [self.data, self.code, dict(self.hyperparameters), architecture]
        return f"{self.name}-{fingerprint(origin)[:12]}"

    def to_item(self, weights: bytes, created: datetime) -> dict[str, Any]:
        """STAC Item of the model; its weights lie beside it.

        Raises:
            IntegrityError: If any text holds a signature.
        """
        item = {
            "type": "Feature",
            "stac_version": "1.1.0",
            "stac_extensions": list(EXTENSIONS),
            "id": self.id,
            "collection": self.name,
            "geometry": _rectangle(self.coverage.bbox),
            "bbox": list(self.coverage.bbox),
            "properties": self._properties(created),
            "assets": {"weights": _asset(weights)},
            "links": [
                {"rel": "collection", "href": "../collection.json", "type": "application/json"},
                *({"rel": "derived_from", "href": href} for href in self.derived_from),
            ],
        }
        if SIGNATURE.search(json.dumps(item)):
            raise IntegrityError(f"the card of {self.id} holds a signature; give canonical hrefs")
        return item

    def _properties(self, created: datetime) -> dict[str, Any]:
        detector = self.detector
        return {
            "title": f"{self.name}, trained on {self.data}",
            "datetime": None,
            "start_datetime": _stamp(self.coverage.first),
            "end_datetime": _stamp(self.coverage.last),
            "created": _stamp(created),
            "mlm:name": self.name,
            "mlm:architecture": "U-Net",
            "mlm:tasks": ["semantic-segmentation"],
            "mlm:framework": "JAX",
            "mlm:framework_version": semantic(version("jax")),
            "mlm:total_parameters": detector.parameters,
            "mlm:memory_size": 4 * detector.parameters,
            "mlm:batch_size_suggestion": 1,
            "mlm:accelerator": None,
            "mlm:pretrained": False,
            "mlm:pretrained_source": None,
            "mlm:input": [_input(detector)],
            "mlm:output": [_output()],
            "mlm:hyperparameters": {
                **self.hyperparameters,
                "width": detector.architecture.width,
                "depth": detector.architecture.depth,
                "halo": detector.architecture.halo_px,
                "align": detector.architecture.align,
                "threshold": detector.threshold,
                "platt": asdict(detector.platt),
            },
            "processing:software": {name: version(name) for name in _PACKAGES},
            "geostack:data": self.data,
            "geostack:code": self.code,
            **{f"geostack:{name}": value for name, value in self.facts.items()},
        }


def semantic(number: str) -> str:
    """A Python package's version as a semantic one: `0.12.0.1` is `0.12.0+1`.

    MLM allows no other; what a fourth number or a suffix tells becomes build metadata.
    """
    parts = re.findall(r"[0-9]+|[A-Za-z][0-9A-Za-z]*", number)
    release = [str(int(one)) for one in itertools.takewhile(str.isdigit, parts)]
    numbers = [*release, "0", "0"][:3]
    rest = [*release[3:], *parts[len(release) :]]
    return ".".join(numbers) + ("+" + ".".join(rest) if rest else "")


def code_digest() -> str:
    """Digest of the sources and versions that decide the weights of a training."""
    sources = {
        f"{package.__name__}/{name}": hashlib.sha256(
            Path(package.__path__[0], name).read_bytes()
        ).hexdigest()
        for package, names in _DECIDING
        for name in names
    }
    versions = {name: version(name) for name in _PACKAGES[1:]}
    return fingerprint([sources, versions])


def multihash(content: bytes) -> str:
    """SHA-256 as a hexadecimal multihash, as in `file:checksum`."""
    return _SHA256_MULTIHASH + hashlib.sha256(content).hexdigest()


def _asset(weights: bytes) -> dict[str, Any]:
    return {
        "href": f"./{WEIGHTS}",
        "title": "Weights: a line of JSON, then arrays; no pickle",
        "type": "application/octet-stream",
        "roles": ["mlm:model", "mlm:weights", "data"],
        "mlm:artifact_type": f"{FORMAT} equinox.tree_serialise_leaves",
        "file:size": len(weights),
        "file:checksum": multihash(weights),
    }


def _input(detector: Detector) -> dict[str, Any]:
    channels = detector.architecture.channels
    return {
        "name": "enhancement maps",
        "bands": [],
        "input": {
            "shape": [-1, len(channels) + 1, -1, -1],
            "dim_order": ["batch", "channel", "height", "width"],
            "data_type": "float32",
        },
        "description": ", ".join(channel.name for channel in channels) + ", validity",
        "value_scaling": [
            {
                "type": "processing",
                "format": "python",
                "expression": f"clip(x / {one.unit:g}, {one.low:g}, {one.high:g})",
            }
            for one in channels
        ]
        + [{"type": "processing", "format": "python", "expression": "all(isfinite(x))"}],
    }


def _output() -> dict[str, Any]:
    return {
        "name": "plume probability",
        "tasks": ["semantic-segmentation"],
        "result": {
            "shape": [-1, -1, -1],
            "dim_order": ["batch", "height", "width"],
            "data_type": "float32",
        },
        "classification:classes": [
            {"value": 0, "name": "background", "description": "no plume"},
            {"value": 1, "name": "plume", "description": "methane plume"},
        ],
    }


def _rectangle(bbox: tuple[float, float, float, float]) -> dict[str, Any]:
    west, south, east, north = bbox
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
