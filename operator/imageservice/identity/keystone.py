"""A small asynchronous client of the Keystone v3 API: a token, its roles, and the service catalogue.

Every answer is bounded in time and in size, redirects are not followed, and what goes wrong is an `IdentityError`
with a fixed reason. API: https://docs.openstack.org/api-ref/identity/v3/
"""

import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp

from imageservice.identity.errors import IdentityError, Reason
from imageservice.render.inputs import ApplicationCredential, Credentials, PasswordCredential
from imageservice.sensitive import Sensitive
from imageservice.status.masking import redact

ANSWER_LIMIT_BYTES = 4 * 1024 * 1024
"""The longest answer that is read. The entries of one service in a large cloud take some 100 KiB."""
EXPLANATION_LIMIT = 200
"""How many characters of Keystone's own explanation go into a message."""
TOKEN_HEADER = "X-Subject-Token"  # noqa: S105 - the name of a header

Json = dict[str, Any]


def api_root(auth_url: str) -> str:
    """Return the root of the v3 API, without a slash at its end, for an `authURL` written with or without `/v3`.

    Raises ValueError for what is no HTTP URL.
    """
    parts = urlsplit(auth_url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an HTTP URL")
    path = parts.path.rstrip("/")
    if not path.endswith("/v3"):
        path += "/v3"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def shown(url: str) -> str:
    """Return `url` as it may be shown: without user information, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


@asynccontextmanager
async def connect(auth_url: str, credentials: Credentials, *, timeout_seconds: float = 5) -> AsyncIterator["Keystone"]:
    """Authenticate at `auth_url` and give the client for as long as the context lasts.

    Each request may take `timeout_seconds`, connecting and reading included. Raises IdentityError.
    """
    # Without cookies, environment proxies and content codings: nothing that the answer of a server could widen.
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout_seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
    ) as session:
        try:
            root = api_root(auth_url)
        except ValueError as error:
            raise IdentityError(Reason.KEYSTONE_UNREACHABLE, "`spec.identity.authURL` is not an HTTP URL") from error
        transport = _Transport(session, root, timeout_seconds)
        yield await _authenticate(transport, credentials)


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Json:
        """Return the JSON object of the body; ValueError where there is none."""
        try:
            value = json.loads(self.body)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        if not isinstance(value, dict):
            raise ValueError("not an object")  # noqa: TRY004 - the content is wrong, not the program
        return value


class _Transport:
    """One HTTP exchange with Keystone, with what can go wrong on the wire turned into IdentityError."""

    def __init__(self, session: aiohttp.ClientSession, root: str, timeout_seconds: float) -> None:
        self._session = session
        self._root = root
        self._timeout_seconds = timeout_seconds
        self.where = shown(root)

    async def exchange(self, method: str, path: str, body: Json | None, headers: dict[str, str]) -> _Answer:
        try:
            async with self._session.request(
                method, self._root + path, json=body, headers=headers, allow_redirects=False
            ) as response:
                return _Answer(
                    response.status,
                    {name.title(): value for name, value in response.headers.items()},
                    await self._read(response),
                )
        except TimeoutError as error:
            raise self.unreachable(f"gave no answer within {self._timeout_seconds:g} s") from error
        except aiohttp.InvalidURL as error:
            raise self.unreachable("is no URL that can be connected to: see `spec.identity.authURL`") from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise self.unreachable("has a TLS certificate that is not trusted or not for this host") from error
        except aiohttp.ClientConnectorDNSError as error:
            raise self.unreachable("has a host name that cannot be resolved") from error
        except aiohttp.ClientSSLError as error:
            raise self.unreachable("does not speak TLS as expected: is the scheme of the URL right?") from error
        except aiohttp.ClientConnectorError as error:
            raise self.unreachable(f"cannot be connected to ({_system_reason(error)})") from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise self.unreachable("closed the connection before it had answered") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise self.refused("answered with something that is not proper HTTP") from error

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_chunked(64 * 1024):
            body += chunk
            if len(body) > ANSWER_LIMIT_BYTES:
                raise self.refused(f"sent an answer longer than {ANSWER_LIMIT_BYTES} bytes")
        return bytes(body)

    def unreachable(self, what: str) -> IdentityError:
        return IdentityError(Reason.KEYSTONE_UNREACHABLE, f"Keystone at {self.where} {what}")

    def refused(self, what: str) -> IdentityError:
        return IdentityError(Reason.KEYSTONE_REFUSED, f"Keystone at {self.where} {what}")


def _system_reason(error: aiohttp.ClientConnectorError) -> str:
    number = error.os_error.errno
    return os.strerror(number).lower() if number else type(error.os_error).__name__


async def _authenticate(transport: _Transport, credentials: Credentials) -> "Keystone":
    # `nocatalog` keeps the answer small. What Keystone explains here is never repeated: it may quote the request.
    answer = await transport.exchange("POST", "/auth/tokens?nocatalog", _auth_request(credentials), {})
    if answer.status == 401 or (isinstance(credentials, ApplicationCredential) and _not_found(answer)):
        raise IdentityError(
            Reason.CREDENTIALS_REFUSED, f"Keystone at {transport.where} refused {_refused_login(credentials)}"
        )
    if answer.status == 403:
        raise IdentityError(
            Reason.NOT_AUTHORIZED, f"Keystone at {transport.where} forbids this user to authenticate (HTTP 403)"
        )
    if answer.status != 201:
        raise _unexpected(transport, answer)
    try:
        roles = frozenset(str(role["name"]) for role in answer.json()["token"].get("roles", []))
        token = answer.headers[TOKEN_HEADER]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise transport.refused("answered without a token: is it a Keystone v3?") from error
    return Keystone(transport, Sensitive(token), _secret(credentials), roles)


def _secret(credentials: Credentials) -> Sensitive:
    return credentials.secret if isinstance(credentials, ApplicationCredential) else credentials.password


def _not_found(answer: _Answer) -> bool:
    """Tell whether Keystone itself says 404: for a login, an application credential that it does not know."""
    try:
        return answer.status == 404 and answer.json()["error"]["code"] == 404
    except (ValueError, KeyError, TypeError):
        return False


def _auth_request(credentials: Credentials) -> Json:
    if isinstance(credentials, ApplicationCredential):
        secret = {"id": credentials.id, "secret": credentials.secret.reveal()}
        return {"auth": {"identity": {"methods": ["application_credential"], "application_credential": secret}}}
    user = {
        "name": credentials.username,
        "domain": {"name": credentials.user_domain_name},
        "password": credentials.password.reveal(),
    }
    project = {"name": credentials.project_name, "domain": {"name": credentials.project_domain_name}}
    return {
        "auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": {"project": project}},
    }


def _refused_login(credentials: Credentials) -> str:
    if isinstance(credentials, PasswordCredential):
        return (
            "the login: check `username`, `password`, `project_name` and the domain names in the Secret, "
            "and that the user is enabled and has a role in that project"
        )
    return (
        "the application credential: check `application_credential_id` and `application_credential_secret` "
        "in the Secret, that it has not expired, and that its user is enabled"
    )


def _unexpected(transport: _Transport, answer: _Answer, request: str = "", explanation: str = "") -> IdentityError:
    """Return the error for a status that no rule knows; `request` is what was asked once logged in."""
    if 300 <= answer.status < 400:
        target = shown(answer.headers.get("Location", ""))[:EXPLANATION_LIMIT]
        return transport.refused(
            f"redirects (HTTP {answer.status}){' to ' + target if target else ''}: "
            "set `spec.identity.authURL` to the URL of Keystone itself"
        )
    if not request and answer.status < 500:
        return transport.refused(f"does not answer as a Keystone v3 does (HTTP {answer.status}): is this its URL?")
    to = f" to {request}" if request else ""
    return transport.refused(f"answered{to} with HTTP {answer.status}{explanation}")


class Keystone:
    """An authenticated session. Obtain it from `connect`; every method raises IdentityError."""

    def __init__(self, transport: _Transport, token: Sensitive, secret: Sensitive, roles: frozenset[str]) -> None:
        self._transport = transport
        self._token = token
        self._confidential = (token, secret)
        self.roles = roles
        """The names of the roles in the token, implied ones included."""

    @property
    def where(self) -> str:
        """The root of the API as it may be shown."""
        return self._transport.where

    async def services(self, service_type: str) -> list[Json]:
        """Return the services of one type, as Keystone keeps them."""
        return await self._list("services", f"/services?type={quote(service_type)}")

    async def endpoints(self, service_id: str) -> list[Json]:
        """Return the endpoints of one service, in all regions."""
        return await self._list("endpoints", f"/endpoints?service_id={quote(service_id)}")

    async def region_exists(self, region: str) -> bool:
        """Tell whether the region is known."""
        path = f"/regions/{quote(region, safe='')}"
        answer = await self._exchange("GET", path)
        if answer.status == 404:
            return False
        self._expect(answer, 200, "GET", path)
        return True

    async def create(self, kind: str, attributes: Json) -> Json:
        """Create a `service`, `endpoint` or `region` and return it."""
        path = f"/{kind}s"
        answer = await self._exchange("POST", path, {kind: attributes})
        self._expect(answer, 201, "POST", path)
        return self._member(answer, kind)

    async def update(self, kind: str, entry_id: str, attributes: Json) -> None:
        """Change some attributes of a `service` or `endpoint`."""
        path = f"/{kind}s/{quote(entry_id, safe='')}"
        answer = await self._exchange("PATCH", path, {kind: attributes})
        self._expect(answer, 200, "PATCH", path)

    async def delete(self, kind: str, entry_id: str) -> None:
        """Delete a `service` (with all its endpoints) or an `endpoint`. One that is gone already is fine."""
        path = f"/{kind}s/{quote(entry_id, safe='')}"
        answer = await self._exchange("DELETE", path)
        if answer.status != 404:
            self._expect(answer, 204, "DELETE", path)

    async def _list(self, collection: str, path: str) -> list[Json]:
        answer = await self._exchange("GET", path)
        self._expect(answer, 200, "GET", path)
        found = self._content(answer)
        entries = found.get(collection)
        if not isinstance(entries, list) or not all(_has_id(entry) for entry in entries):
            raise self._transport.refused(f"answered GET {path} with something that is not a list of {collection}")
        if found.get("truncated"):
            # Deciding on a part of the list would create what is already there, again and again.
            raise self._transport.refused(f"shortened its list of {collection}: raise its option `list_limit`")
        return entries

    async def _exchange(self, method: str, path: str, body: Json | None = None) -> _Answer:
        return await self._transport.exchange(method, path, body, {"X-Auth-Token": self._token.reveal()})

    def _expect(self, answer: _Answer, status: int, method: str, path: str) -> None:
        if answer.status == status:
            return
        if answer.status == 401:
            raise IdentityError(Reason.CREDENTIALS_REFUSED, f"Keystone at {self.where} no longer accepts the token")
        if answer.status == 403:
            raise IdentityError(
                Reason.NOT_AUTHORIZED,
                f"Keystone at {self.where} forbids {method} {path} (HTTP 403): the user in the Secret of "
                "`spec.identity.catalog` needs the role `admin`",
            )
        raise _unexpected(self._transport, answer, f"{method} {path}", self._explanation(answer))

    def _explanation(self, answer: _Answer) -> str:
        """Return what Keystone says about the failure: one line, short, printable, without token and password."""
        try:
            text = str(answer.json()["error"]["message"])
        except (ValueError, KeyError, TypeError):
            return ""
        text = re.sub(r"\s+", " ", redact(text, self._confidential))
        text = "".join(character for character in text if character.isprintable()).strip()
        return f": {text[:EXPLANATION_LIMIT]}" if text else ""

    def _content(self, answer: _Answer) -> Json:
        try:
            return answer.json()
        except ValueError as error:
            raise self._transport.refused("answered with something that is not a JSON object") from error

    def _member(self, answer: _Answer, kind: str) -> Json:
        entry = self._content(answer).get(kind)
        if not _has_id(entry):
            raise self._transport.refused(f"did not return the {kind} that it created")
        assert isinstance(entry, dict)  # noqa: S101 - what _has_id has shown
        return entry


def _has_id(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("id"), str)
