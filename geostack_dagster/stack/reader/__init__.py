"""COG reader: pixels of canonical hrefs, in few requests, signed at the moment of the read.

Two faces over one core: `driver.CogDriver` for `odc.stac.load(driver=...)`, and
`batch.read_batch`, which sees all sources of a partition and fetches each tile once. Bytes come
through `source.ByteSource`, over obstore or over fsspec with aiohttp.

Import from the modules: each holds one noun, and most callers need one or two of them.
"""
