"""The requests that a worker answers."""

from collections.abc import Callable, Mapping
from typing import Any

from . import reasons
from .cache_directory import CacheDirectory
from .failures import DATABASE_ERRORS, Failure, of_worker
from .fetching import Fetcher, Limits, Tell
from .glance_setup import Glance
from .pruning import Contents
from .refusal import Refusal
from .repairing import Repair
from .sets import is_id

Request = Mapping[str, Any]
Answer = Mapping[str, Any]


class Requests:
    """Has Glance set up and the cache directory to itself. Raises Refusal where that cannot be."""

    def __init__(self) -> None:
        self._glance = Glance()
        self._directory = CacheDirectory(self._glance.cache_dir)
        self._directory.make()
        self._lock = self._directory.lock()
        self._directory.remove_leftovers()
        self._fetcher = Fetcher(self._glance, self._directory)
        self._contents = Contents(self._glance, self._directory)
        try:
            self._glance.connect()
        except DATABASE_ERRORS:
            # It may answer by the time of the first request, which tries again.
            return

    def answer(self, request: Request, tell: Tell) -> Answer:
        """Answer a request; that it failed is an answer as well."""
        try:
            self._glance.connect()
            return self._answer(request, tell)
        except Refusal:
            raise
        except Exception as error:  # noqa: BLE001 - becomes an answer
            failure = of_worker(error)
            return {"failed": failure.reason, "message": failure.message}

    def _answer(self, request: Request, tell: Tell) -> Answer:
        answers: dict[str, Callable[[], Answer]] = {
            "list": self._contents.list,
            "repair": lambda: Repair(self._glance, self._directory, self._fetcher).run(),
            "fetch": lambda: self._fetch(request, tell),
            "facts": lambda: {"images": {image_id: self._facts(image_id) for image_id in request["ids"]}},
            "prune": lambda: self._contents.prune(request["targetBytes"], frozenset(request["keep"])),
            "delete": lambda: self._contents.delete(_id_of(request)),
        }
        if request["do"] not in answers:
            raise Failure(reasons.WORKER_FAILED, "The worker knows no such request.")
        return answers[request["do"]]()

    def _fetch(self, request: Request, tell: Tell) -> Answer:
        limits = Limits(
            bytes_per_second=request["bytesPerSecond"],
            timeout_seconds=request["timeoutSeconds"],
            stall_seconds=request["stallSeconds"],
            room_bytes=request["roomBytes"],
        )
        return self._fetcher.fetch(_id_of(request), limits, tell)

    def _facts(self, image_id: str) -> Answer | None:
        image = self._glance.image(image_id)
        return {"size": image.expected.size, "status": image.status} if image else None


def _id_of(request: Request) -> str:
    """Return the id of the image that a request is about: it becomes part of a path."""
    image_id = str(request["id"])
    if not is_id(image_id):
        raise Failure(reasons.IMAGE_NOT_FOUND, "No image has such an id.")
    return image_id
