"""STAC Items, COGs and quicklooks of what was retrieved."""
