"""References -> values: what is taken, what is refused and how, and that nothing secret is said."""

import pytest
from tests.unit.reconcile.world import secret

from imageservice.api.v1alpha1 import DatabaseSecretReference
from imageservice.errors import Blocked
from imageservice.reconcile import resolve
from imageservice.render.inputs import ApplicationCredential, PasswordCredential

REFERENCE = DatabaseSecretReference(name="db")


def blocked(call, *arguments):
    with pytest.raises(Blocked) as caught:
        call(*arguments)
    return caught.value


@pytest.mark.parametrize(
    "url", ["mysql+pymysql://g:p%40ss@db:3306/glance", "postgresql+psycopg2://g:p@[::1]/glance?sslmode=require"]
)
def test_a_database_url_is_taken_as_it_is_but_for_a_line_end(url):
    assert resolve.database_url(REFERENCE, secret("db", url=url + "\n")).reveal() == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:////tmp/hunter2", "InvalidDatabaseURL"),
        ("mysql://g:hunter2@db/glance", "InvalidDatabaseURL"),
        ("mysql+pymysql://g:hunter2@/glance", "InvalidDatabaseURL"),
        ("mysql+pymysql://g:hunter2@db/", "InvalidDatabaseURL"),
        ("mysql+pymysql://g:hunter2@db:port/glance", "InvalidDatabaseURL"),
        ("mysql+pymysql://g:hunter2@[db/glance", "InvalidDatabaseURL"),
        ("mysql+pymysql://g:hunter2@db/glance\n[DEFAULT]\ndebug=true", "InvalidCredentials"),
        ("", "SecretKeyMissing"),
    ],
)
def test_a_wrong_database_url_is_refused_without_being_shown(url, reason):
    refusal = blocked(resolve.database_url, REFERENCE, secret("db", url=url))
    assert refusal.reason == reason
    assert "hunter2" not in str(refusal)
    assert "`db`" in refusal.message


def test_a_missing_secret_and_a_missing_key_are_two_things():
    assert blocked(resolve.database_url, REFERENCE, None).reason == "SecretNotFound"
    missing = blocked(resolve.database_url, REFERENCE, secret("db", other="x"))
    assert (missing.reason, "`url`" in missing.message) == ("SecretKeyMissing", True)


def test_both_shapes_of_credentials_are_found_by_their_keys():
    application = secret("c", application_credential_id="i", application_credential_secret="s", username="ignored")
    password = secret("c", username="u", password="p", project_name="service", user_domain_name="ops")
    assert resolve.credentials("c", application, "f") == ApplicationCredential("i", resolve.Sensitive("s"))
    assert resolve.credentials("c", password, "f") == PasswordCredential(
        "u", resolve.Sensitive("p"), "service", user_domain_name="ops"
    )


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"username": "u", "password": "p"}, "project_name"),
        ({"password": "p", "project_name": "x"}, "username"),
        ({"foo": "bar"}, "application_credential_id"),
        ({"application_credential_id": "i"}, "application_credential_secret"),
    ],
)
def test_an_incomplete_credential_names_the_key_that_is_missing(values, key):
    refusal = blocked(resolve.credentials, "c", secret("c", **values), "spec.identity.secretRef")
    assert refusal.reason == "SecretKeyMissing"
    assert f"`{key}`" in refusal.message


def test_bytes_that_are_no_text_are_refused():
    odd = {"metadata": {"name": "db"}, "data": {"url": "/////w=="}}
    assert blocked(resolve.database_url, REFERENCE, odd).reason == "InvalidCredentials"


def test_what_is_masked_is_the_confidential_part_alone():
    values = {
        value.reveal()
        for value in [
            *resolve.confidential(secret("db", url="mysql+pymysql://glance:p%40ss@db/glance")),
            *resolve.confidential(secret("u", username="glance", password="hunter2", project_name="service")),
            *resolve.confidential(None),
        ]
    }
    assert values == {"mysql+pymysql://glance:p%40ss@db/glance", "p%40ss", "p@ss", "hunter2"}
