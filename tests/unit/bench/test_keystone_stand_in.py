"""The stand-in answers the operator's own client as Keystone does."""

import pytest
from tests.keystone_stand_in import running

from imageservice.identity.catalog import CatalogEntry, Owner
from imageservice.identity.errors import IdentityError, Reason
from imageservice.identity.recent import Recent
from imageservice.identity.registration import ensure_catalog, remove_catalog
from imageservice.identity.service_user import check_service_user
from imageservice.render.inputs import ApplicationCredential, PasswordCredential
from imageservice.sensitive import Sensitive

OWNER = Owner("uid-1", "default/glance")
WANTED = [CatalogEntry("public", "Elsewhere", "https://image.example")]


@pytest.fixture(scope="module")
def keystone():
    with running() as server:
        yield server


async def reason_of(awaitable):
    with pytest.raises(IdentityError) as caught:
        await awaitable
    return caught.value.reason


async def test_the_service_user_may_log_in(keystone):
    await check_service_user(keystone.auth_url, keystone.service_user, recent=Recent())


async def test_an_application_credential_may_log_in_with_its_own_secret_only(keystone):
    good = keystone.create_application_credential(keystone.service_user, "good", "service")
    await check_service_user(keystone.auth_url, good, recent=Recent())
    for bad in (
        ApplicationCredential(good.id, Sensitive("guess")),
        ApplicationCredential("guess", Sensitive(good.secret.reveal())),
    ):
        refused = check_service_user(keystone.auth_url, bad, recent=Recent())
        assert await reason_of(refused) == Reason.CREDENTIALS_REFUSED


@pytest.mark.parametrize(
    "wrong",
    [
        PasswordCredential("glance", Sensitive("guess"), "service"),
        PasswordCredential("nobody", Sensitive("glance-password"), "service"),
        PasswordCredential("glance", Sensitive("glance-password"), "admin"),
    ],
    ids=["password", "user", "project"],
)
async def test_a_wrong_login_is_refused(keystone, wrong):
    refused = check_service_user(keystone.auth_url, wrong, recent=Recent())
    assert await reason_of(refused) == Reason.CREDENTIALS_REFUSED


async def test_a_user_without_the_role_service_is_told_so(keystone):
    user = keystone.create_user("member", "member-password", "service", "member")
    assert await reason_of(check_service_user(keystone.auth_url, user, recent=Recent())) == Reason.ROLE_MISSING


async def test_the_catalogue_is_for_administrators(keystone):
    refused = ensure_catalog(keystone.auth_url, keystone.service_user, WANTED, OWNER, recent=Recent())
    assert await reason_of(refused) == Reason.NOT_AUTHORIZED


async def test_a_registration_is_kept_shown_and_taken_out_again(keystone):
    state = await ensure_catalog(keystone.auth_url, keystone.admin, WANTED, OWNER, recent=Recent())
    assert len(state.changes) == 3  # the region, the service, the endpoint
    again = await ensure_catalog(keystone.auth_url, keystone.admin, WANTED, OWNER, recent=Recent())
    assert again.changes == ()
    assert keystone.catalog_of_a_user() == {("Elsewhere", "public"): ["https://image.example"]}
    await remove_catalog(keystone.auth_url, keystone.admin, OWNER, recent=Recent())
    assert keystone.image_services() == []


async def test_clouds_know_nothing_of_each_other(keystone):
    await ensure_catalog(keystone.cloud("one"), keystone.admin, WANTED, OWNER, recent=Recent())
    other = await ensure_catalog(
        keystone.cloud("two"), keystone.admin, WANTED, Owner("uid-2", "default/other"), recent=Recent()
    )
    assert len(other.changes) == 3
