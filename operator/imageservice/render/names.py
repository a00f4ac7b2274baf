"""Names of children and label values: always legal, always the same for the same owner, never shared by two owners.

An ImageService may have any name that Kubernetes takes for an object (a DNS-1123 subdomain, up to 253 characters,
dots and a leading digit allowed), while a Service must be a DNS-1035 label and a label value has at most 63
characters. A name that fits is kept as it is; any other is shortened and gets a hash of the whole name.
"""

import hashlib
import json
import re

from imageservice.manifest import Manifest

MAX_LABEL = 63
"""Longest DNS label and longest label value, in characters."""

_HASH_LENGTH = 10
_LONGEST_SUFFIX = 40
"""Leaves room for the hash of an owner, and for something of its name."""
_DNS_1035_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?")


def text_hash(text: str) -> str:
    """Return a short hash of `text`, made of characters that are legal in every name."""
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]


def content_hash(content: Manifest) -> str:
    """Return a short hash of plain data; the order of keys does not count."""
    return text_hash(json.dumps(content, sort_keys=True, separators=(",", ":")))


def child_name(owner: str, suffix: str) -> str:
    """Return the name of the child `suffix` of the object named `owner`: a DNS-1035 label of at most 63 characters.

    `suffix` must itself end in a letter or a digit. Where `<owner>-<suffix>` is no legal label, the owner's part is
    made legal, cut, and followed by a hash of the full owner name, so that two owners never meet in one child.
    """
    plain = f"{owner}-{suffix}"
    if len(plain) <= MAX_LABEL and _DNS_1035_LABEL.fullmatch(plain):
        return plain
    ending = f"-{text_hash(owner)}-{suffix}"
    start = re.sub(r"[^a-z0-9]+", "-", owner.lower()).strip("-")
    if not start[:1].isalpha():
        start = f"x-{start}"
    return start[: MAX_LABEL - len(ending)].rstrip("-") + ending


def volume_name(store_id: str) -> str:
    """Return the name of the volume of a store in the pods: a DNS label, which may not have the `_` of a store's id."""
    plain = f"store-{store_id}"
    if len(plain) <= MAX_LABEL and _DNS_1035_LABEL.fullmatch(plain):
        return plain
    ending = f"-{text_hash(store_id)}"
    return re.sub(r"[^a-z0-9]+", "-", plain)[: MAX_LABEL - len(ending)].rstrip("-") + ending


def store_secret_name(service: str, store_id: str) -> str:
    """Return the name of the Secret with the credentials of a store, the same whatever is in it."""
    plain = f"store-{store_id}"
    fits = len(plain) <= _LONGEST_SUFFIX and _DNS_1035_LABEL.fullmatch(plain)
    return child_name(service, plain if fits else f"store-{text_hash(store_id)}")


def label_value(name: str) -> str:
    """Return `name` as a label value of at most 63 characters: itself where it is legal, else cut and with a hash."""
    if len(name) <= MAX_LABEL and _LABEL_VALUE.fullmatch(name):
        return name
    ending = f"-{text_hash(name)}"
    start = re.sub(r"[^-_.A-Za-z0-9]", "-", name).lstrip("-_.")
    return (start[: MAX_LABEL - len(ending)].rstrip("-_.") + ending).lstrip("-")


def api_name(service: str) -> str:
    """Return the name of the API's Deployment, Service and PodDisruptionBudget of the ImageService `service`."""
    return child_name(service, "api")
