"""Pixels that a service renders on request: Sentinel Hub's Process API."""
