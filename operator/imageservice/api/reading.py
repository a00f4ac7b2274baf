"""How the operator reads a stored object.

The API server checks an object when it is written, against the CRD of that day. One that was written under a laxer CRD
can still be stored. Such an object is no error of the program: it is answered with one sentence, for its condition
Accepted.
"""

import json
import re
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from imageservice.api.v1alpha1 import ApiModel
from imageservice.manifest import Manifest

Model = TypeVar("Model", bound=ApiModel)


@dataclass(frozen=True)
class InvalidObject:
    """An object that cannot be read. `message` names the first wrong field and says what is allowed, not what is there.

    The value is left out on purpose: what users put into the wrong field may be a password.
    """

    message: str


def read(model: type[Model], manifest: Manifest) -> Model | InvalidObject:
    """Return the object as a model, or why it is not one. Unknown fields are ignored, a broken status is left out."""
    try:
        return model.model_validate(manifest)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    wrong = [detail for detail in details if detail["loc"][:1] != ("status",)]
    if not wrong:
        return read(model, {key: value for key, value in manifest.items() if key != "status"})
    further = f" (and {len(wrong) - 1} more faults)" if len(wrong) > 1 else ""
    return InvalidObject(_sentence(wrong[0]) + further)


def _sentence(detail: ErrorDetails) -> str:
    template = MEANINGS.get(detail["type"])
    meaning = template.format_map(detail.get("ctx", {})) if template else detail["msg"]
    if not detail["loc"]:
        return meaning
    separator = " " if meaning.startswith("must") else ": "
    return f"`{_path(detail['loc'])}`{separator}{meaning}"


_PLAIN_KEY = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_]{0,62}")


def _path(location: tuple[int | str, ...]) -> str:
    """Return a place in the object as `spec.api.tolerations[0].key`; keys that users made up are quoted and cut."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            path += f".{step}"
        else:
            path += f"[{json.dumps(step[:63])}]"
    return path.removeprefix(".")


MEANINGS: dict[str, str] = {
    "rule": "{sentence}",
    "literal_error": "must be {expected}",
    "missing": "must be set",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "too_long": "must have at most {max_length} items",
    "too_short": "must have at least {min_length} items",
    "string_pattern_mismatch": "must match {pattern}",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a map",
    "model_type": "must be an object",
}
"""What each kind of pydantic error means to the user, by pydantic's name for it; others speak for themselves."""
