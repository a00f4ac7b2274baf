"""The Secret with the credentials of one store, as the pods that serve the store mount it."""

import base64
import hashlib
import json
from collections.abc import Iterable

from imageservice.manifest import Manifest
from imageservice.render import stores
from imageservice.render.inputs import ImageServiceInputs, StoreInputs
from imageservice.render.labels import COMPONENT_STORE, metadata
from imageservice.render.names import store_secret_name
from imageservice.render.secrets import slow_hash

STORE_ANNOTATION = "imageservice.dev/image-store"
"""On the Secret: the name of the ImageStore that it belongs to."""
CONTENT_ANNOTATION = "imageservice.dev/store-credentials"
"""On the pods: a hash of what Glance reads of these Secrets at its start, so that another content rolls them."""


def store_secret(inputs: ImageServiceInputs, store: StoreInputs) -> Manifest | None:
    """Build the Secret; None for a store without credentials.

    It is mutable, unlike the config Secret: the kubelet brings a corrected keyring into the pods that run, where
    librados reads it at the next connection. Raises ValueError where a credential cannot stand in its file.
    """
    files = stores.files(store)
    if not files:
        return None
    about = metadata(inputs, store_secret_name(inputs.name, store.store_id), COMPONENT_STORE)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {**about, "annotations": {STORE_ANNOTATION: store.name}},
        "type": "Opaque",
        "data": {name: base64.b64encode(text.encode()).decode() for name, text in files.items()},
    }


def content_annotations(inputs: ImageServiceInputs, served: Iterable[StoreInputs]) -> dict[str, str]:
    """Return the annotations of the pods that serve these stores; none where no store has credentials."""
    files = {store.store_id: found for store in served if (found := stores.restarting_files(store))}
    if not files:
        return {}
    content = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).digest()
    return {CONTENT_ANNOTATION: slow_hash(content, inputs.uid)}
