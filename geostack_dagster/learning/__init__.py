"""The learning cycle: labels, chips, splits, training, evaluation, gate, registry and drift.

Pixels come through `SceneSource`, so nothing here knows cubes, catalogues or Dagster.
"""
