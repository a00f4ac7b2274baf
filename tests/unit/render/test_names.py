"""Names of children are legal for every legal name of an ImageService, and never shared."""

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from imageservice.render.labels import api_selector, selector_text
from imageservice.render.names import child_name, label_value, volume_name

LABEL = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
OBJECT_NAMES = st.lists(LABEL, min_size=1, max_size=6).map(".".join).map(lambda name: name[:253].rstrip(".-"))
"""What Kubernetes takes for the name of an object: a DNS-1123 subdomain."""
STORE_IDS = st.from_regex(r"[a-z0-9]([-_a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
SUFFIXES = ("api", "config-0123456789", "database-0123456789", "database-prepare-0123456789")
LONGEST = ".".join(["a" * 63] * 4)[:253]


@given(OBJECT_NAMES)
@example(LONGEST)
@example("1")
@example("9." + "b" * 63)
@example("a-" * 26 + "a.b")
def test_every_child_name_is_a_dns_label_that_begins_with_a_letter(owner: str) -> None:
    for suffix in SUFFIXES:
        name = child_name(owner, suffix)
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name)
        assert name.endswith(f"-{suffix}")


@given(OBJECT_NAMES, OBJECT_NAMES)
@example("a.b", "a-b")
@example("1", "x-1")
@example("a" * 70, "a" * 71)
def test_two_owners_never_share_a_child(one: str, other: str) -> None:
    assume(one != other)
    assert child_name(one, "api") != child_name(other, "api")
    assert label_value(one) != label_value(other)


def test_a_name_that_fits_is_kept() -> None:
    assert child_name("glance", "api") == "glance-api"
    assert label_value("eu.glance") == "eu.glance"
    assert volume_name("central") == "store-central"


@given(OBJECT_NAMES)
@example(LONGEST)
def test_every_label_value_is_legal(owner: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([-_.a-z0-9]{0,61}[a-z0-9])?", label_value(owner))


@given(STORE_IDS, STORE_IDS)
@example("a_b", "a-b")
@example("a" * 63, "a" * 62 + "b")
def test_every_store_has_a_volume_name_of_its_own_that_is_a_dns_label(one: str, other: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", volume_name(one))
    if one != other:
        assert volume_name(one) != volume_name(other)


@pytest.mark.parametrize("owner", ["glance", LONGEST])
def test_the_selector_as_text_is_what_the_scale_subresource_wants(owner: str) -> None:
    assert selector_text(api_selector(owner)) == (
        f"app.kubernetes.io/component=api,app.kubernetes.io/instance={label_value(owner)},app.kubernetes.io/name=glance"
    )
