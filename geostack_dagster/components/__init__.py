"""What a user declares in `defs.yaml`."""

from geostack_dagster.components.provider_pipeline import ProviderPipeline

__all__ = ["ProviderPipeline"]
