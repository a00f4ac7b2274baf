"""Events about objects (core/v1), as `kubectl describe` shows them. They are news: losing one is no harm."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from imageservice.manifest import Manifest
from imageservice.runtime.kinds import EVENT
from imageservice.runtime.kube import ApiError, Conflict, KubeApi, NamespaceEnds

logger = logging.getLogger(__name__)

COMPONENT = "image-service-operator"
MESSAGE_BYTES = 1024
"""Longest message that the API server takes."""
SAME_NEWS_SECONDS = 600
"""The same news about the same object is told once in this time, also by another replica or after a restart."""

_EMIT_SECONDS = 5.0
_NAME_LENGTH = 253
_HASH_LENGTH = 16


class EventRecorder:
    """Emits Events. `instance` names this process in them; `clock` is the time of day in seconds since 1970."""

    def __init__(self, kube: KubeApi, instance: str, clock: Callable[[], float] = time.time) -> None:
        self._kube = kube
        self._instance = instance
        self._clock = clock

    async def emit(self, regarding: Manifest, type: Literal["Normal", "Warning"], reason: str, message: str) -> None:  # noqa: A002 - the field's name
        """Tell something about an object. `reason` is CamelCase and one of few; failures are logged, never raised."""
        manifest = event(regarding, type, reason, message, instance=self._instance, now=self._clock())
        try:
            async with asyncio.timeout(_EMIT_SECONDS):
                await self._kube.create(EVENT, manifest)
        except Conflict:  # its name says that this was told already
            return
        except NamespaceEnds as error:  # whoever deletes a namespace wants no news of what was in it
            logger.debug("Event not recorded: %s", error, extra={"event_reason": reason})
        except (ApiError, TimeoutError) as error:
            logger.warning("Event not recorded: %s", error or "no answer in time", extra={"event_reason": reason})


def event(regarding: Manifest, type_: str, reason: str, message: str, *, instance: str, now: float) -> Manifest:
    """Return the Event. Its name follows from the object, the news, and the time in steps of SAME_NEWS_SECONDS."""
    metadata = regarding["metadata"]
    news = (metadata.get("uid", ""), type_, reason, message, str(int(now // SAME_NEWS_SECONDS)))
    ending = "." + hashlib.sha256("\0".join(news).encode()).hexdigest()[:_HASH_LENGTH]
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {
            "name": metadata["name"][: _NAME_LENGTH - len(ending)].rstrip("-.") + ending,
            "namespace": metadata["namespace"],
        },
        "involvedObject": {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata.get("uid", ""),
            "resourceVersion": metadata.get("resourceVersion", ""),
        },
        "type": type_,
        "reason": reason,
        "message": shortened(message),
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance[:128],
    }


def shortened(message: str) -> str:
    """Return a message that the API server takes: cut at the end where it is too long, never inside a character."""
    content = message.encode()
    if len(content) <= MESSAGE_BYTES:
        return message
    return content[: MESSAGE_BYTES - 3].decode(errors="ignore") + "..."
