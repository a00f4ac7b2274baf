"""Imports: how images get into Glance other than by a plain upload, and what is done to them on the way."""

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from imageservice.api.markers import (
    ATOMIC,
    IN_SCHEMA,
    LIST_SET,
    Cel,
    Pattern,
    map_keys,
    union_rules,
    unset,
)
from imageservice.api.v1alpha1.common import ApiModel, Port
from imageservice.api.v1alpha1.store_filesystem import EmptyDirVolume, PersistentVolumeClaimVolume

ImportMethod = Literal["glance-direct", "web-download", "copy-image", "glance-download"]
FETCHING_METHODS = ("web-download", "glance-download")
"""The methods by which Glance itself fetches from where a client, or the catalogue of Keystone, says."""

UNCHANGED: Final = "Unchanged"
"""The output format that stands for no conversion."""

PROPERTY_NAME = r"^[A-Za-z0-9_][-A-Za-z0-9_./]{0,254}$"
RESERVED_NAMESPACE = "os_glance_"
RESERVED_PROPERTIES = (
    *("checksum", "container_format", "created_at", "deleted", "deleted_at", "direct_url", "disk_format", "file"),
    *("id", "location", "locations", "min_disk", "min_ram", "name", "os_hash_algo", "os_hash_value", "os_hidden"),
    *("owner", "protected", "schema", "self", "size", "status", "stores", "tags", "updated_at", "virtual_size"),
    "visibility",
)
"""Attributes that every image has: Glance hides a property of such a name behind its own (glance.api.v2.images)."""

# oslo.config cuts a list and a dict at every comma, strips what it has cut, and knows no way to quote either.
ONE_ITEM = r"^[!-+\--~]([ -+\--~]*[!-+\--~])?$"

RoleName = Annotated[
    str,
    Field(min_length=1, max_length=255),
    Pattern(ONE_ITEM, "must be the name of a role: printable ASCII without commas and without a blank at either end"),
]
PropertyValue = Annotated[
    str,
    Field(min_length=1, max_length=255),
    Pattern(
        ONE_ITEM,
        "must be printable ASCII without commas and without a blank at either end: "
        "Glance reads all properties as one list, name:value,name:value",
    ),
]
Properties = Annotated[
    dict[str, PropertyValue],
    Field(min_length=1, max_length=64),
    map_keys(
        PROPERTY_NAME,
        "each name must be up to 255 letters, digits, `_`, `-`, `.` and `/`: "
        "Glance reads all properties as one list, name:value,name:value",
    ),
    Cel(
        f"self.all(name, !name.startsWith('{RESERVED_NAMESPACE}') && !(name in {list(RESERVED_PROPERTIES)}))",
        "each name must be free: Glance keeps names that begin with os_glance_, and those of attributes that every "
        "image has (like name, owner and status), for itself",
        check=lambda properties: not any(map(_is_reserved, properties)),
    ),
]

Host = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Pattern(
        r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?|[0-9a-f]*:[0-9a-f:.]*)$",
        "must be a host name in lower case or an IP address, without scheme, port and path, like mirror.example",
    ),
]


def _is_reserved(name: str) -> bool:
    return name.startswith(RESERVED_NAMESPACE) or name in RESERVED_PROPERTIES


class WebDownload(ApiModel):
    """From where Glance may fetch images. All else is refused: so Glance has it where a list of what is allowed is."""

    allowed_hosts: Annotated[
        list[Host],
        Field(
            min_length=1,
            max_length=64,
            description="Host names and IP addresses that Glance may fetch from, each exactly as in the URL. Glance "
            "takes host names as they are, without the search domains of Kubernetes: name a Service in full, like "
            "mirror.web.svc.cluster.local. Images may be fetched from these hosts even where they are addresses of "
            "the pod or its node.",
            examples=[["mirror.example"]],
        ),
        LIST_SET,
    ]
    allowed_schemes: Annotated[
        Annotated[list[Literal["https", "http"]], Field(min_length=1, max_length=2), LIST_SET] | None,
        Field(description="Schemes that a URL may have.", examples=[["https"]]),
        unset("https alone"),
    ] = None
    allowed_ports: Annotated[
        Annotated[list[Port], Field(min_length=1, max_length=64), LIST_SET] | None,
        Field(
            description="Ports that a URL may name; a URL that names none has the port of its scheme.",
            examples=[[443, 8443]],
        ),
        unset("443, and 80 where `allowedSchemes` has http"),
    ] = None


class Conversion(ApiModel):
    """The conversion of images to one format by qemu-img (Glance plugin image_conversion). ISO images stay ISO."""

    output_format: Annotated[
        Literal["raw", "qcow2", "vmdk", "Unchanged"],
        Field(
            description="Format that imported images are converted to. Unchanged means that they stay as they come.",
            examples=["raw"],
        ),
    ]


class InjectProperties(ApiModel):
    """Properties that every imported image gets (Glance plugin inject_image_metadata)."""

    properties: Annotated[
        Properties,
        Field(
            description="Name and value of each property; they take the place of what the image has under these "
            "names. Names with a colon, like those of traits, cannot be injected.",
            examples=[{"hw_disk_bus": "scsi", "hw_scsi_model": "virtio-scsi"}],
        ),
    ]
    # Atomic, for its default: items of a set that nobody applied would stay beside those of the user.
    ignore_user_roles: Annotated[
        list[RoleName],
        Field(
            max_length=16,
            description="Roles whose users import without injection; with an empty list, nobody does.",
            examples=[["admin"]],
        ),
        ATOMIC,
        IN_SCHEMA,
    ] = ["admin"]  # noqa: RUF012 - pydantic copies it


class Staging(ApiModel):
    """Where the data of an import lies until it is in its stores: `type` names the one member that is set."""

    rules: ClassVar[tuple[Cel, ...]] = union_rules(
        "type", {"EmptyDir": "emptyDir", "PersistentVolumeClaim": "persistentVolumeClaim"}
    )

    type: Annotated[
        Literal["EmptyDir", "PersistentVolumeClaim"],
        Field(
            description="Kind of volume. With EmptyDir each pod has a directory of its own, and a pod that is asked to "
            "import what lies in another one passes the request on; what is staged goes with its pod. A "
            "PersistentVolumeClaim is shared by all pods.",
            examples=["EmptyDir"],
        ),
    ]
    empty_dir: Annotated[
        EmptyDirVolume | None,
        Field(
            description="A directory of each pod. Set where `type` is EmptyDir. Images that are converted are there "
            "twice for a time.",
            examples=[{"sizeLimit": "50Gi"}],
        ),
        unset("not set"),
    ] = None
    persistent_volume_claim: Annotated[
        PersistentVolumeClaimVolume | None,
        Field(
            description="An existing PersistentVolumeClaim that no store keeps images in. Set where `type` is "
            "PersistentVolumeClaim.",
            examples=[{"claimName": "staging"}],
        ),
        unset("not set"),
    ] = None


class Imports(ApiModel):
    """How images are imported (Glance: interoperable image import)."""

    rules: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "has(self.webDownload) || !has(self.methods) || "
            f"!self.methods.exists(method, method in {list(FETCHING_METHODS)})",
            "`webDownload.allowedHosts` must be set where `methods` has web-download or glance-download: without a "
            "list of hosts, any user of the cloud could have Glance fetch from addresses inside your network",
            field_path=".webDownload",
            reason="FieldValueRequired",
            check=lambda imports: imports.web_download is not None or not imports.fetches,
        ),
        Cel(
            "!has(self.webDownload) || (has(self.methods) && "
            f"self.methods.exists(method, method in {list(FETCHING_METHODS)}))",
            "`webDownload` must be set only where `methods` has web-download or glance-download",
            field_path=".webDownload",
            check=lambda imports: imports.web_download is None or imports.fetches,
        ),
    )

    methods: Annotated[
        Annotated[list[ImportMethod], Field(min_length=1, max_length=4), LIST_SET] | None,
        Field(
            description="Import methods that users may choose from: glance-direct imports what the client has put into "
            "staging, web-download what a URL of the client leads to, glance-download an image of the Glance of "
            "another region, and copy-image copies an image to more stores. web-download and glance-download need "
            "`webDownload`.",
            examples=[["glance-direct", "web-download", "copy-image"]],
        ),
        unset("glance-direct and copy-image"),
    ] = None
    web_download: Annotated[
        WebDownload | None,
        Field(
            description="From where web-download and glance-download may fetch.",
            examples=[{"allowedHosts": ["mirror.example"]}],
        ),
        unset("not set; required where `methods` has web-download or glance-download"),
    ] = None
    conversion: Annotated[
        Conversion | None,
        Field(
            description="The conversion of imported images. Uploads that are no imports are never converted.",
            examples=[{"outputFormat": "raw"}],
        ),
        unset(
            "to raw where the default store is of type Ceph, which clones raw images alone, and `formats` has raw and "
            "bare; else no conversion"
        ),
    ] = None
    decompression: Annotated[
        bool,
        Field(
            description="Whether imported images that come packed by gzip are unpacked, and since 2026.1 those in a "
            "zip archive of one file, unless their container format is `compressed` (Glance plugin "
            "image_decompression).",
            examples=[True],
        ),
        IN_SCHEMA,
    ] = False
    inject_properties: Annotated[
        InjectProperties | None,
        Field(
            description="Properties that every imported image gets.",
            examples=[{"properties": {"hw_disk_bus": "scsi"}}],
        ),
        unset("none"),
    ] = None
    staging: Annotated[
        Staging | None,
        Field(
            description="The volume that holds the data of imports until it is in its stores.",
            examples=[{"type": "EmptyDir", "emptyDir": {"sizeLimit": "50Gi"}}],
        ),
        unset("an EmptyDir without a limit"),
    ] = None

    @property
    def fetches(self) -> bool:
        """Whether Glance fetches images from elsewhere by itself."""
        return any(method in FETCHING_METHODS for method in self.methods or ())

    @property
    def output_format(self) -> str | None:
        """The format that the user names for imported images; None where there is none, or no conversion."""
        named = self.conversion.output_format if self.conversion else UNCHANGED
        return None if named == UNCHANGED else named


def _where_images_are_converted(rule: str) -> str:
    """Return `rule`, over the spec of a service, for specs that name a format to convert to."""
    return (
        "!has(self.formats) || !has(self.imports) || !has(self.imports.conversion) || "
        f"self.imports.conversion.outputFormat == '{UNCHANGED}' || {rule}"
    )


def _may_become_of_disk_format(spec: Any) -> bool:
    wanted = spec.imports.output_format
    return wanted is None or spec.formats is None or not spec.formats.disk or wanted in spec.formats.disk


def _may_become_bare(spec: Any) -> bool:
    wanted = spec.imports.output_format
    return wanted is None or spec.formats is None or not spec.formats.container or "bare" in spec.formats.container


CONVERSION_RULES = (
    Cel(
        _where_images_are_converted(
            "!has(self.formats.disk) || self.imports.conversion.outputFormat in self.formats.disk"
        ),
        "`formats.disk` must have the format in `imports.conversion.outputFormat`",
        field_path=".formats",
        check=_may_become_of_disk_format,
    ),
    Cel(
        _where_images_are_converted("!has(self.formats.container) || 'bare' in self.formats.container"),
        "`formats.container` must have `bare` where images are converted: converted images are bare",
        field_path=".formats",
        check=_may_become_bare,
    ),
)
"""Rules over `formats` and `imports` of a service: what images become must be among what they may be."""
