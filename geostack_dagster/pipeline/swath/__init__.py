"""Stages 2 and 3 of collections in sensor geometry; `stack` and `cube` are stage modules."""
