"""The boxes around a JPEG 2000 codestream: image header, colours, and the place as GMLJP2 1.0."""

import struct

from geostack_dagster.sandbox.cog import RasterSpec

_COMPRESSION = 7  # the only one that the standard knows
_COLOURS = {1: 17, 3: 16}  # samples: enumerated colour space, grey or sRGB
_GML = """<?xml version="1.0" encoding="UTF-8"?>
<gml:FeatureCollection xmlns:gml="http://www.opengis.net/gml">
 <gml:boundedBy><gml:Null>withheld</gml:Null></gml:boundedBy>
 <gml:featureMember><gml:FeatureCollection><gml:featureMember>
  <gml:RectifiedGridCoverage dimension="2" gml:id="RGC0001">
   <gml:rectifiedGridDomain><gml:RectifiedGrid dimension="2">
    <gml:limits><gml:GridEnvelope>
     <gml:low>1 1</gml:low><gml:high>{width} {height}</gml:high>
    </gml:GridEnvelope></gml:limits>
    <gml:axisName>x</gml:axisName><gml:axisName>y</gml:axisName>
    <gml:origin><gml:Point gml:id="P0001" srsName="{crs}"><gml:pos>{x:.12g} {y:.12g}</gml:pos>
    </gml:Point></gml:origin>
    <gml:offsetVector srsName="{crs}">{dx:.12g} 0</gml:offsetVector>
    <gml:offsetVector srsName="{crs}">0 -{dy:.12g}</gml:offsetVector>
   </gml:RectifiedGrid></gml:rectifiedGridDomain>
   <gml:rangeSet><gml:File>
    <gml:rangeParameters/><gml:fileName>gmljp2://codestream/0</gml:fileName>
    <gml:fileStructure>Record Interleaved</gml:fileStructure>
   </gml:File></gml:rangeSet>
  </gml:RectifiedGridCoverage>
 </gml:featureMember></gml:FeatureCollection></gml:featureMember>
</gml:FeatureCollection>"""


def file_boxes(spec: RasterSpec, bits: int) -> bytes:
    """Everything before the box of the codestream."""
    (height, width), samples = spec.shape, spec.samples
    image = struct.pack(">IIHBBBB", height, width, samples, bits - 1, _COMPRESSION, 1, 0)
    colour = struct.pack(">BBBI", 1, 0, 0, _COLOURS[samples])
    return (
        _box(b"jP  ", b"\r\n\x87\n")
        + _box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
        + _box(b"jp2h", _box(b"ihdr", image) + _box(b"colr", colour))
        + _labelled(b"gml.data", _labelled(b"gml.root-instance", _box(b"xml ", _place(spec))))
    )


def _place(spec: RasterSpec) -> bytes:
    """The grid in GML; its origin is the middle of the first pixel."""
    (left, top), (dx, dy) = spec.origin, spec.pixel
    text = _GML.format(
        crs=f"urn:ogc:def:crs:EPSG::{spec.epsg}",
        width=spec.shape[1],
        height=spec.shape[0],
        x=left + dx / 2,
        y=top - dy / 2,
        dx=dx,
        dy=dy,
    )
    return text.encode()


def _labelled(label: bytes, content: bytes) -> bytes:
    return _box(b"asoc", _box(b"lbl ", label) + content)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content
