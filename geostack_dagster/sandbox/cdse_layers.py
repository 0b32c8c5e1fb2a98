"""Images of a Sentinel-2 product as the Copernicus Data Space describes them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Title, common name, centre [um], width [um] (as stated: too wide by ten), pixel sizes [m].
_BANDS: Mapping[str, tuple[str, str, float, float, tuple[int, ...]]] = {
    "B01": ("Coastal aerosol (band 1)", "coastal", 0.443, 0.228, (60, 20)),
    "B02": ("Blue (band 2)", "blue", 0.493, 0.267, (10, 20, 60)),
    "B03": ("Green (band 3)", "green", 0.56, 0.291, (10, 20, 60)),
    "B04": ("Red (band 4)", "red", 0.665, 0.342, (10, 20, 60)),
    "B05": ("Red edge 1 (band 5)", "rededge071", 0.704, 0.357, (20, 60)),
    "B06": ("Red edge 2 (band 6)", "rededge075", 0.741, 0.374, (20, 60)),
    "B07": ("Red edge 3 (band 7)", "rededge078", 0.783, 0.399, (20, 60)),
    "B08": ("NIR 1 (band 8)", "nir", 0.833, 0.454, (10,)),
    "B8A": ("NIR 2 (band 8A)", "nir08", 0.865, 0.441, (20, 60)),
    "B09": ("NIR 3 (band 9)", "nir09", 0.945, 0.479, (60,)),
    "B10": ("Cirrus (band 10)", "cirrus", 1.374, 0.718, (60,)),
    "B11": ("SWIR 1 (band 11)", "swir16", 1.614, 0.841, (20, 60)),
    "B12": ("SWIR 2 (band 12)", "swir22", 2.202, 1.16, (20, 60)),
}
_OTHERS: Mapping[str, str] = {
    "AOT": "Aerosol optical thickness",
    "WVP": "Water vapour",
    "CLD": "Cloud probability",
    "SNW": "Snow probability",
}
_MASKS: Mapping[str, str] = {"CLD": "MSK_CLDPRB", "SNW": "MSK_SNWPRB"}
_COLOURS = ("B04", "B03", "B02")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image file of a product."""

    name: str
    pixel_m: int
    sampling: str | None
    """`original`, `upsampled` or `downsampled`; None where none is stated."""
    level: str

    @property
    def key(self) -> str:
        """Asset key."""
        return f"{self.name}_{self.pixel_m}m" if self.level == "L2A" else self.name

    @property
    def is_band(self) -> bool:
        """Whether it holds reflectance."""
        return self.name in _BANDS

    @property
    def file(self) -> str:
        """Path below the granule; `{}` stands for tile and datatake."""
        if self.name in _MASKS:
            return f"QI_DATA/{_MASKS[self.name]}_{self.pixel_m}m.jp2"
        if self.level == "L1C":
            return f"IMG_DATA/{{}}_{self.name}.jp2"
        return f"IMG_DATA/R{self.pixel_m}m/{{}}_{self.name}_{self.pixel_m}m.jp2"

    def described(self) -> dict[str, Any]:
        """Members of the asset that are the same in all products."""
        size = 109_800 // self.pixel_m
        roles = ["visual" if self.name == "TCI" else "data"]
        roles += ["reflectance"] if self.is_band else []
        roles += [f"sampling:{self.sampling}"] if self.sampling else []
        is_byte = self.name in ("SCL", "TCI", *_MASKS)
        return {
            "gsd": self.pixel_m,
            "type": "image/jp2",
            "roles": [*roles, f"gsd:{self.pixel_m}m"],
            "title": self._title,
            "data_type": "uint8" if is_byte else "uint16",
            "proj:shape": [size, size],
            **({"bands": bands} if (bands := self._bands) else {}),
            **self._values,
        }

    @property
    def _values(self) -> dict[str, Any]:
        if self.name in _MASKS:
            return {"unit": "%", "statistics": {"maximum": 100, "minimum": 0}}
        if self.is_band:
            return {"nodata": 0, "raster:scale": 0.0001, "raster:offset": -0.1}
        if self.name in _OTHERS:
            return {"nodata": 0, "raster:scale": 0.001, "raster:offset": 0}
        return {"nodata": 0}

    @property
    def _title(self) -> str:
        if self.name == "TCI":
            return "True color image"
        if self.name == "SCL":
            return f"Scene classification map (SCL) - {self.pixel_m}m"
        if self.name in _OTHERS:
            return f"{_OTHERS[self.name]} ({self.name}) - {self.pixel_m}m"
        return f"{_BANDS[self.name][0]} - {self.pixel_m}m"

    @property
    def _bands(self) -> list[dict[str, Any]]:
        if self.name in _OTHERS:
            return [{"name": self.name, "description": _OTHERS[self.name]}]
        if self.name == "TCI":
            return [_band(name) for name in _COLOURS]
        return [_band(self.name)] if self.is_band else []


def _band(name: str) -> dict[str, Any]:
    title, common_name, centre, width, _ = _BANDS[name]
    return {
        "name": name,
        "description": title,
        "eo:common_name": common_name,
        "eo:center_wavelength": centre,
        "eo:full_width_half_max": width,
    }


def _l2a() -> Iterator[Image]:
    for name, (*_, sizes) in _BANDS.items():
        if name != "B10":
            for pixel_m in sizes:
                finer = "upsampled" if pixel_m < sizes[0] else "downsampled"
                sampling = "original" if pixel_m == sizes[0] else finer
                yield Image(name=name, pixel_m=pixel_m, sampling=sampling, level="L2A")
    for name, sizes in (("SCL", (20, 60)), ("TCI", (10, 20, 60))):
        for pixel_m in sizes:
            sampling = "original" if pixel_m == sizes[0] else "downsampled"
            yield Image(name=name, pixel_m=pixel_m, sampling=sampling, level="L2A")
    for name in _OTHERS:
        for pixel_m in (20, 60) if name in _MASKS else (10, 20, 60):
            yield Image(name=name, pixel_m=pixel_m, sampling=None, level="L2A")


def _l1c() -> Iterator[Image]:
    for name, (*_, sizes) in _BANDS.items():
        yield Image(name=name, pixel_m=sizes[0], sampling="original", level="L1C")
    yield Image(name="TCI", pixel_m=10, sampling="original", level="L1C")


IMAGES: Mapping[str, tuple[Image, ...]] = {"L2A": tuple(_l2a()), "L1C": tuple(_l1c())}
"""Images of a product, by level."""
