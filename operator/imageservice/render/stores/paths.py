"""Where the pods have the stores' directories and the files with their credentials."""

STORES_DIR = "/var/lib/glance/stores"
DRIVER_FILES_DIR = "/etc/image-service-stores"
"""Files that a driver reads itself: ceph.conf and keyring, account file of Swift."""
OPTIONS_DIR = "/etc/glance/glance.conf.d"
"""Files of options that are confidential: Glance reads this directory after glance-api.conf, wherever that is.

oslo.config looks for directories named after the project and after the program; before 2026.2 the program is not
glance-api to it but gunicorn, so only the project's is the same in every release."""


def store_directory(store_id: str) -> str:
    """Return where the volume of a filesystem store is mounted: no two stores share it."""
    return f"{STORES_DIR}/{store_id}"


def conf_name(store_id: str) -> str:
    """Return the name of the file with the store's credentials, or with what leads to them."""
    return f"{store_id}.conf"
