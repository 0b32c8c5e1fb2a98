"""What CMR says of its collections; only those that an archive of the sandbox can hold."""

from dataclasses import dataclass
from typing import Any

from geostack_dagster.sandbox.cmr_ask import Asked
from geostack_dagster.sandbox.umm import GATE, PROVIDER

_REVISED = "2025-04-02T15:04:05.000Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionFacts:
    """A collection, and whose holdings list its granules."""

    concept_id: str
    short_name: str
    version: str
    title: str
    archive: str

    @property
    def name(self) -> str:
        """Our name of the collection, as in `EMITL1BRAD_001`."""
        return f"{self.short_name}_{self.version}"

    @property
    def doi(self) -> str:
        """Identifier of the collection."""
        return f"10.5067/EMIT/{self.short_name}.{self.version}"

    def is_asked_for(self, asked: Asked) -> bool:
        """Whether it, or granules in it, match the conditions on collections."""
        return (
            asked.admits("short_name", self.short_name)
            and asked.admits("version", self.version)
            and asked.admits("entry_title", self.title)
            and asked.admits("doi", self.doi)
            and asked.admits("provider", PROVIDER)
            and asked.admits("provider_short_name", PROVIDER)
            and asked.admits("collection_concept_id", self.concept_id)
            and asked.admits("echo_collection_id", self.concept_id)
        )

    def umm(self, granules: int) -> dict[str, Any]:
        """As `collections.umm_json` lists it, with a number of granules."""
        prefixes = [f"lp-prod-protected/{self.short_name}.{self.version}"]
        prefixes.append(f"lp-prod-public/{self.short_name}.{self.version}")
        return {
            "meta": {
                "revision-id": 12,
                "deleted": False,
                "provider-id": PROVIDER,
                "native-id": self.title,
                "concept-id": self.concept_id,
                "revision-date": _REVISED,
                "concept-type": "collection",
                "granule-count": granules,
                "has-granules": granules > 0,
                "s3-links": prefixes,
            },
            "umm": {
                "ShortName": self.short_name,
                "Version": self.version,
                "EntryTitle": self.title,
                "Abstract": f"{self.title}, as the sandbox has it.",
                "DOI": {"DOI": self.doi, "Authority": "https://doi.org"},
                "ProcessingLevel": {"Id": self.short_name[5:7]},
                "DirectDistributionInformation": {
                    "Region": "us-west-2",
                    "S3BucketAndObjectPrefixNames": prefixes,
                    "S3CredentialsAPIEndpoint": f"{GATE}/s3credentials",
                    "S3CredentialsAPIDocumentationURL": f"{GATE}/s3credentialsREADME",
                },
                "MetadataSpecification": {
                    "URL": "https://cdn.earthdata.nasa.gov/umm/collection/v1.18.2",
                    "Name": "UMM-C",
                    "Version": "1.18.2",
                },
            },
        }

    def entry(self) -> dict[str, Any]:
        """As `collections.json` lists it."""
        return {
            "id": self.concept_id,
            "title": self.title,
            "dataset_id": self.title,
            "short_name": self.short_name,
            "version_id": self.version,
            "data_center": PROVIDER,
            "cloud_hosted": True,
            "online_access_flag": True,
            "updated": _REVISED,
        }


COLLECTIONS = (
    CollectionFacts(
        concept_id="C2408009906-LPCLOUD",
        short_name="EMITL1BRAD",
        version="001",
        title="EMIT L1B At-Sensor Calibrated Radiance and Geolocation Data 60 m V001",
        archive="earthaccess",
    ),
    CollectionFacts(
        concept_id="C3242680113-LPCLOUD",
        short_name="EMITL2BCH4ENH",
        version="002",
        title="EMIT L2B Methane Enhancement Data 60 m V002",
        archive="lpcloud",
    ),
    CollectionFacts(
        concept_id="C3242707413-LPCLOUD",
        short_name="EMITL2BCH4PLM",
        version="002",
        title="EMIT L2B Estimated Methane Plume Complexes 60 m V002",
        archive="lpcloud",
    ),
)
"""L1B is held for CMR alone; of the others, CMR-STAC and CMR list the same granules."""
