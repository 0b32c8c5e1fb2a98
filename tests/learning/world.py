"""A world of enhancement maps with known plumes, drawn in milliseconds.

Noise is correlated and stronger where the ground is dark, columns are striped, a corner is nodata.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
from scipy.ndimage import gaussian_filter

from geostack_dagster.errors import NoDataError
from geostack_dagster.inference.detector import Architecture
from geostack_dagster.learning.calibrate import calibrated
from geostack_dagster.learning.chips import Cutting, index_scene
from geostack_dagster.learning.injection import Emission, plume_column
from geostack_dagster.learning.samples import assemble
from geostack_dagster.learning.scenes import Maps, PixelState, Scene
from geostack_dagster.learning.train import Training, fit

SHAPE = (96, 96)
PIXEL_DEG = 0.000542232520256367  # EMIT's grid
PIXEL_M = 60.0
TRAIN, VALIDATION, GATE = slice(0, 24), slice(24, 28), slice(28, None)
CUTTING = Cutting(size=32, stride=32)
SMALL = Training(
    steps=120,
    batch=8,
    warmup=12,
    learning_rate=4e-3,
    architecture=Architecture(width=4, depth=2),
    checkpoint_every=50,
)


def scene(number, *, orbit=None, acquired=None, tags=None):
    """A place two degrees from the next, a day after it."""
    return Scene(
        id=f"scene-{number:03d}",
        acquired=acquired or datetime(2024, 6, 1, tzinfo=UTC) + timedelta(days=number),
        orbit=orbit or f"orbit-{number}",
        crs="EPSG:4326",
        transform=(
            PIXEL_DEG,
            0.0,
            -120.0 + 2.0 * (number % 20),
            0.0,
            -PIXEL_DEG,
            40.0 - 2 * (number // 20),
        ),
        shape=SHAPE,
        tags=tags or {"surface": "bright" if number % 2 else "dark"},
    )


def maps(number, *, plumes=1, shape=SHAPE):
    """Maps of one scene with this many plumes of 2 to 12 t/h."""
    rng = np.random.default_rng(number)
    albedo = np.exp(0.25 * _field(rng, shape, 6.0))
    uncertainty = 200.0 / albedo
    column = np.zeros(shape)
    for _ in range(plumes):
        emission = Emission(
            rate_t_h=float(np.exp(rng.uniform(np.log(2.0), np.log(12.0)))),
            wind_m_s=float(rng.uniform(2.0, 5.0)),
            direction_deg=float(rng.uniform(0, 360)),
        )
        source = tuple(float(value) for value in rng.uniform(0.25, 0.75, 2) * shape)
        column += plume_column(shape, source, emission, pixel_m=PIXEL_M, rng=rng, oversampling=2)
    noise = uncertainty * _field(rng, shape, 0.6) + 25 * rng.standard_normal((1, shape[1]))
    enhancement = (albedo * column + noise).astype(np.float32)
    states = np.array([1, 3, 2], np.uint8)[np.digitize(column, (50.0, 250.0))]
    enhancement[:6, :10] = np.nan
    states[:6, :10] = PixelState.UNOBSERVABLE
    return Maps(
        enhancement=enhancement,
        uncertainty=uncertainty.astype(np.float32),
        sensitivity=albedo.astype(np.float32),
        states=states,
    )


class World:
    """A `SceneSource` of numbered scenes."""

    def __init__(self, count, *, plumes=(1, 0, 2)):
        self.scenes = [scene(number) for number in range(count)]
        self.maps = {
            one.id: maps(number, plumes=plumes[number % len(plumes)])
            for number, one in enumerate(self.scenes)
        }

    def read(self, scene_id, rows, columns):
        if scene_id not in self.maps:
            message = f"no scene {scene_id}"
            raise NoDataError(message)
        return self.maps[scene_id].window(rows, columns)

    def chips(self, scenes, cutting=CUTTING):
        """Index of these scenes."""
        return [
            chip for one in scenes for chip in index_scene(one, self.maps[one.id], cutting=cutting)
        ]


def small_model(world, training):
    """Detector and training, from the scenes to learn from and those to calibrate on."""
    trained = fit(assemble(world.chips(world.scenes[TRAIN]), world), training)
    validation = assemble(world.chips(world.scenes[VALIDATION]), world)
    return calibrated(trained.detector, validation), trained


def _field(rng, shape, scale_px):
    found = gaussian_filter(rng.standard_normal(shape), scale_px, mode="wrap")
    return (found - found.mean()) / found.std()
