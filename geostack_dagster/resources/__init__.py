"""Thin Dagster resources: secrets and paths in, domain objects out."""
