"""Transactional cubes: schema, chunk ownership, stores, ledger."""
