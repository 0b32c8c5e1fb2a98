"""The maintenance job of all pipelines, and its schedule (off until someone turns it on)."""

from geostack_dagster.components.maintenance import maintenance, maintenance_weekly

__all__ = ["maintenance", "maintenance_weekly"]
