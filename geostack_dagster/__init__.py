"""Earth-observation cubes and retrievals from several archives, as Dagster assets."""

__version__ = "0.1.0"
