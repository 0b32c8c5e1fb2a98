"""COG reader: pixels of canonical hrefs, in few requests, signed at the moment of the read."""
