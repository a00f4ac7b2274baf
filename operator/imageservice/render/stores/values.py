"""Values of options."""


def boolean(value: bool) -> str:
    """Return a truth value as oslo.config reads it."""
    return "true" if value else "false"


ENDPOINT_TYPES = {"Public": "publicURL", "Internal": "internalURL", "Admin": "adminURL"}
"""Which endpoint of the catalogue of Keystone, in the words of the drivers."""
