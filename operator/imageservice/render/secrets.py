"""Secrets that are never changed: their name tells their content."""

import base64
import functools
import hashlib
import json
from collections.abc import Mapping

from imageservice.manifest import Manifest
from imageservice.render.inputs import ImageServiceInputs
from imageservice.render.labels import metadata
from imageservice.render.names import child_name


def immutable_secret(inputs: ImageServiceInputs, component: str, files: Mapping[str, str]) -> Manifest:
    """Build the immutable Secret `<name>-<component>-<hash of the content>` that holds `files`.

    Each site has its own, also where the files of two are the same: their labels are not.
    """
    salt = inputs.uid if inputs.edge is None else f"{inputs.uid} {inputs.edge}"
    name = name_by_content(inputs.name, salt, component, files)
    return secret_with(metadata(inputs, name, component), files)


def name_by_content(owner: str, salt: str, component: str, files: Mapping[str, str]) -> str:
    """Return the name of the Secret with these files that belongs to the object `owner`."""
    content = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).digest()
    return child_name(owner, f"{component}-{slow_hash(content, salt)}")


def secret_with(about: Manifest, files: Mapping[str, str]) -> Manifest:
    """Build an immutable Secret that holds `files`; `about` is its metadata."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": about,
        "type": "Opaque",
        "immutable": True,
        "data": {name: base64.b64encode(text.encode()).decode() for name, text in files.items()},
    }


@functools.lru_cache(maxsize=4096)
def slow_hash(content: bytes, salt: str, size_bytes: int = 5) -> str:
    """Return a hash of secret content that may be shown to those who may not read the content.

    Names of Secrets are visible to many more people than what is in them, so the hash is one that is slow to compute:
    else a short password could be found by trying. It takes 3 ms and 1 MiB: the next larger steps would make the start
    with hundreds of services slow. Remembered, because each reconcile asks for it.
    """
    return hashlib.scrypt(content, salt=salt.encode(), n=2**10, r=8, p=1, dklen=size_bytes).hex()
