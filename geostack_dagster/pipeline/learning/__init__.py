"""The learning loop over cubes and stored labels: what the assets of a detector do."""
