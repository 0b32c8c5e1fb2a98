"""Granules in sensor geometry: parts of HDF5 files, read by the bytes that they need.

- `hdf5`: where a file keeps its arrays, read through h5py from the few blocks that say so.
- `hyperslab`, `filters`, `ranged`: byte ranges of a part of an array, fetched and decoded.
- `opening`: a file by its canonical href, through either transport or earthaccess.
- `ask`, `recipe`: which granules, lines, columns and bands; `granule`: them as a Dataset.
"""
