"""What a user declares in `defs.yaml`."""
