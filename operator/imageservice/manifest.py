"""The type of a Kubernetes object as plain data, the way it goes over the wire."""

from typing import Any, TypeAlias

Manifest: TypeAlias = dict[str, Any]
