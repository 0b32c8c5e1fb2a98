"""Twins of the providers on loopback, and the synthetic world they serve."""
