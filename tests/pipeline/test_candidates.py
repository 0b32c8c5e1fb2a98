"""What a scene's maps amount to, whatever pipeline made them."""

from datetime import date

import numpy as np

from geostack_dagster.cube.slots import Slot
from geostack_dagster.domain.grid import Grid
from geostack_dagster.inference.enhancement import Calibration, Enhancement
from geostack_dagster.inference.plumes import State
from geostack_dagster.inference.quantify import SCHEMES
from geostack_dagster.inference.wind import ConstantWind, GriddedWind
from geostack_dagster.pipeline.methane.candidates import Scene
from tests.inference import scenes

SHAPE = (112, 112)
CONSTANT = ConstantWind(speed_m_s=4.0)


def _scene(method, winds=CONSTANT):
    plume = scenes.plume(SHAPE, rate_t_h=10, wind_m_s=4, source=(56, 20), oversampling=2)
    maps = Enhancement(
        enhancement=plume.enhancement + scenes.correlated_noise(SHAPE, 200.0, 1),
        uncertainty=np.full(SHAPE, 200.0),
        sensitivity=np.ones(SHAPE),
        calibration=Calibration.ABSOLUTE,
        target="synthetic",
    )
    return Scene(
        slot=Slot(
            day=date(2024, 7, 3),
            fingerprint="f",
            made_from="f",
            item_count=1,
            coverage=1.0,
            acquired=None,
        ),
        grid=Grid(crs="EPSG:32640", resolution=60.0, left=3e5, top=4e6, width=112, height=112),
        result=maps,
        method=method,
        scheme=SCHEMES["csf"],
        winds=winds,
    )


def test_without_another_day_no_candidate_is_sure():
    assert _scene("mbmp").state is State.PLUME
    alone = _scene("mbsp")
    assert alone.state is State.UNCERTAIN
    reasons = [one.properties["uncertain_because"] for one in alone.features]
    assert reasons
    assert all("no other day to compare with" in reason for reason in reasons)


def test_a_plume_in_a_calm_is_shown_without_a_rate():
    calm = GriddedWind(components=lambda lon, lat, when: (0.0, 0.0), name="reanalysis")
    (found,) = _scene("matched_filter", calm).features
    assert found.properties["state"] == State.PLUME
    assert found.properties["rate_kg_h"] is None
    assert "is calm" in found.properties["not_quantified"]
