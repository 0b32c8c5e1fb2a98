"""`geostack doctor`: what is wrong between this machine and an archive, and what to do about it."""

from geostack_dagster.cli.doctor.examination import examine
from geostack_dagster.cli.doctor.finding import Finding, Verdict

__all__ = ["Finding", "Verdict", "examine"]
