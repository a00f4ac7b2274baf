"""A store of RADOS block devices in a pool of a Ceph cluster."""

from typing import Annotated

from pydantic import Field

from imageservice.api.markers import IN_SCHEMA, LIST_SET, Cel, Pattern, schema_format, unit, unset
from imageservice.api.v1alpha1.common import ApiModel, ConfigMapReference, SecretReference

CEPH_USER = r"^[A-Za-z0-9_][-A-Za-z0-9_.]*$"
MAX_CEPH_USER_LENGTH = 128
"""A user's name is part of a key of a Secret, which has at most 253 characters with the id of the store in front."""
FSID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"

_HOST = r"([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
_TYPED = r"v[12]:([0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}(/[0-9]{1,10})?"
MONITOR = rf"^({_HOST}(:[0-9]{{1,5}})?(/[0-9]{{1,10}})?|{_TYPED}|\[{_TYPED}(,{_TYPED})*\])$"
MAX_MONITOR_LENGTH = 300
MAX_MONITORS = 32

CHUNK_SIZES = (1, 2, 4, 8, 16, 32)
"""What librbd takes as the size of an object, in MiB: powers of two up to 32."""

Monitor = Annotated[
    str,
    Field(min_length=1, max_length=MAX_MONITOR_LENGTH),
    Pattern(
        MONITOR,
        "must be a monitor as Ceph writes it: ceph.example:6789, 192.0.2.1, [2001:db8::1]:6789, v2:192.0.2.1:3300 or "
        "[v2:192.0.2.1:3300,v1:192.0.2.1:6789]",
    ),
]

CephUser = Annotated[
    str,
    Field(min_length=1, max_length=MAX_CEPH_USER_LENGTH),
    Pattern(CEPH_USER, "must be a Ceph user like glance: letters, digits, `-`, `_` and `.`"),
    Cel(
        "!self.startsWith('client.')",
        "must be written without client. in front",
        check=lambda user: not user.startswith("client."),
    ),
]


class CephStore(ApiModel):
    """A store that keeps each image as a block device of Ceph (Glance: store type `rbd`)."""

    pool: Annotated[
        str,
        Field(
            min_length=1,
            max_length=128,
            description="Pool that holds the images (Glance option rbd_store_pool). The operator never makes it.",
            examples=["images"],
        ),
        Pattern(r"^[A-Za-z0-9_][-A-Za-z0-9_.]*$", "must be the name of a pool: letters, digits, `-`, `_` and `.`"),
        IN_SCHEMA,
    ] = "images"
    user: Annotated[
        CephUser | None,
        Field(
            description="Ceph user that Glance is, without `client.` (Glance option rbd_store_user). Must be one that "
            "the Secret has a key for.",
            examples=["glance"],
        ),
        unset("the user that the Secret names; glance where it names none"),
    ] = None
    secret_ref: Annotated[
        SecretReference,
        Field(
            description="The Secret with the user's key. Its shape is told by its keys: userID and userKey with or "
            "without a third key named after the user (Rook, ceph-csi), adminID and adminKey (ceph-csi), key "
            "(openstack-helm), or files that end in .keyring and .conf (kolla, RHOSO).",
            examples=[{"name": "rook-ceph-client-glance"}],
        ),
    ]
    config_map_ref: Annotated[
        ConfigMapReference | None,
        Field(
            description="A ConfigMap that says where the monitors are: key ceph.conf (openstack-helm: ceph-etc) or "
            "key data (Rook: rook-ceph-mon-endpoints).",
            examples=[{"name": "ceph-etc"}],
        ),
        unset("not set; the monitors are then in `monitors` or in a .conf file of the Secret"),
    ] = None
    monitors: Annotated[
        list[Monitor],
        Field(
            max_length=MAX_MONITORS,
            description="Monitors of the cluster, as host:port, IPv4 address, [IPv6 address]:port, or with the "
            "protocol in front as Ceph prints them.",
            examples=[["192.0.2.1:6789", "[v2:192.0.2.2:3300,v1:192.0.2.2:6789]"]],
        ),
        unset("those of the ConfigMap or of the Secret"),
        LIST_SET,
    ] = Field(default_factory=list)
    fsid: Annotated[
        Annotated[str, Field(min_length=36, max_length=36), Pattern(FSID, "must be the fsid of a Ceph cluster, a UUID")]
        | None,
        Field(
            description="Id of the cluster (`ceph fsid`). Where it is known, another cluster behind the same monitors "
            "is noticed.",
            examples=["79b70c32-df46-4741-93c0-8118ae2ae284"],
        ),
        unset("that of a ceph.conf where one is given; else any cluster is taken"),
    ] = None
    sparse_upload: Annotated[
        bool,
        Field(
            description="Whether runs of zeros in an image are left out on upload, which saves space and traffic with "
            "raw images (Glance option rbd_thin_provisioning).",
            examples=[True],
        ),
        IN_SCHEMA,
    ] = False
    chunk_size: Annotated[
        int,
        Field(
            ge=CHUNK_SIZES[0],
            le=CHUNK_SIZES[-1],
            description="Size of the objects that an image is cut into, a power of two (Glance option "
            "rbd_store_chunk_size). Images that are there already keep theirs.",
            examples=[8],
        ),
        Cel(
            f"self in {list(CHUNK_SIZES)}",
            f"must be a power of two: {', '.join(map(str, CHUNK_SIZES))}",
            check=lambda size: size in CHUNK_SIZES,
        ),
        schema_format("int32"),
        unit("MiB"),
        IN_SCHEMA,
    ] = 8
    connect_timeout_seconds: Annotated[
        int,
        Field(
            ge=1,
            le=300,
            description="How long Glance waits for a monitor's answer when it connects, and for each further answer of "
            "the monitors (Ceph options client_mount_timeout and rados_mon_op_timeout).",
            examples=[10],
        ),
        schema_format("int32"),
        unit("seconds"),
        IN_SCHEMA,
    ] = 5
