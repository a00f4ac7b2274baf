"""What the kinds share: group and version, conditions, metadata, names and references."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from imageservice.api.markers import RULES, Cel, Pattern, list_map, map_keys, schema_format, unit
from imageservice.api.vocabulary import MOST_BYTES, MOST_COUNTED, READY
from imageservice.manifest import Manifest

CATEGORY = "glance"

PENDING = "Pending"
WAITING_FOR_OPERATOR = "Waiting for the operator"

MAX_STORES = 128
"""How many ImageStores one ImageService serves at most."""


def initial_status(condition_types: tuple[str, ...]) -> dict[str, Any]:
    """Return the status of an object that no operator has seen: all its conditions Unknown.

    Without it, kstatus takes an object without status for ready while the operator is down.
    """
    return {
        "conditions": [
            {
                "type": condition_type,
                "status": "Unknown",
                "reason": PENDING,
                "message": WAITING_FOR_OPERATOR,
                "lastTransitionTime": "1970-01-01T00:00:00Z",
            }
            for condition_type in condition_types
        ]
    }


class ApiModel(BaseModel):
    """A part of an object. Read leniently: unknown fields are ignored, as an older operator must read newer objects."""

    # Validators are built when the first object of a kind is read: a start without that kind is shorter.
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", strict=True, defer_build=True
    )

    rules: ClassVar[tuple[Cel, ...]] = ()
    """Rules over several fields of this part."""

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        for rule in self.rules:
            rule.verify(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        if cls.rules:
            target = handler.resolve_ref_schema(schema)
            target[RULES] = [rule.as_validation() for rule in cls.rules]
        return schema

    def to_manifest(self) -> Manifest:
        """Return the part as it goes over the wire: camelCase, without what is not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


ON_ONE_LINE = r"[^\x00-\x1f\x7f-\x9f]*"
"""Texts that end up in an ini file: a line break in one would start a new option or section."""
SINGLE_LINE = f"^{ON_ONE_LINE}$"

DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
DNS_SUBDOMAIN = rf"^{DNS_LABEL}(\.{DNS_LABEL})*$"
HTTP_URL = r"^https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?)(:[0-9]{1,5})?(/[-A-Za-z0-9._~/]*)?$"

Line = Pattern(SINGLE_LINE, "must be one line of text without control characters")

ObjectName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Pattern(
        DNS_SUBDOMAIN,
        "must be the name of a Kubernetes object: lower-case letters, digits, `-` and `.`, "
        "with a letter or digit at both ends",
    ),
]
"""The name of an object in the same namespace (a DNS subdomain, RFC 1123)."""

SecretKey = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Pattern(r"^[-._A-Za-z0-9]+$", "must be a key of a Secret: letters, digits, `-`, `_` and `.`"),
]

Url = Annotated[
    str,
    Field(min_length=8, max_length=1024),
    Pattern(
        HTTP_URL,
        "must be an http or https URL with a host, without user, query and fragment, "
        "like https://image.example:9292/path",
    ),
]
"""A plain http(s) URL. Users and passwords have no place in it: it is shown in status and logs."""

OPTION_NAME = r"^[A-Za-z][A-Za-z0-9_]{0,126}$"

OptionValue = Annotated[str, Field(max_length=2000), Line]
Options = Annotated[
    dict[str, OptionValue],
    Field(max_length=64),
    map_keys(OPTION_NAME, "each option must be a letter followed by up to 126 letters, digits and `_`"),
]
"""Options of one section of glance-api.conf: name -> value."""

Count = Annotated[int, Field(ge=0, le=MOST_COUNTED), schema_format("int32")]
"""A number of things that the operator counted."""

Bytes = Annotated[int, Field(ge=0, le=MOST_BYTES), schema_format("int64"), unit("bytes")]
"""A number of bytes that the operator counted."""

Port = Annotated[int, Field(ge=1, le=65535), schema_format("int32")]

Percent = Annotated[int, Field(ge=0, le=100), schema_format("int32"), unit("percent")]

Generation = Annotated[int, Field(ge=0, le=2**53 - 1), schema_format("int64"), unit("generations")]


class SecretReference(ApiModel):
    """A Secret in the same namespace."""

    name: Annotated[ObjectName, Field(description="Name of the Secret.", examples=["glance-service-user"])]


class ConfigMapReference(ApiModel):
    """A ConfigMap in the same namespace."""

    name: Annotated[ObjectName, Field(description="Name of the ConfigMap.", examples=["ceph-etc"])]


class ImageServiceReference(ApiModel):
    """An ImageService in the same namespace."""

    name: Annotated[ObjectName, Field(description="Name of the ImageService.", examples=["glance"])]


class Condition(ApiModel):
    """One observation about an object, in the form that all of Kubernetes uses (meta/v1 Condition)."""

    type: Annotated[
        str,
        Field(
            min_length=1,
            max_length=316,
            pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$",
            description="What is observed. Unique in the list.",
            examples=["Ready"],
        ),
    ]
    status: Annotated[
        Literal["True", "False", "Unknown"],
        Field(description="Whether it holds.", examples=["True"]),
    ]
    reason: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1024,
            pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            description="Why, as one CamelCase word for programs.",
            examples=["SecretMissing"],
        ),
    ]
    message: Annotated[
        str,
        Field(
            max_length=32768,
            description="Why, and what to do about it, for people. Empty where there is nothing to say.",
            examples=["Secret glance-db has no key url: add it"],
        ),
    ]
    observed_generation: Annotated[
        Generation | None,
        Field(
            description="The `metadata.generation` that the observation is about. "
            "Where it is older, the condition says nothing about the spec of now.",
            examples=[3],
        ),
    ] = None
    last_transition_time: Annotated[
        str,
        Field(
            min_length=20,
            max_length=40,
            description="When `status` of the condition last changed (RFC 3339).",
            examples=["2026-11-22T10:00:00Z"],
        ),
        schema_format("date-time"),
    ]


READY_EXAMPLE = {
    "type": READY,
    "status": "True",
    "reason": "Ready",
    "message": "",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-11-22T10:00:00Z",
}

Conditions = Annotated[list[Condition], Field(max_length=32), list_map("type")]


class ObjectMeta(ApiModel):
    """The part of an object's metadata that the operator reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: list[str] = Field(default_factory=list)
    deletion_timestamp: str | None = None
