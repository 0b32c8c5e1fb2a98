"""What is checked of a partition, from bookkeeping and pixels that were written; no Dagster."""
