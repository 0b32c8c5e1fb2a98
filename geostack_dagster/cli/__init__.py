"""The command line: `geostack`."""
