"""Whether the user that Glance runs as can log in, and has the role that Glance needs."""

from imageservice.identity.errors import IdentityError, Reason
from imageservice.identity.keystone import connect
from imageservice.identity.recent import Recent, key_of
from imageservice.render.inputs import ApplicationCredential, Credentials

SERVICE_ROLE = "service"
"""What keystonemiddleware (`service_token_roles`) and Glance's policies ask of a service that speaks for users."""

_CHECKED: Recent[None] = Recent()


async def check_service_user(auth_url: str, credentials: Credentials, *, recent: Recent[None] = _CHECKED) -> None:
    """Log in as the service user and look for the role `service`; raise IdentityError where either fails.

    The outcome is remembered for a while (`recent.py`), so this may be called in every reconcile.
    """

    async def ask() -> None:
        async with connect(auth_url, credentials) as keystone:
            if SERVICE_ROLE not in {role.lower() for role in keystone.roles}:
                raise IdentityError(Reason.ROLE_MISSING, _role_missing(credentials, keystone.roles))

    await recent.get(key_of(auth_url, credentials), ask)


def _role_missing(credentials: Credentials, roles: frozenset[str]) -> str:
    has = f"it has {', '.join(sorted(roles))[:200]}" if roles else "it has none"
    if isinstance(credentials, ApplicationCredential):
        return (
            f"the application credential lacks the role `{SERVICE_ROLE}` ({has}): give its user the role in the "
            f"project, then make a new application credential (`openstack application credential create --role "
            f"{SERVICE_ROLE} ...`) and put it into the Secret"
        )
    return (
        f"the user {credentials.username} lacks the role `{SERVICE_ROLE}` in the project {credentials.project_name} "
        f"({has}): run `openstack role add --user {credentials.username} --project {credentials.project_name} "
        f"{SERVICE_ROLE}`"
    )
