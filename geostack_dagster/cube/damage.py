"""What is said about a damaged cube; apart from `failure`, which needs Icechunk."""

RESTORE = "restore it from a copy, or delete it and materialize its partitions again"
"""What a person does about it."""
