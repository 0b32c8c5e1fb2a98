"""Retrievals in JAX: arrays in, arrays out."""
