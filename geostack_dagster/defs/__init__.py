"""The pipelines, one folder each, and the assets, checks and automation they share."""
