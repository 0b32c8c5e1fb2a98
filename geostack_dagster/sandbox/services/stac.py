"""A STAC catalogue in an archive's dialect, over what the archive holds."""

from starlette.applications import Starlette

from geostack_dagster.sandbox.dialects import Dialect
from geostack_dagster.sandbox.service import Setting
from geostack_dagster.sandbox.stac_api import StacTwin


def catalogue(setting: Setting, dialect: Dialect) -> Starlette:
    """The archive's catalogue as an application."""
    return StacTwin(dialect, setting.archives[dialect.slug].catalogue).app()
