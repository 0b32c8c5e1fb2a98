"""Granules in sensor geometry, in the repositories that cubes are in.

A granule is a group of arrays, `<quantity>/<granule>`; a solar day a group of attributes,
`<quantity>/days/<date>`, that says which granules it has and what the partition was made from.

- `group`: a granule's arrays as Zarr documents and chunks; columns are cut, lines never.
- `book`: what a day says; `writing`: a partition as one commit.
- `reading`: a granule as a retrieval wants it.
- `store`: all of it behind one object.
"""
