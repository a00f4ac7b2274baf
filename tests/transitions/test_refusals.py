"""Admission refuses what it should, with a sentence that says what is allowed; and takes all else that is generated."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
from tests.api_client import ApiClient, Manifest, Refused
from tests.transitions.conftest import Effort
from tests.transitions.generator import faults, full_world, journeys
from tests.transitions.refusals import Wrong, sentences_of, unclear, wrong_objects
from tests.transitions.schema import KINDS, changed, immutable, places, shown, value_at
from tests.transitions.texts import varied

pytestmark = pytest.mark.cluster

Tell = Callable[[str], None]
NAMESPACE = "default"
BY_THE_OPERATOR = {"ImagePrecache.spec.windows[].schedule", "ImagePrecache.spec.windows[].timeZone"}
"""What the API server cannot tell: it takes it, and the status says what is wrong (tests/unit/api_caches.py)."""


def refusal(api: ApiClient, manifest: Manifest) -> list[str] | None:
    """Show an object to the API server; return the causes of its refusal, None where it would be taken."""
    path = api.resource(manifest["kind"]).path(NAMESPACE)
    at_home = manifest | {"metadata": manifest["metadata"] | {"namespace": NAMESPACE}}
    try:
        api.request("POST", path, at_home, query={"dryRun": "All", "fieldValidation": "Strict"})
    except Refused as refused:
        if refused.status not in (400, 422):
            raise
        return [cause["message"] for cause in refused.causes] or [refused.message]
    return None


@cache
def all_wrong() -> tuple[Wrong, ...]:
    """Return every wrong object, made from a world in which every field is filled."""
    right = [*full_world().objects.values(), ephemeral()]
    return tuple(wrong for manifest in right for wrong in wrong_objects(manifest))


def ephemeral() -> Manifest:
    """Return the CachePolicy that no world has: with volumes for which there is no provisioner here."""
    policy = next(found for found in full_world().objects.values() if found["kind"] == "CachePolicy")
    volume = {"type": "Ephemeral", "ephemeral": {"size": "2Ti", "storageClassName": "local"}}
    return changed(changed(policy, ("spec", "volume"), volume), ("metadata", "name"), "ephemeral")


@pytest.fixture(scope="module")
def answers(api: ApiClient) -> dict[str, list[str] | None]:
    """What the API server says to each wrong object."""
    with ThreadPoolExecutor(4) as pool:
        told = pool.map(lambda wrong: refusal(api, wrong.manifest), all_wrong())
        return {key_of(wrong): causes for wrong, causes in zip(all_wrong(), told, strict=True)}


def key_of(wrong: Wrong) -> str:
    return f"{wrong.manifest['kind']}/{wrong.manifest['metadata'].get('name')} {wrong.what}"


def test_what_is_wrong_by_the_schema_is_refused(answers: dict[str, list[str] | None], tell: Tell) -> None:
    taken = [key_of(wrong) for wrong in all_wrong() if answers[key_of(wrong)] is None and by_the_schema(wrong)]
    refused = [causes for causes in answers.values() if causes is not None]
    tell(f"{len(refused)} wrong specs refused")
    assert taken == []
    assert len(refused) > 400


def by_the_schema(wrong: Wrong) -> list[str]:
    """Return the places that are wrong by more than what only the operator can tell."""
    kind = wrong.manifest["kind"]
    places_of_all = (re.sub(r"\[\d+\]", "[]", f"{kind}.{shown(steps)}") for steps in faults(wrong.manifest))
    return [place for place in places_of_all if place not in BY_THE_OPERATOR]


def test_every_refusal_says_what_is_allowed(answers: dict[str, list[str] | None]) -> None:
    ours = set().union(*map(sentences_of, KINDS.values()))
    dark = {key: words for key, causes in answers.items() if causes is not None and (words := unclear(causes, ours))}
    assert dark == {}


def test_every_rule_was_broken_and_told_in_its_own_words(answers: dict[str, list[str] | None]) -> None:
    told = [cause for causes in answers.values() for cause in causes or []]
    never = {
        f"{kind.kind}: {message}"
        for kind in KINDS.values()
        for message in sentences_of(kind)
        if not any(cause.endswith(message) for cause in told)
    }
    assert never == set()


def test_what_is_generated_as_legal_is_taken(api: ApiClient, effort: Effort, tell: Tell) -> None:
    generated = varied(journeys(), 40, effort.seed + 1)
    manifests = [manifest for worlds in generated for world in worlds for manifest in world.objects.values()]
    refused = [(causes, manifest) for manifest in manifests if (causes := refusal(api, manifest)) is not None]
    tell(f"{len(manifests)} generated legal specs taken")
    assert refused == []


def test_what_must_stay_cannot_be_changed_and_the_refusal_says_what_to_do(api: ApiClient) -> None:
    tried = 0
    for manifest in full_world().objects.values():
        stored = api.create(manifest | {"metadata": manifest["metadata"] | {"namespace": NAMESPACE}})
        try:
            for steps in immutable(KINDS[manifest["kind"]]):
                causes = refused_change(api, changed(stored, steps, another(manifest, steps)))
                # Where there is only one value, any other is refused for being none of them.
                assert any("must not change" in cause or "supported values" in cause for cause in causes), steps
                tried += 1
        finally:
            api.delete(stored)
    assert tried >= 3


def another(manifest: Manifest, steps: tuple[str | int, ...]) -> object:
    """Return another value for a place, as its schema allows it."""
    value = value_at(manifest, steps)
    place = next((place for place in places(manifest) if place.steps == steps), None)
    if isinstance(value, dict):
        return {name: f"{text}-2" for name, text in value.items()}
    return f"{value}2" if place is None or "enum" not in place.schema else "another"


def refused_change(api: ApiClient, manifest: Manifest) -> list[str]:
    """Change a stored object; return the causes of the refusal."""
    try:
        api.request("PUT", api.path_of(manifest), manifest, query={"dryRun": "All"})
    except Refused as refused:
        return [cause["message"] for cause in refused.causes]
    return ["it was taken"]
