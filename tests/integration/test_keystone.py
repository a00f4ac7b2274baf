"""The client, the service user's check and the catalogue against a real Keystone, and against everything but one."""

import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.keystone import REGION, KeystoneServer
from tests.ports import free_port

from imageservice.identity.catalog import CatalogEntry, Owner
from imageservice.identity.errors import IdentityError, Reason
from imageservice.identity.keystone import ANSWER_LIMIT_BYTES, connect
from imageservice.identity.recent import Recent
from imageservice.identity.registration import CatalogState, ensure_catalog, remove_catalog
from imageservice.identity.service_user import check_service_user
from imageservice.render.inputs import ApplicationCredential, Credentials, PasswordCredential
from imageservice.sensitive import Sensitive

OWNER = Owner("11111111-1111-4111-8111-111111111111", "images/glance")
OTHER = Owner("22222222-2222-4222-8222-222222222222", "images/other")
PUBLIC = CatalogEntry("public", REGION, "https://image.example")
INTERNAL = CatalogEntry("internal", REGION, "http://glance-api.images.svc.cluster.local:9292")
WANTED = (PUBLIC, INTERNAL)
SECRET = "planted-secret-8b1f"
NOBODY = PasswordCredential("nobody", Sensitive(SECRET), "service")


@pytest.fixture
def catalog(keystone: KeystoneServer) -> Iterator[KeystoneServer]:
    """Keystone with no image service in its catalogue."""
    keystone.empty_the_catalog()
    yield keystone
    keystone.empty_the_catalog()


async def ensure(server: KeystoneServer, *wanted: CatalogEntry, owner: Owner = OWNER) -> CatalogState:
    """Register without remembering anything."""
    return await ensure_catalog(server.auth_url, server.admin, wanted or WANTED, owner, recent=Recent())


async def refused(call: Awaitable[object]) -> IdentityError:
    """Return the error that the call must end with, after a look that it tells no secret."""
    with pytest.raises(IdentityError) as caught:
        await call
    assert SECRET not in f"{caught.value!r} {caught.value}"
    return caught.value


async def check(auth_url: str, credentials: Credentials) -> None:
    await check_service_user(auth_url, credentials, recent=Recent())


# The service user


@pytest.mark.parametrize("suffix", ["", "/", "/v3", "/v3/"])
async def test_the_service_user_is_good_with_and_without_v3_in_the_url(keystone: KeystoneServer, suffix: str) -> None:
    async with connect(keystone.root_url + suffix, keystone.service_user) as session:
        assert session.roles == {"service"}
    await check(keystone.root_url + suffix, keystone.service_user)


async def test_an_application_credential_with_the_service_role_is_good(keystone: KeystoneServer) -> None:
    credential = keystone.create_application_credential(keystone.service_user, "good", "service")
    await check(keystone.auth_url, credential)


async def test_a_user_without_the_service_role_is_told_how_to_mend_it(keystone: KeystoneServer) -> None:
    user = keystone.create_user("plain", SECRET, "service", "member")
    error = await refused(check(keystone.auth_url, user))
    assert error.reason == Reason.ROLE_MISSING
    assert "openstack role add --user plain --project service service" in error.message
    assert "member, reader" in error.message


async def test_an_application_credential_without_the_service_role_is_told(keystone: KeystoneServer) -> None:
    user = keystone.create_user("half", SECRET, "service", "member", "service")
    credential = keystone.create_application_credential(user, "half", "member")
    error = await refused(check(keystone.auth_url, credential))
    assert error.reason == Reason.ROLE_MISSING
    assert "new application credential" in error.message


@pytest.mark.parametrize(
    "credentials",
    [
        NOBODY,
        PasswordCredential("glance", Sensitive(SECRET), "service"),
        PasswordCredential("glance", Sensitive("glance-password"), "no-such-project"),
        PasswordCredential("glance", Sensitive("glance-password"), "service", user_domain_name="nowhere"),
        ApplicationCredential("0" * 32, Sensitive(SECRET)),
    ],
    ids=["user", "password", "project", "domain", "application credential"],
)
async def test_wrong_credentials_are_refused_and_not_shown(keystone: KeystoneServer, credentials: Credentials) -> None:
    error = await refused(check(keystone.auth_url, credentials))
    assert error.reason == Reason.CREDENTIALS_REFUSED
    assert keystone.auth_url in error.message


async def test_a_good_service_user_is_asked_for_once(keystone: KeystoneServer) -> None:
    recent: Recent[None] = Recent()
    async with counting_proxy(keystone) as (auth_url, requests):
        for _ in range(20):
            await check_service_user(auth_url, keystone.service_user, recent=recent)
        assert requests == ["POST /v3/auth/tokens?nocatalog"]


# The catalogue


async def test_an_empty_catalogue_is_filled_and_users_find_the_service(catalog: KeystoneServer) -> None:
    state = await ensure(catalog)
    (service,) = catalog.image_services()
    assert (state.service_id, service["name"], service["enabled"]) == (service["id"], "glance", True)
    assert catalog.catalog_of_a_user() == {(REGION, "public"): [PUBLIC.url], (REGION, "internal"): [INTERNAL.url]}
    assert len(state.changes) == 3


async def test_a_right_catalogue_is_read_and_not_written(catalog: KeystoneServer) -> None:
    before = await ensure(catalog)
    async with counting_proxy(catalog) as (auth_url, requests):
        state = await ensure_catalog(auth_url, catalog.admin, WANTED, OWNER, recent=Recent())
    assert state == CatalogState(before.service_id, ())
    assert [request.split()[0] for request in requests] == ["POST", "GET", "GET"]


async def test_idle_loops_do_not_ask_keystone(catalog: KeystoneServer) -> None:
    recent: Recent[str] = Recent()
    async with counting_proxy(catalog) as (auth_url, requests):
        states = [await ensure_catalog(auth_url, catalog.admin, WANTED, OWNER, recent=recent) for _ in range(20)]
    assert [len(state.changes) for state in states] == [3] + [0] * 19
    assert len({state.service_id for state in states}) == 1
    # Log in, list services; create the service, look for the region, two endpoints; list services and endpoints again.
    assert len(requests) == 8


async def test_an_edited_url_is_repaired(catalog: KeystoneServer) -> None:
    await ensure(catalog)
    before = catalog.endpoints()
    for entry in before:
        catalog.call("PATCH", f"/endpoints/{entry['id']}", {"endpoint": {"url": "http://wrong"}})
    assert len((await ensure(catalog)).changes) == 2
    assert catalog.endpoints() == before


async def test_a_new_url_in_the_spec_changes_the_endpoint_in_place(catalog: KeystoneServer) -> None:
    await ensure(catalog)
    before = catalog.endpoints()
    await ensure(catalog, CatalogEntry("public", REGION, "https://moved.example"), INTERNAL)
    assert catalog.catalog_of_a_user()[REGION, "public"] == ["https://moved.example"]
    assert [entry["id"] for entry in catalog.endpoints()] == [entry["id"] for entry in before]


async def test_disabled_entries_are_enabled(catalog: KeystoneServer) -> None:
    await ensure(catalog)
    before = catalog.image_services(), catalog.endpoints()
    for entry in catalog.endpoints():
        catalog.call("PATCH", f"/endpoints/{entry['id']}", {"endpoint": {"enabled": False}})
    for service in catalog.image_services():
        catalog.call("PATCH", f"/services/{service['id']}", {"service": {"enabled": False}})
    assert catalog.catalog_of_a_user() == {}
    await ensure(catalog)
    assert (catalog.image_services(), catalog.endpoints()) == before


@pytest.mark.parametrize("lost", ["endpoints", "services"])
async def test_deleted_entries_are_made_again(catalog: KeystoneServer, lost: str) -> None:
    await ensure(catalog)
    for entry in catalog.endpoints() if lost == "endpoints" else catalog.image_services():
        catalog.call("DELETE", f"/{lost}/{entry['id']}")
    await ensure(catalog)
    assert catalog.catalog_of_a_user() == {(REGION, "public"): [PUBLIC.url], (REGION, "internal"): [INTERNAL.url]}


async def test_a_duplicate_of_ours_is_removed(catalog: KeystoneServer) -> None:
    await ensure(catalog)
    before = catalog.endpoints()
    copies = [{key: value for key, value in entry.items() if key not in ("id", "links")} for entry in before]
    for copy in copies:
        catalog.call("POST", "/endpoints", {"endpoint": copy})
    await ensure(catalog)
    assert len(catalog.endpoints()) == 2
    assert len(catalog.catalog_of_a_user()) == 2


async def test_a_second_region_is_created_and_shares_the_service(catalog: KeystoneServer) -> None:
    first = await ensure(catalog)
    before = catalog.endpoints()
    second = CatalogEntry("public", "RegionTwo", "https://two.example")
    state = await ensure(catalog, second, owner=OTHER)
    assert state.service_id == first.service_id
    assert "created region RegionTwo" in state.changes
    assert catalog.catalog_of_a_user()["RegionTwo", "public"] == ["https://two.example"]
    assert [entry for entry in catalog.endpoints() if entry["region_id"] == REGION] == before


async def test_two_first_registrations_at_once_make_one_service(catalog: KeystoneServer) -> None:
    second = CatalogEntry("public", "RegionTwo", "https://two.example")
    states = await asyncio.gather(ensure(catalog), ensure(catalog, second, owner=OTHER))
    assert len({state.service_id for state in states}) == 1
    assert len(catalog.image_services()) == 1
    assert len(catalog.endpoints()) == 3


async def test_two_processes_that_register_at_once_leave_nothing_twice(catalog: KeystoneServer) -> None:
    async def register(auth_url: str) -> CatalogState:
        with contextlib.suppress(IdentityError):  # the other took away what this one had just made: it tries again
            return await ensure_catalog(auth_url, catalog.admin, WANTED, OWNER, recent=Recent())
        return await ensure_catalog(auth_url, catalog.admin, WANTED, OWNER, recent=Recent())

    # At different addresses they do not wait for each other.
    async with counting_proxy(catalog) as (other_url, _):
        await asyncio.gather(register(catalog.auth_url), register(other_url))
    assert len(catalog.image_services()) == 1
    assert len(catalog.endpoints()) == len(WANTED)


async def test_an_endpoint_of_somebody_else_is_a_conflict_and_stays_as_it_is(catalog: KeystoneServer) -> None:
    service = catalog.call("POST", "/services", {"service": {"type": "image", "name": "glance"}})["service"]
    theirs = {"service_id": service["id"], "region_id": REGION, "interface": "public", "url": "http://theirs"}
    entry = catalog.call("POST", "/endpoints", {"endpoint": theirs})["endpoint"]
    error = await refused(ensure(catalog))
    assert error.reason == Reason.ENDPOINT_CONFLICT
    assert entry["id"] in error.message
    assert "http://theirs" in error.message
    assert catalog.endpoints() == [entry]


async def test_removal_takes_out_ours_alone_and_the_service_with_the_last(catalog: KeystoneServer) -> None:
    await ensure(catalog)
    await ensure(catalog, CatalogEntry("public", "RegionTwo", "https://two.example"), owner=OTHER)
    assert len(await remove_catalog(catalog.auth_url, catalog.admin, OWNER)) == 2
    assert [entry["region_id"] for entry in catalog.endpoints()] == ["RegionTwo"]
    assert len(await remove_catalog(catalog.auth_url, catalog.admin, OTHER)) == 2
    assert catalog.image_services() == []
    assert await remove_catalog(catalog.auth_url, catalog.admin, OWNER) == []


async def test_a_registration_after_a_removal_is_not_taken_as_done(catalog: KeystoneServer) -> None:
    for _ in range(2):
        state = await ensure_catalog(catalog.auth_url, catalog.admin, WANTED, OWNER)
        assert len(state.changes) == 3
        await remove_catalog(catalog.auth_url, catalog.admin, OWNER)


async def test_a_user_who_may_not_edit_the_catalogue_is_told_which_role_it_takes(catalog: KeystoneServer) -> None:
    error = await refused(ensure_catalog(catalog.auth_url, catalog.service_user, WANTED, OWNER, recent=Recent()))
    assert error.reason == Reason.NOT_AUTHORIZED
    assert "needs the role `admin`" in error.message


async def test_an_application_credential_of_an_administrator_registers(catalog: KeystoneServer) -> None:
    credential = catalog.create_application_credential(catalog.admin, "catalogue", "admin")
    state = await ensure_catalog(catalog.auth_url, credential, WANTED, OWNER, recent=Recent())
    assert state.service_id == catalog.image_services()[0]["id"]


async def test_a_url_that_keystone_refuses_is_told_in_its_words(catalog: KeystoneServer) -> None:
    error = await refused(ensure(catalog, CatalogEntry("public", REGION, "http://%(oops)s")))
    assert error.reason == Reason.KEYSTONE_REFUSED
    assert "HTTP 400: Cannot create an endpoint with an invalid URL" in error.message


# Everything but a Keystone

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server on loopback that answers each connection with `answer`; gives its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await answer(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v3"
    finally:
        server.close()


@contextlib.asynccontextmanager
async def counting_proxy(keystone: KeystoneServer) -> AsyncIterator[tuple[str, list[str]]]:
    """Pass requests on to the real Keystone; gives the URL to use and the list of request lines seen."""
    requests: list[str] = []
    port = int(keystone.root_url.rpartition(":")[2])

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool) -> None:
        while data := await reader.read(64 * 1024):
            if count and data.split(b" ")[0] in (b"GET", b"POST", b"PATCH", b"PUT", b"DELETE"):
                requests.append(data.split(b" HTTP/")[0].decode())
            writer.write(data)
            await writer.drain()
        writer.close()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, back_writer, count=True), copy(back_reader, writer, count=False))

    async with listening(answer) as url:
        yield url, requests


def saying(*parts: bytes) -> Answer:
    """Read the request, then send the parts."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()

    return answer


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("answer", [hanging, dripping])
async def test_a_hanging_keystone_is_given_up_in_time(answer: Answer) -> None:
    async with listening(answer) as url:
        started = time.monotonic()

        async def log_in() -> None:
            async with connect(url, NOBODY, timeout_seconds=0.5):
                pass

        error = await refused(log_in())
        assert time.monotonic() - started < 3
    assert (error.reason, error.message.endswith("gave no answer within 0.5 s")) == (Reason.KEYSTONE_UNREACHABLE, True)


TOKEN = http("201 Created", b'{"token": {"roles": []}}', "X-Subject-Token: " + SECRET)


@pytest.mark.parametrize(
    ("answer", "reason", "told"),
    [
        (saying(), Reason.KEYSTONE_UNREACHABLE, "closed the connection"),
        (saying(b"220 mail.example ESMTP\r\n"), Reason.KEYSTONE_REFUSED, "not proper HTTP"),
        (saying(http("500 Internal Server Error", SECRET.encode())), Reason.KEYSTONE_REFUSED, "HTTP 500"),
        (saying(http("503 Service Unavailable")), Reason.KEYSTONE_REFUSED, "HTTP 503"),
        (saying(http("404 Not Found")), Reason.KEYSTONE_REFUSED, "does not answer as a Keystone v3 does"),
        (saying(http("200 OK", b"<html>")), Reason.KEYSTONE_REFUSED, "does not answer as a Keystone v3 does"),
        (saying(http("201 Created", b"<html>")), Reason.KEYSTONE_REFUSED, "without a token"),
        (saying(http("201 Created", b"[" * 100_000)), Reason.KEYSTONE_REFUSED, "without a token"),
        (saying(http("201 Created", b'{"token": {"roles": [7]}}')), Reason.KEYSTONE_REFUSED, "without a token"),
        (saying(http("201 Created", b'{"token": {}}')), Reason.KEYSTONE_REFUSED, "without a token"),
        (
            saying(http("302 Found", b"", f"Location: https://a:{SECRET}@sso.example/login?t={SECRET}")),
            Reason.KEYSTONE_REFUSED,
            "to https://sso.example/login: set `spec.identity.authURL`",
        ),
        (
            saying(b"HTTP/1.1 201 Created\r\n\r\n", *[b"x" * 65536] * (ANSWER_LIMIT_BYTES // 65536 + 1)),
            Reason.KEYSTONE_REFUSED,
            f"longer than {ANSWER_LIMIT_BYTES} bytes",
        ),
        (saying(http("403 Forbidden")), Reason.NOT_AUTHORIZED, "forbids this user to authenticate"),
        (saying(TOKEN), Reason.ROLE_MISSING, "has none"),
    ],
)
async def test_what_is_no_keystone_is_told_as_what_it_is(answer: Answer, reason: Reason, told: str) -> None:
    async with listening(answer) as url:
        error = await refused(check(url, NOBODY))
    assert error.reason == reason
    assert told in error.message


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<html>", "not a JSON object"),
        (b'{"services": {}}', "not a list of services"),
        (b'{"services": [{"name": "glance"}]}', "not a list of services"),
        (b'{"services": [], "truncated": true}', "raise its option `list_limit`"),
    ],
)
async def test_a_catalogue_that_cannot_be_read_whole_is_not_written_to(body: bytes, told: str) -> None:
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await reader.readuntil(b"\r\n\r\n")).split(b" HTTP/")[0])
        writer.write(TOKEN if requests[-1].startswith(b"POST /v3/auth") else http("200 OK", body))
        await writer.drain()

    async with listening(answer) as url:
        error = await refused(ensure_catalog(url, NOBODY, WANTED, OWNER, recent=Recent()))
    assert error.reason == Reason.KEYSTONE_REFUSED
    assert told in error.message
    assert requests == [b"POST /v3/auth/tokens?nocatalog", b"GET /v3/services?type=image"]


async def test_an_explanation_that_repeats_the_token_is_redacted() -> None:
    echo = f'{{"error": {{"message": "bad\\ntoken {SECRET}\\u0000"}}}}'.encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(TOKEN if request.startswith(b"POST /v3/auth") else http("400 Bad Request", echo))
        await writer.drain()

    async with listening(answer) as url:
        error = await refused(ensure_catalog(url, NOBODY, WANTED, OWNER, recent=Recent()))
    assert error.message.endswith("HTTP 400: bad token ***")


@pytest.mark.parametrize(
    ("auth_url", "told"),
    [
        ("http://127.0.0.1:{free}/v3", "connection refused"),
        ("https://127.0.0.1:{keystone}/v3", "does not speak TLS"),
        ("http://keystone.invalid/v3", "host name that cannot be resolved"),
        ("ftp://127.0.0.1/v3", "is not an HTTP URL"),
        ("http://[oops/v3", "is not an HTTP URL"),
        ("http://user:" + SECRET + "@127.0.0.1:{free}/v3", "connection refused"),
    ],
)
async def test_an_unreachable_keystone_is_told_with_its_cause(
    keystone: KeystoneServer, auth_url: str, told: str
) -> None:
    url = auth_url.replace("{free}", str(free_port())).replace("{keystone}", keystone.root_url.rpartition(":")[2])
    error = await refused(check(url, NOBODY))
    assert error.reason == Reason.KEYSTONE_UNREACHABLE
    assert told in error.message


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that only itself vouches for, with its key in the same file."""
    file = tmp_path / "keystone.pem"
    subject = ["-subj", "/CN=keystone", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", file, "-out", tmp_path / "cert"]
    subprocess.run([*command, *subject], check=True, capture_output=True, timeout=30)
    file.write_text(file.read_text() + (tmp_path / "cert").read_text())
    return file


ASK = """
import asyncio, sys
from imageservice.identity.errors import IdentityError
from imageservice.identity.service_user import check_service_user
from imageservice.render.inputs import PasswordCredential
from imageservice.sensitive import Sensitive
try:
    asyncio.run(check_service_user(sys.argv[1], PasswordCredential("a", Sensitive("b"), "c")))
except IdentityError as error:
    print(error)
"""


@pytest.mark.parametrize(("trusted", "told"), [(False, "KeystoneUnreachable"), (True, "RoleMissing")])
async def test_a_private_authority_is_trusted_where_its_certificate_is_named(
    certificate: Path, trusted: bool, told: str
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    environment = {**os.environ, **({"SSL_CERT_FILE": str(certificate)} if trusted else {})}
    async with listening(saying(TOKEN), context) as url:
        asking = await asyncio.create_subprocess_exec(
            sys.executable, "-c", ASK, url, env=environment, stdout=asyncio.subprocess.PIPE
        )
        answer, _ = await asyncio.wait_for(asking.communicate(), timeout=30)
    assert answer.decode().startswith(told)
    assert trusted or "not trusted" in answer.decode()
