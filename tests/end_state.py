"""The state that a namespace ended in, so that two ways to the same state can be compared object by object.

    one = end_state(read(api, "ns-1"), "ns-1")
    other = end_state(read(api, "ns-2"), "ns-2")
    assert not differences(one, other, "changed to it", "created so")

`read` returns every object in a namespace: ours, their children, and what the user put there. What Kubernetes itself
makes from others and makes anew all the time (DERIVED) is left out. `end_state` takes away what two runs cannot share:

- uids become the name of the object that has them, the namespace's name becomes `<namespace>` wherever it stands (it
  must be a word that stands nowhere by chance: `t-3f9a01`, not `default`);
- times become `<time>`, generations that were observed become `current` or say how far they are behind;
- names that end in a hash of the content (`glance-config-0a1b2c3d4e`: salted with a uid) become `glance-config#1`,
  numbered by content where there are several, wherever they stand;
- the hash of the stores' files in a pod template, salted with a uid, and the agents' token, salted with the namespace,
  become words that say whether they are those of the files that the pods have, and of the database;
- what the API server alone chooses (resourceVersion, managedFields, clusterIP) goes, and so do the words of
  Kubernetes' own controllers in conditions, which name pods and ReplicaSets.

Everything else counts: finalizers, labels, annotations, owners, defaults, status, the text inside Secrets.
"""

import base64
import difflib
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.api_client import ApiClient, Manifest

from imageservice.render.agent_token import TOKEN_FILE, agent_token
from imageservice.render.labels import IMAGE_SERVICE_LABEL
from imageservice.render.names import label_value
from imageservice.render.secrets import slow_hash
from imageservice.sensitive import Sensitive

OUR_GROUP = "imageservice.dev/"
EndState = Mapping[str, Manifest]
"""`Kind/name` -> what is to be compared of the object."""

DERIVED = frozenset(
    ("Event", "Pod", "ReplicaSet", "ControllerRevision", "Endpoints", "EndpointSlice", "Lease", "ServiceAccount")
)
"""Kinds that follow from other objects by controllers of Kubernetes, or by mere operation."""

OF_THE_CLUSTER = frozenset(("ConfigMap/kube-root-ca.crt",))
"""Objects that every namespace has."""

NAMED_BY_CONTENT = ("Secret", "ConfigMap", "Job")
"""Kinds of children whose names may end in a hash of the content. A kind may refer only to kinds before it."""

_VOLATILE_METADATA = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")
_VOLATILE_ANNOTATIONS = (
    "deployment.kubernetes.io/revision",
    "deprecated.daemonset.template.generation",  # counts the changes on the way
    "imageservice.dev/spec-hash",  # of what is applied: owner's uid, namespace, names that end in a hash
    "kubectl.kubernetes.io/last-applied-configuration",
)
_HASH_OF_FILES = "imageservice.dev/store-credentials"
_CHOSEN_BY_THE_SERVER = {
    "Service": (("spec", "clusterIP"), ("spec", "clusterIPs")),
    "PersistentVolumeClaim": (("status", "conditions"),),  # whether a pod has used it yet
}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)")
_HASHED_NAME = re.compile(r"(?P<stem>.+)-[0-9a-f]{10}")
_ITEM_NAMES = ("name", "type", "key", "interface")
"""Members by which the items of a list are told apart in a difference, where all items have one, each another."""


def read(api: ApiClient, namespace: str) -> list[Manifest]:
    """Return every object in the namespace that can be compared, as it is."""
    return [item for item in api.everything(namespace) if counts(item)]


def counts(manifest: Manifest) -> bool:
    """Tell whether an object belongs to the end state: what a pod owns, as the claim of its volume, goes with it."""
    if manifest["kind"] in DERIVED or key_of(manifest) in OF_THE_CLUSTER:
        return False
    return all(owner["kind"] != "Pod" for owner in manifest["metadata"].get("ownerReferences", []))


def key_of(manifest: Manifest) -> str:
    """Return `Kind/name`."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def versions(manifests: Iterable[Manifest]) -> dict[str, str]:
    """Return the uid and resourceVersion of each object: equal at two times, nobody has written in between."""
    return {key_of(m): f"{m['metadata']['uid']} {m['metadata']['resourceVersion']}" for m in manifests}


def end_state(manifests: Iterable[Manifest], namespace: str, *, numbered: bool = True) -> EndState:
    """Return what is to be compared of the objects of one namespace; see the head of this file.

    With `numbered` false, a name that ends in a hash gets one of what is compared in place of its number: then the
    objects of one state can be looked up in another that has more of them, but no difference within one can be told.
    """
    objects = [manifest for manifest in manifests if counts(manifest)]
    words = {m["metadata"]["uid"]: f"<uid of {key_of(m)}>" for m in objects} | {namespace: "<namespace>"}
    plain = _replace([_without_volatile(_judged(manifest, objects)) for manifest in objects], words)
    for kind in NAMED_BY_CONTENT:
        plain = _replace(plain, _names_by_content(kind, plain, numbered=numbered))
    return {key_of(manifest): manifest for manifest in sorted(plain, key=key_of)}


def _judged(manifest: Manifest, objects: list[Manifest]) -> Manifest:
    """Return an object with words in the place of what is salted, so that no two runs share it."""
    if manifest["kind"] in ("Deployment", "DaemonSet"):
        return _with_files_judged(manifest, objects)
    return _with_token_judged(manifest, objects) if manifest["kind"] == "Secret" else manifest


def _with_files_judged(manifest: Manifest, objects: list[Manifest]) -> Manifest:
    """Return what makes pods with a word in the place of the hash of the stores' files."""
    template = manifest.get("spec", {}).get("template", {})
    told = template.get("metadata", {}).get("annotations", {}).get(_HASH_OF_FILES)
    if told is None:
        return manifest
    content = json.dumps(_files_read_at_the_start(template, objects), sort_keys=True)
    is_current = told == slow_hash(hashlib.sha256(content.encode()).digest(), _service_uid(manifest, objects))
    copied: Manifest = json.loads(json.dumps(manifest))
    copied["spec"]["template"]["metadata"]["annotations"][_HASH_OF_FILES] = (
        "<of the files that are there>" if is_current else "<of other files>"
    )
    return copied


def _with_token_judged(secret: Manifest, objects: list[Manifest]) -> Manifest:
    """Return a Secret with a word in the place of the agents' token."""
    data = secret.get("data") or {}
    if TOKEN_FILE not in data:
        return secret
    is_current = _decoded(data[TOKEN_FILE]) == _token(_service_of(secret, objects), objects)
    word = "<of the database>" if is_current else "<of another database>"
    return secret | {"data": data | {TOKEN_FILE: base64.b64encode(word.encode()).decode()}}


def _token(service: Manifest | None, objects: list[Manifest]) -> str | None:
    """Return the token that the agents of an ImageService are to have now."""
    reference = service["spec"]["database"]["secretRef"] if service else {}
    named = (m.get("data") or {} for m in objects if key_of(m) == f"Secret/{reference.get('name')}")
    url = next(named, {}).get(reference.get("key", "url"))
    if service is None or url is None:
        return None
    about = service["metadata"]
    return agent_token(Sensitive(_decoded(url)), about["namespace"], about["name"]).reveal()


def _service_of(child: Manifest, objects: list[Manifest]) -> Manifest | None:
    """Return the ImageService that a child belongs to, also by way of a CachePolicy."""
    label = child["metadata"].get("labels", {}).get(IMAGE_SERVICE_LABEL)
    services = (found for found in objects if found["kind"] == "ImageService")
    return next((found for found in services if label_value(found["metadata"]["name"]) == label), None)


def _service_uid(child: Manifest, objects: list[Manifest]) -> str:
    (owner, *_) = child["metadata"]["ownerReferences"]
    service = None if owner["kind"] == "ImageService" else _service_of(child, objects)
    uid: str = service["metadata"]["uid"] if service else owner["uid"]
    return uid


def _files_read_at_the_start(template: Manifest, objects: list[Manifest]) -> dict[str, dict[str, str]]:
    """Return store id -> file name -> text, of the stores' Secrets that the pods of a template mount."""
    volumes = template["spec"].get("volumes", [])
    sources = [source for volume in volumes for source in volume.get("projected", {}).get("sources", [])]
    mounted = {source["secret"]["name"] for source in sources if "secret" in source}
    data = [m.get("data") or {} for m in objects if m["kind"] == "Secret" and m["metadata"]["name"] in mounted]
    found = {name: _decoded(text) for files in data for name, text in files.items() if name.endswith(".conf")}
    return {name.removesuffix(".conf"): {name: text} for name, text in found.items()}


def _without_volatile(manifest: Manifest) -> Manifest:
    generation = manifest["metadata"].get("generation", 0)
    found: Manifest = _settled(manifest, generation)
    metadata = {name: value for name, value in found["metadata"].items() if name not in _VOLATILE_METADATA}
    annotations = metadata.pop("annotations", {})
    if kept := {name: text for name, text in annotations.items() if name not in _VOLATILE_ANNOTATIONS}:
        metadata["annotations"] = kept
    found["metadata"] = metadata
    if found["kind"] == "Secret":
        found["data"] = {name: _decoded(text) for name, text in (found.get("data") or {}).items()}
    if not found["apiVersion"].startswith(OUR_GROUP):
        for condition in (found.get("status") or {}).get("conditions") or []:
            condition.pop("message", None)
    for parent, member in _CHOSEN_BY_THE_SERVER.get(found["kind"], ()):
        found.get(parent, {}).pop(member, None)
    return found


def _settled(value: Any, generation: int) -> Any:
    """Return a copy in which times have no value and observed generations tell how far they are behind."""
    if isinstance(value, dict):
        copied = {name: _settled(item, generation) for name, item in value.items()}
        if isinstance(seen := copied.get("observedGeneration"), int):
            copied["observedGeneration"] = "current" if seen == generation else f"{generation - seen} behind"
        return copied
    if isinstance(value, list):
        return [_settled(item, generation) for item in value]
    return "<time>" if isinstance(value, str) and _TIME.fullmatch(value) else value


def _decoded(text: str) -> str:
    """Return the text of a Secret's value, or the value as it is on the wire where it is no text."""
    try:
        return base64.b64decode(text).decode()
    except UnicodeDecodeError:
        return f"(base64) {text}"


def _replace(manifests: list[Manifest], words: Mapping[str, str]) -> list[Manifest]:
    """Return the objects with each of `words` replaced wherever it stands, also as a part of a text or a key.

    Neither the words nor what they become need escaping in JSON.
    """
    text = json.dumps(manifests)
    for word in sorted(words, key=len, reverse=True):  # many times as fast as one regular expression of all
        text = text.replace(word, words[word])
    replaced: list[Manifest] = json.loads(text)
    return replaced


def _names_by_content(kind: str, manifests: list[Manifest], *, numbered: bool) -> dict[str, str]:
    """Return the hashed names of our children of a kind -> the names that they have here."""
    by_stem: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for manifest in manifests:
        name = manifest["metadata"]["name"]
        parts = _HASHED_NAME.fullmatch(name)
        if manifest["kind"] == kind and parts and manifest["metadata"].get("ownerReferences"):
            content = json.dumps(manifest, sort_keys=True).replace(name, "<name>")
            by_stem[parts["stem"]].append((content, name))
    return {
        name: f"{stem}#{number if numbered else hashlib.sha256(content.encode()).hexdigest()[:10]}"
        for stem, found in by_stem.items()
        for number, (content, name) in enumerate(sorted(found), start=1)
    }


def differences(one: EndState, other: EndState, of_one: str, of_other: str) -> list[str]:
    """Return in words what differs between two states, one line for each place; `of_one` names the first state."""
    lines = []
    for key in sorted({*one, *other}):
        if key not in one or key not in other:
            lines.append(f"{key} is only in the state {of_one if key in one else of_other!r}")
            continue
        left, right = dict(_places(one[key])), dict(_places(other[key]))
        for path in sorted({*left, *right}):
            if left.get(path, _ABSENT) != right.get(path, _ABSENT):
                lines.append(f"{key} {path}: {_told(left, right, path, of_one, of_other)}")
    return lines


_ABSENT = "(nothing)"


def _told(left: Mapping[str, Any], right: Mapping[str, Any], path: str, of_left: str, of_right: str) -> str:
    before, after = left.get(path, _ABSENT), right.get(path, _ABSENT)
    if isinstance(before, str) and isinstance(after, str) and "\n" in before + after:
        changed = difflib.unified_diff(before.splitlines(), after.splitlines(), of_left, of_right, n=0, lineterm="")
        return "\n    " + "\n    ".join(line for line in changed if not line.startswith("@@"))
    return f"{before!r} in the state {of_left!r}, {after!r} in the state {of_right!r}"


def _places(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Give each plain value, and each empty list or map, with its path (`status.conditions[Ready].reason`)."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            plain = re.fullmatch(r"[-\w]+", name)
            yield from _places(item, (f"{path}.{name}" if path else name) if plain else f"{path}[{name!r}]")
    elif isinstance(value, list) and value:
        for name, item in zip(_item_names(value), value, strict=True):
            yield from _places(item, f"{path}[{name}]")
    else:
        yield path, value


def _item_names(items: list[Any]) -> list[str]:
    for member in _ITEM_NAMES:
        names = [str(item[member]) for item in items if isinstance(item, dict) and member in item]
        if len(set(names)) == len(items):
            return names
    return [str(number) for number in range(len(items))]
