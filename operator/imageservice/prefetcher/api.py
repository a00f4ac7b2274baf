"""What clients may ask of the agent over HTTP, and what they are answered.

    GET    /healthz                     this program runs; open to all, everything else needs the token
    GET    /v1/status                   the node, its cache, the sets, the images that they want; with an ETag
    PUT    /v1/sets/<uid>               {"name", "revision", "images", "fetch", "until", "timeoutSeconds",
                                        "backoffSeconds", "maxBackoffSeconds"}; on the disk when it is answered,
                                        which it is with {"revision", "status": as /v1/status then tells}
    DELETE /v1/sets/<uid>
    GET    /v1/cache                    {"cached": [rows], "queued": [ids], "queue": {id: as in the status}}
    DELETE /v1/cache/<id>, /v1/cache    what sets want stays, unless ?force=true
    PUT    /v1/queue/<id>               Glance's own queue; an image that failed is tried at once
    DELETE /v1/queue/<id>, /v1/queue
    GET    /metrics                     for Prometheus

The token comes as `X-Image-Service-Token: <token>` or `Authorization: Bearer <token>`. Whatever goes wrong is answered
with {"reason", "message"}, which repeat nothing of the request.
"""

import contextlib
import hashlib
import hmac
import json
import re
from collections.abc import Callable

from .board import Board
from .metrics import Levels, metrics
from .room import limit_bytes
from .scan import MOST_QUEUED, drop_wish, wish
from .server import Request, Response, json_response, refusal
from .sets import BadSet, TooManySets, is_id, parse_set
from .status import STATES, image_status, status
from .supervisor import Supervisor
from .wake import Wake
from .worker_process import NoAnswerYet, WorkFailed

TOKEN_HEADER = "x-image-service-token"  # noqa: S105 - the name of a header
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Handler = Callable[[Request, str], Response]


class Api:
    """Answers requests."""

    def __init__(self, board: Board, supervisor: Supervisor, wake: Wake) -> None:
        self._board, self._supervisor, self._wake = board, supervisor, wake
        self._token = board.settings.token.encode()
        self._routes: list[tuple[re.Pattern[str], dict[str, Handler]]] = [
            (re.compile("/healthz"), {"GET": lambda *_: Response(200, b"ok\n", "text/plain")}),
            (re.compile("/v1/status"), {"GET": self._get_status}),
            (re.compile("/v1/sets/([^/]+)"), {"PUT": self._put_set, "DELETE": self._delete_set}),
            (re.compile("/v1/cache"), {"GET": self._get_cache, "DELETE": self._delete_cache}),
            (re.compile("/v1/cache/([^/]+)"), {"DELETE": self._delete_image}),
            (re.compile("/v1/queue"), {"DELETE": self._delete_queue}),
            (re.compile("/v1/queue/([^/]+)"), {"PUT": self._put_wish, "DELETE": self._delete_wish}),
            (re.compile("/metrics"), {"GET": self._get_metrics}),
        ]

    # ---------------------------------------------------------------------------------------------- who may do what

    def refuse(self, request: Request) -> Response | None:
        """Return why a request is not fulfilled, from its head alone; None where it may be."""
        if request.path != "/healthz" and not self._has_token(request):
            return refusal(401, "TokenRefused", "The request has not the token of this agent.")
        found = self._route(request)
        if found is None:
            return refusal(404, "NotFound", "There is no such path.")
        methods, name = found
        if request.method not in methods:
            return refusal(405, "MethodNotAllowed", "This path has no such method.")
        if name and not is_id(name):
            return refusal(400, "BadId", "The last part of the path is no UUID.")
        return None

    def answer(self, request: Request) -> Response:
        """Fulfil a request that was not refused."""
        found = self._route(request)
        if found is None:
            return refusal(404, "NotFound", "There is no such path.")
        methods, name = found
        try:
            return methods[request.method](request, name)
        except BadSet as error:
            return refusal(400, "BadSet", str(error))
        except TooManySets:
            return refusal(507, "TooManySets", "The agent keeps no more sets.")
        except NoAnswerYet:
            return refusal(503, "Busy", "The worker is at work for longer than a client can wait.")
        except WorkFailed as failure:
            return refusal(503, failure.reason, failure.message)
        except OSError as error:
            return refusal(507, "NotKept", f"The volume of the cache refuses it ({type(error).__name__}).")

    def _has_token(self, request: Request) -> bool:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = request.headers.get(TOKEN_HEADER) or (bearer.strip() if scheme.lower() == "bearer" else "")
        return hmac.compare_digest(given.encode("latin-1"), self._token)

    def _route(self, request: Request) -> tuple[dict[str, Handler], str] | None:
        for pattern, methods in self._routes:
            if match := pattern.fullmatch(request.path):
                return methods, match[1] if pattern.groups else ""
        return None

    # --------------------------------------------------------------------------------------------------------- status

    def _status(self) -> dict[str, object]:
        settings = self._board.settings
        return status(settings.node, settings.release, self._board.limits, self._board.whole)

    def _get_status(self, request: Request, _: str) -> Response:
        body = json.dumps(self._status()).encode()
        etag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
        if request.headers.get("if-none-match") == etag:
            return Response(304, headers={"ETag": etag})
        return Response(200, body, headers={"ETag": etag})

    def _get_metrics(self, _: Request, __: str) -> Response:
        board = self._board
        whole = board.whole
        states = [image_status(image_id, whole)["state"] for image_id in board.keep]
        levels = Levels(
            used_bytes=whole.seen.used_bytes,
            limit_bytes=limit_bytes(board.limits, whole.seen),
            free_bytes=whole.seen.free_bytes,
            cached_images=len(whole.seen.images),
            hits=whole.hits,
            queue_length=len(whole.seen.queued),
            images={state: states.count(state) for state in STATES},
        )
        return Response(200, metrics(levels, board.counts).encode(), METRICS_TYPE)

    # ----------------------------------------------------------------------------------------------------------- sets

    def _put_set(self, request: Request, uid: str) -> Response:
        try:
            content = json.loads(request.body)
        except (ValueError, RecursionError):
            return refusal(400, "BadSet", "The body is no JSON.")
        new = parse_set(uid, content)
        self._board.sets.put(new)
        self._wake.up()
        # Who tells thousands of nodes what is wanted need not ask each of them again what follows from it.
        return json_response(200, {"revision": new.revision, "status": self._status()})

    def _delete_set(self, _: Request, uid: str) -> Response:
        was_there = self._board.sets.delete(uid)
        self._wake.up()
        return json_response(200, {"deleted": was_there})

    # ---------------------------------------------------------------------------------------------------------- cache

    def _get_cache(self, _: Request, __: str) -> Response:
        # What was listed before is an answer as well.
        with contextlib.suppress(NoAnswerYet, WorkFailed):
            self._supervisor.list()
        whole = self._board.whole
        rows = [row.to_json(image_id) for image_id, row in whole.rows.items() if image_id in whole.known.cached]
        queue = {image_id: image_status(image_id, whole) for image_id in whole.seen.queued}
        return json_response(200, {"cached": rows, "queued": list(whole.seen.queued), "queue": queue})

    def _delete_image(self, request: Request, image_id: str) -> Response:
        if image_id in self._board.keep and not _is_forced(request):
            return refusal(409, "Wanted", "The image is wanted on this node.")
        if self._supervisor.delete(image_id):
            return json_response(200, {"deleted": True})
        return refusal(404, "NotCached", "The image is not in the cache.")

    def _delete_cache(self, request: Request, _: str) -> Response:
        keep = frozenset() if _is_forced(request) else self._board.keep
        return json_response(200, {"deleted": self._supervisor.delete_all(keep)})

    # ---------------------------------------------------------------------------------------------------------- queue

    def _put_wish(self, _: Request, image_id: str) -> Response:
        queued = self._board.seen.queued
        if len(queued) >= MOST_QUEUED and image_id not in queued:
            return refusal(507, "QueueFull", f"The queue has {MOST_QUEUED} images.")
        if image_id not in self._board.known.cached:
            wish(self._board.settings.cache_dir, image_id)
            self._supervisor.hurry(image_id)
        return json_response(202, {"queued": True})

    def _delete_wish(self, _: Request, image_id: str) -> Response:
        was_there = drop_wish(self._board.settings.cache_dir, image_id)
        self._wake.up()
        return json_response(200, {"deleted": was_there})

    def _delete_queue(self, _: Request, __: str) -> Response:
        found = [drop_wish(self._board.settings.cache_dir, image_id) for image_id in self._board.seen.queued]
        self._wake.up()
        return json_response(200, {"deleted": sum(found)})


def _is_forced(request: Request) -> bool:
    return "force=true" in request.query.split("&")
