"""What a user declares in `defs.yaml`."""

from geostack_dagster.components.plume_detector import PlumeDetector
from geostack_dagster.components.provider_pipeline import ProviderPipeline

__all__ = ["PlumeDetector", "ProviderPipeline"]
