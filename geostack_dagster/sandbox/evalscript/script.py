"""An evalscript as the Process API sees it: what it wants, what it gives, and its functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geostack_dagster.sandbox.evalscript.library import SAMPLE_TYPES, globals_of_script
from geostack_dagster.sandbox.evalscript.parser import parse
from geostack_dagster.sandbox.evalscript.tokens import ScriptError
from geostack_dagster.sandbox.evalscript.values import Scope, SplitError, Value, called

type Sample = Mapping[str, NDArray[np.float32]]
"""Values of each band, one for each pixel."""
type Samples = Sample | Sequence[Sample]
"""One sample, or as many as there are orbits or tiles."""

_VERSION = "//VERSION=3"
_MOSAICKING = ("SIMPLE", "ORBIT", "TILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One image of the answer."""

    id: str
    bands: int
    sample_type: str
    nodata: float | None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its pixels."""
        return np.dtype(SAMPLE_TYPES[self.sample_type])

    def pixels(self, values: NDArray[np.float64]) -> NDArray[Any]:
        """Values as the image holds them: stretched if automatic, rounded and clamped if whole."""
        if self.sample_type == "AUTO":
            values = values * 255
        if self.dtype.kind == "f":
            return values.astype(self.dtype)
        bounds = np.iinfo(self.dtype)
        rounded = np.floor(np.nan_to_num(values) + 0.5)
        return np.clip(rounded, bounds.min, bounds.max).astype(self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What `setup` returns."""

    units: Mapping[str, str | None]
    """Bands that the script wants, and the unit of each if it says one."""
    outputs: tuple[Output, ...]
    mosaicking: str


class Evalscript:
    """A script that was read and whose `setup` was called.

    Raises:
        ScriptError: If it is not understood, or its setup makes no sense.
    """

    def __init__(self, source: str) -> None:
        if not source.lstrip().startswith(_VERSION):
            raise ScriptError("Only evalscripts that begin with //VERSION=3 are understood here")
        self._globals = Scope()
        self._globals.names.update(globals_of_script())
        parse(source).run(self._globals)
        self.setup = _setup(self._call("setup"))

    def kept(self, collections: dict[str, Value]) -> dict[str, Value]:
        """What `preProcessScenes` leaves of the scenes; all of them if there is no such function.

        Raises:
            ScriptError: If it fails or returns something else.
        """
        if "preProcessScenes" not in self._globals.names:
            return collections
        found = self._call("preProcessScenes", collections)
        if not isinstance(found, dict) or not isinstance(found.get("scenes"), dict):
            raise ScriptError("preProcessScenes must return an object of the type of collections")
        return found

    def evaluate(
        self, samples: Samples, scenes: Value, count: int
    ) -> dict[str, NDArray[np.float64]]:
        """Values of each output, shape (bands, pixels), of so many pixels.

        Raises:
            ScriptError: If `evaluatePixel` fails or returns something else.
        """
        outputs = {one.id: np.zeros((one.bands, count)) for one in self.setup.outputs}
        waiting = [np.arange(count)]
        while waiting:
            pixels = waiting.pop()
            try:
                values = self._call("evaluatePixel", _part(samples, pixels), scenes, {}, {}, {})
            except SplitError as split:
                waiting += [pixels[split.mask], pixels[~split.mask]]
                continue
            for one in self.setup.outputs:
                found = values.get(one.id) if isinstance(values, dict) else values
                _store(outputs[one.id], found, pixels)
        return outputs

    def user_data(self, scenes: Value) -> Value:
        """What `updateOutputMetadata` hands over; empty if there is no such function.

        Raises:
            ScriptError: If it fails.
        """
        metadata: dict[str, Value] = {"userData": {}}
        if "updateOutputMetadata" in self._globals.names:
            facts = {"serviceVersion": "sandbox", "normalizationFactor": 0.0001}
            self._call("updateOutputMetadata", scenes, facts, metadata)
        return metadata["userData"]

    def _call(self, name: str, *arguments: Value) -> Value:
        scope = self._globals
        scope.budget = type(scope.budget)()
        return called(scope.holder(name).names[name], arguments)


def _part(samples: Samples, pixels: NDArray[np.intp]) -> Value:
    if isinstance(samples, Mapping):
        return {band: values[pixels] for band, values in samples.items()}
    return [_part(sample, pixels) for sample in samples]


def _store(output: NDArray[np.float64], values: Value, pixels: NDArray[np.intp]) -> None:
    if values is None:
        return
    if not isinstance(values, list) or len(values) != len(output):
        raise ScriptError(
            f"The returned array must have {len(output)} numbers, as the output has bands"
        )
    for band, value in zip(output, values, strict=True):
        if not isinstance(value, float | bool | np.ndarray):
            raise ScriptError("evaluatePixel must return numbers")
        band[pixels] = value


def _setup(found: Value) -> Setup:
    if not isinstance(found, dict):
        raise ScriptError("Function setup must return an object")
    mosaicking = found.get("mosaicking") or "SIMPLE"
    if mosaicking not in _MOSAICKING:
        raise ScriptError(f"Unknown mosaicking {mosaicking}")
    return Setup(
        units=_units(found.get("input")),
        outputs=tuple(_output(one) for one in _listed(found.get("output"))),
        mosaicking=mosaicking,
    )


def _units(inputs: Value) -> dict[str, str | None]:
    entries = _listed(inputs)
    if entries and all(isinstance(entry, str) for entry in entries):
        return dict.fromkeys(entries)
    if len(entries) != 1 or not isinstance(entries[0], dict):
        raise ScriptError("The input of setup must be an array of bands, or of one object")
    bands, units = entries[0].get("bands"), entries[0].get("units")
    if not isinstance(bands, list) or not bands:
        raise ScriptError("The input of setup names no bands")
    if not isinstance(units, list):
        return dict.fromkeys(bands, units)
    if len(units) != len(bands):
        raise ScriptError("There must be as many units as bands")
    return dict(zip(bands, units, strict=True))


def _output(entry: Value) -> Output:
    if not isinstance(entry, dict) or not isinstance(entry.get("bands"), float):
        raise ScriptError("An output of setup needs the number of its bands")
    sample_type = entry.get("sampleType") or "AUTO"
    if sample_type not in SAMPLE_TYPES:
        raise ScriptError(f"Unknown sample type {sample_type}")
    return Output(
        id=entry.get("id") or "default",
        bands=int(entry["bands"]),
        sample_type=sample_type,
        nodata=entry.get("nodataValue"),
    )


def _listed(value: Value) -> list[Value]:
    if value is None:
        raise ScriptError("Function setup must return an object with input and output")
    return value if isinstance(value, list) else [value]
