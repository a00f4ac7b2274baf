"""Options and account file of a store in Swift (driver `swift`).

The account is always in a file of its own (swift_store_config_file), never in options: with options, Glance writes user
and password into the location of every image in its database, and no image could be read after the password changes.
"""

from imageservice.render.inputs import ApplicationCredential, StoreInputs
from imageservice.render.stores.members import keystone_credentials, swift_of
from imageservice.render.stores.paths import DRIVER_FILES_DIR, conf_name
from imageservice.render.stores.values import ENDPOINT_TYPES, boolean


def section(store: StoreInputs) -> dict[str, str]:
    """Return the options of the section. The account is called like the store: one table of Glance has all of them."""
    swift = swift_of(store)
    return {
        "swift_store_config_file": f"{DRIVER_FILES_DIR}/{conf_name(store.store_id)}",
        "default_swift_reference": store.store_id,
        "swift_store_container": swift.container,
        "swift_store_create_container_on_put": boolean(swift.create_container),
        **({"swift_store_region": swift.region} if swift.region else {}),
        "swift_store_endpoint_type": ENDPOINT_TYPES[swift.endpoint_type],
        "swift_store_large_object_size": str(swift.large_object_size),
        "swift_store_large_object_chunk_size": str(swift.large_object_chunk_size),
    }


def files(store: StoreInputs) -> dict[str, str]:
    """Return the account file.

    `auth_version` is said in it: in 2025.1 the driver asks Keystone for its version 2 otherwise.
    """
    credentials = keystone_credentials(store)
    options = {"auth_address": swift_of(store).auth_url}
    if isinstance(credentials, ApplicationCredential):
        options |= {
            "application_credential_id": credentials.id,
            "application_credential_secret": credentials.secret.reveal(),
        }
    else:
        options |= {
            "user": f"{credentials.project_name}:{credentials.username}",
            "key": credentials.password.reveal(),
            "user_domain_name": credentials.user_domain_name,
            "project_domain_name": credentials.project_domain_name,
        }
    lines = [f"{name} = {account_value(value)}" for name, value in options.items()]
    return {conf_name(store.store_id): "\n".join([f"[{store.store_id}]", "auth_version = 3", *lines]) + "\n"}


def account_value(value: str) -> str:
    """Return what to write so that the driver reads `value`.

    The driver reads the file with Python's configparser, which takes `%` for the start of a reference, and then takes
    away one pair of quotes. Raises ValueError, without the value, for text that is not one line.
    """
    if not value.isprintable():
        raise ValueError("a value of the account file is not a single line of text")
    return f'"{value.replace("%", "%%")}"'


def unescaped(text: str) -> str:
    """Return what `account_value` was given, from what it has returned without the quotes."""
    return text.replace("%%", "%")
