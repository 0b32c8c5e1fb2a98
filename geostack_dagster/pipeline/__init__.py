"""The four stages of a pipeline as plain functions, run by assets and by the command line alike."""
