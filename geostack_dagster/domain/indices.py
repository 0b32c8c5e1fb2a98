"""Spectral indices of surface reflectance: names, bands and formulas, of numbers or arrays."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
"""Roles an index may ask for, by STAC common name; `nir` is B08 at 10 m or B8A at 20 m."""

type Quotient = tuple[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """One index: `numerator / denominator` of reflectance."""

    name: str
    long_name: str
    bands: tuple[str, ...]
    """Roles of the bands, in the order in which `formula` takes them."""
    formula: Callable[..., Quotient]
    words: str
    """The quotient as people write it."""
    reference: str
    """DOI or report number of the definition."""


def _normalised_difference(first: Any, second: Any) -> Quotient:
    return first - second, first + second


def _evi(nir: Any, red: Any, blue: Any) -> Quotient:
    return 2.5 * (nir - red), nir + 6.0 * red - 7.5 * blue + 1.0


def _savi(nir: Any, red: Any) -> Quotient:
    return 1.5 * (nir - red), nir + red + 0.5


def _bsi(swir16: Any, red: Any, nir: Any, blue: Any) -> Quotient:
    return (swir16 + red) - (nir + blue), (swir16 + red) + (nir + blue)


INDICES: Mapping[str, Index] = {
    index.name: index
    for index in (
        Index(
            name="NDVI",
            long_name="normalised difference vegetation index",
            bands=("nir", "red"),
            formula=_normalised_difference,
            words="(nir - red) / (nir + red)",
            reference="Rouse et al. 1974, NASA SP-351",
        ),
        Index(
            name="EVI",
            long_name="enhanced vegetation index",
            bands=("nir", "red", "blue"),
            formula=_evi,
            words="2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1)",
            reference="doi:10.1016/S0034-4257(96)00112-5",
        ),
        Index(
            name="NDWI",
            long_name="normalised difference water index",
            bands=("green", "nir"),
            formula=_normalised_difference,
            words="(green - nir) / (green + nir)",
            reference="doi:10.1080/01431169608948714",
        ),
        Index(
            name="MNDWI",
            long_name="modified normalised difference water index",
            bands=("green", "swir16"),
            formula=_normalised_difference,
            words="(green - swir16) / (green + swir16)",
            reference="doi:10.1080/01431160600589179",
        ),
        Index(
            name="NDMI",
            long_name="normalised difference moisture index",
            bands=("nir", "swir16"),
            formula=_normalised_difference,
            words="(nir - swir16) / (nir + swir16)",
            reference="doi:10.1016/S0034-4257(01)00318-2",
        ),
        Index(
            name="NBR",
            long_name="normalised burn ratio",
            bands=("nir", "swir22"),
            formula=_normalised_difference,
            words="(nir - swir22) / (nir + swir22)",
            reference="doi:10.3133/ofr0211",
        ),
        Index(
            name="NDSI",
            long_name="normalised difference snow index",
            bands=("green", "swir16"),
            formula=_normalised_difference,
            words="(green - swir16) / (green + swir16)",
            reference="doi:10.1109/IGARSS.1994.399618",
        ),
        Index(
            name="SAVI",
            long_name="soil-adjusted vegetation index",
            bands=("nir", "red"),
            formula=_savi,
            words="1.5 * (nir - red) / (nir + red + 0.5)",
            reference="doi:10.1016/0034-4257(88)90106-X",
        ),
        Index(
            name="BSI",
            long_name="bare soil index",
            bands=("swir16", "red", "nir", "blue"),
            formula=_bsi,
            words="(swir16 + red - nir - blue) / (swir16 + red + nir + blue)",
            reference="Rikimaru et al. 2002, Tropical Ecology 43(1)",
        ),
    )
}
"""Every index this project knows, by name."""
