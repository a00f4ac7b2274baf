"""The token that the operator shows to the programs in the pods, and by which they know it."""

from imageservice.render.inputs import ImageServiceInputs
from imageservice.render.secrets import slow_hash
from imageservice.sensitive import Sensitive

TOKEN_FILE = "agent-token"  # noqa: S105 - the name of a file
"""The file of every config Secret that holds it."""

_SALT = "image-service agent token v1"
_SIZE_BYTES = 32


def agent_token(database_url: Sensitive, namespace: str, service: str) -> Sensitive:
    """Return the token of the pods of an ImageService: 64 hexadecimal digits.

    It is derived and not drawn, so that there is nothing to store: it is the same after every restart, for the operator
    and whoever else may read the Secret of the database. Nothing else of that Secret can be told from it: the hash is a
    slow one. Another database URL means another token, and other pods.
    """
    return Sensitive(slow_hash(database_url.reveal().encode(), f"{_SALT} {namespace}/{service}", _SIZE_BYTES))


def token_of(inputs: ImageServiceInputs) -> Sensitive:
    """Return the token of the pods of a service whose references are resolved."""
    return agent_token(inputs.database_url, inputs.namespace, inputs.name)


def token_file(inputs: ImageServiceInputs) -> dict[str, str]:
    """Return the file with the token, name -> content, for the directory of the config Secret."""
    return {TOKEN_FILE: token_of(inputs).reveal()}
