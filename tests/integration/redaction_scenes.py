"""ImageServices with planted values in every Secret that they refer to: some run well, others fail, each in its way.

A scene says what of the usual is different in it, and which condition tells that it took place.
"""

import base64
import uuid
from dataclasses import dataclass, field
from functools import cached_property

from tests.api_client import ApiClient, Manifest, Refused
from tests.caches_stand_in import Behaviour
from tests.integration import redaction_caches
from tests.integration.objects import image_service, image_store
from tests.integration.redaction_forms import Planted
from tests.integration.redaction_keystone import CLOSED
from tests.integration.redaction_stores import BAD_SHAPES, GOOD_SHAPES, SWAPPED, Shape

ODDITIES = {
    "plain": "",
    "quotes": "\"'`",
    "percent": "%41%2F%%s%(x)s100%",
    "dollar": r"$HOME ${x} $$ \$ \n",
    "unicode": "\u00fcn\u00ef-\u65e5\u672c-\U0001f600",
    "base64": "UGFzc3dvcmQ=",
    "separators": " ;,=#:@/?&+<>[]{} ",
    "address": "0xdeadbeef01",
}
"""What is odd about a value."""


@dataclass(frozen=True)
class Scene:
    """What is different, and what tells that it happened: a condition, its status, and the reasons it may have.

    `login` is the path of an `authURL` at the parrot, or a whole one, None for a proper Keystone; `known` tells which
    users that knows. `raw` is what else is in which key of which Secret. `shapes` are more stores with Secrets of their
    own; those that are `swapped` get others when all is Ready. `agents` is how those of the nodes behave.
    """

    name: str
    odd: str = ""
    told: tuple[str, str, tuple[str, ...]] = ("Ready", "True", ("Ready",))
    url: str = "mysql+pymysql://glance:{encoded}@mariadb:3306/glance"
    raw: dict[tuple[str, str], str] = field(default_factory=dict)
    login: str | None = None
    known: frozenset[str] = frozenset(("user", "admin"))
    shapes: tuple[Shape, ...] = ()
    swapped: bool = False
    agents: Behaviour = "quick"

    @property
    def precache(self) -> tuple[str, ...]:
        """Why the ImagePrecache is not Ready."""
        return ("FetchFailed",) if self.agents == "repeating" else ()


def _bad_url(name: str, url: str) -> Scene:
    return Scene(name, told=("ResolvedRefs", "False", ("InvalidDatabaseURL", "InvalidCredentials")), url=url)


def _bad_text(name: str, secret: str, key: str, text: str) -> Scene:
    told = ("ResolvedRefs", "False", ("InvalidCredentials", "SecretKeyMissing"))
    return Scene(name, told=told, raw={(secret, key): text})


UNREACHABLE = ("http://127.0.0.1:9/v3", "http://no-such-host.invalid:5000/v3", "https://{parrot}/v3")
APPLICATION_CREDENTIAL = {
    ("glance-user", "application_credential_id"): "0123456789abcdef",
    ("glance-user", "application_credential_secret"): "{value}",
}
_PUNCTUATION = ODDITIES["quotes"] + ODDITIES["percent"] + ODDITIES["dollar"] + ODDITIES["separators"]
GOOD = [
    Scene("good-plain", shapes=GOOD_SHAPES),
    Scene("good-unicode", ODDITIES["unicode"], shapes=GOOD_SHAPES, agents="repeating"),
    Scene("good-punctuation", _PUNCTUATION, shapes=GOOD_SHAPES),
    Scene("good-lookalike", ODDITIES["base64"] + ODDITIES["address"], shapes=GOOD_SHAPES),
    Scene("kept-unicode", ODDITIES["unicode"], shapes=GOOD_SHAPES, swapped=True),
    Scene("kept-punctuation", _PUNCTUATION, shapes=GOOD_SHAPES, swapped=True),
]
BAD = [
    Scene("user-refused", told=("IdentityReady", "False", ("CredentialsRefused",)), known=frozenset(("admin",))),
    Scene("admin-refused", told=("CatalogRegistered", "False", ("CredentialsRefused",)), known=frozenset(("user",))),
    *(
        Scene(f"login-{status}", '"%\u00fc', ("IdentityReady", "False", ()), login=f"login/{status}/v3")
        for status in (CLOSED, 201, 302, 400, 401, 403, 404, 409, 500, 503)
    ),
    *(
        Scene(f"later-{status}", '"%\u00fc', ("CatalogRegistered", "False", ()), login=f"later/{status}/v3")
        for status in (CLOSED, 200, 302, 400, 401, 403, 500)
    ),
    *(
        Scene(f"nobody-there-{number}", told=("IdentityReady", "False", ()), login=url)
        for number, url in enumerate(UNREACHABLE)
    ),
    *(
        Scene(
            f"application-credential-{number}",
            "\"'",
            ("IdentityReady", "False", ()),
            raw=APPLICATION_CREDENTIAL,
            login=at,
        )
        for number, at in enumerate((None, "login/400/v3", "login/404/v3", "login/500/v3"))
    ),
    _bad_url("url-of-no-kind", "{value}"),
    _bad_url("url-of-another-kind", "{head}://glance:{encoded}@mariadb/glance"),
    _bad_url("url-with-an-odd-port", "mysql+pymysql://glance:{encoded}@mariadb:{head}/glance"),
    _bad_url("url-with-an-open-bracket", "mysql+pymysql://glance:{encoded}@[mariadb/glance"),
    _bad_url("url-without-a-database", "mysql+pymysql://glance:{encoded}@mariadb"),
    _bad_url("url-of-two-lines", "mysql+pymysql://glance:{encoded}@mariadb/glance\n{value}"),
    _bad_text("user-of-two-lines", "glance-user", "password", "{value}\n{value}"),
    _bad_text("user-not-text", "glance-user", "password", "{value}\udcff"),
    _bad_text("user-with-another-key", "glance-user", "password", ""),
    _bad_text("admin-of-two-lines", "keystone-admin", "password", "{value}\r{value}"),
    _bad_text("admin-not-text", "keystone-admin", "password", "\udcff{value}"),
    Scene("stores-refused", '"%\u00fc', shapes=BAD_SHAPES),
]
_BY_THE_SERVER = ("Accepted", "False", ("RefusedByAPIServer", "ForbiddenByAPIServer"))
REFUSED = [
    Scene("secrets-refused", told=_BY_THE_SERVER),
    Scene("store-secrets-refused", told=_BY_THE_SERVER, shapes=GOOD_SHAPES),
]
BROKEN = Scene("bug", "\"'%\u00fc$", told=("Accepted", "", ()), shapes=GOOD_SHAPES)


NOWHERE = {"there-is": "no-such-node"}
"""A nodeSelector that keeps pods waiting."""


@dataclass(frozen=True)
class Stage:
    """A scene in a namespace of its own, on an API server."""

    scene: Scene
    api: ApiClient
    auth_url: str
    namespace: str = field(default_factory=lambda: f"r-{uuid.uuid4().hex[:8]}")

    @cached_property
    def values(self) -> dict[str, Planted]:
        """Return the planted values by whose they are: those of the service's Secrets, and of each store's."""
        names = ("database", "user", "admin", "note")
        of_service = {name: Planted(f"{self.scene.name}/{name}", self.scene.odd) for name in names}
        of_service["token"] = redaction_caches.token(self.scene.name, self._url(of_service["database"]), self.namespace)
        return of_service | {shape.name: shape.planted(self.scene.name, self.scene.odd) for shape in self.scene.shapes}

    def secrets(self) -> list[Manifest]:
        """Return the Secrets that the spec refers to; in each there is a note too that nobody has asked for."""
        note = self.values["note"]
        contents = {
            "glance-db": {"url": self._url(self.values["database"])},
            "glance-user": self._login("user", "service"),
            "keystone-admin": self._login("admin", "admin"),
        }
        for (secret, key), text in self.scene.raw.items():
            planted = self.values["user" if secret == "glance-user" else "admin"]
            contents[secret][key] = text.format(value=planted.value)
        several_lines = f"first line\n{note.value}\nlast line"
        made = [_secret(self.namespace, name, {**content, "note": several_lines}) for name, content in contents.items()]
        return made + [self.secret_of(shape) for shape in self.scene.shapes]

    def _url(self, password: Planted) -> str:
        return self.scene.url.format(value=password.value, head=password.head, encoded=password.encoded)

    def secret_of(self, shape: Shape) -> Manifest:
        """Return the Secret of a store, with its value planted in it."""
        return _secret(self.namespace, shape.name, shape.filled(self.values[shape.name]))

    def user_name(self, whose: str) -> str:
        """Return the name of a user in Keystone; names are no secret."""
        return f"{whose}-{self.namespace}"

    def _login(self, whose: str, project: str) -> dict[str, str]:
        return {
            "username": self.user_name(whose),
            "password": self.values[whose].value,
            "project_name": project,
        }

    def manifests(self) -> list[Manifest]:
        """Return all that a user would apply."""
        volume = {"type": "NFS", "nfs": {"server": "nfs.example", "path": "/images"}}
        store = image_store("central", filesystem={"volume": volume})
        needs_pods = self.scene.told[0] in ("Ready", "CatalogRegistered")
        api = {"replicas": 1, "nodeSelector": {} if needs_pods else NOWHERE}
        service = image_service(None, api=api, defaultStore="central")
        service["spec"]["identity"] |= {"authURL": self.auth_url}
        stores = (store, *(shape.store() for shape in self.scene.shapes))
        ours = (*stores, service, *redaction_caches.caches())
        return [*self.secrets(), *(m | {"metadata": {"namespace": self.namespace} | m["metadata"]} for m in ours)]

    def swap_secrets(self) -> None:
        """Replace the Secret of each store by one of another shape."""
        for shape in self.scene.shapes:
            live = self.api.get("Secret", self.namespace, shape.name)
            wanted = self.secret_of(SWAPPED[shape.name])["data"]
            self.api.merge(live, {"data": dict.fromkeys(live["data"]) | wanted})

    def stores_are(self, *, good: bool) -> bool:
        """Tell whether all stores with Secrets of their own say whether these are good."""
        return all(
            self.condition("CredentialsValid", "ImageStore", shape.name).get("status") == str(good)
            for shape in self.scene.shapes
        )

    def caches_are_told(self) -> bool:
        """Tell whether it is said how the caches are; in a good scene the CachePolicy is Ready."""
        told = [
            self.condition("Ready", kind, name)
            for kind, name in (
                ("CachePolicy", redaction_caches.POLICY),
                ("ImagePrecache", redaction_caches.PRECACHE),
            )
        ]
        if self.scene in GOOD:
            return told[0].get("status") == "True" and told[1].get("reason") in ("Ready", *self.scene.precache)
        return all("observedGeneration" in found for found in told)

    def create_namespace(self) -> None:
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})

    def tear_down(self) -> None:
        self.api.delete(self.api.get("Namespace", None, self.namespace))

    def service(self) -> Manifest:
        return self.api.get("ImageService", self.namespace, "glance")

    def condition(self, type_: str, kind: str = "ImageService", name: str = "glance") -> Manifest:
        conditions = self.api.get(kind, self.namespace, name).get("status", {}).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == type_), {})

    def took_place(self) -> bool:
        """Tell whether the scene has come to what it is about."""
        type_, status, reasons = self.scene.told
        found = self.condition(type_)
        if found.get("reason") in ("NotEvaluated", "WaitingForAPI", "Pending"):
            return False
        if not self.stores_are(good=self.scene.shapes != BAD_SHAPES) or not self.caches_are_told():
            return False
        return found.get("status") == status and (not reasons or found.get("reason") in reasons)

    def poke(self, word: str) -> None:
        """Have the operator look at the ImageService."""
        self.api.merge(self.service(), {"metadata": {"labels": {"poke": word}}})


def _secret(namespace: str, name: str, content: dict[str, str]) -> Manifest:
    """Return a Secret; a lone surrogate in a text stands for a byte that is no UTF-8."""
    data = {key: base64.b64encode(text.encode(errors="surrogateescape")).decode() for key, text in content.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data}


def pods_say(stage: Stage, component: str, text: str) -> int:
    """Have the pods of a component end with some last words; return how many did."""
    pods = stage.api.list("Pod", stage.namespace, labels=f"app.kubernetes.io/component={component}")
    waiting = [pod for pod in pods if pod["status"].get("phase") in ("Pending", "Running")]
    for pod in waiting:
        container = pod["spec"]["containers"][0]
        ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": text}}
        crashing = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
        over = pod["status"]["phase"] == "Pending"
        status = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": False,
            "restartCount": 3,
            "state": ended if over else crashing,
            "lastState": {} if over else ended,
        }
        not_ready = {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}
        others = [c for c in pod["status"].get("conditions", []) if c["type"] not in ("Ready", "ContainersReady")]
        patch = {"containerStatuses": [status], "conditions": [*others, not_ready]}
        stage.api.merge(pod, {"status": patch | ({"phase": "Failed"} if over else {})}, subresource="status")
    return len(waiting)


_REFUSED_FILES = {False: "name == 'glance-api.conf'", True: "name != 'glance-api.conf' && name.endsWith('.conf')"}
"""Whether a scene has stores with Secrets -> which files the API server does not take: theirs, or the service's."""


def refuse_secrets(stage: Stage) -> list[Manifest]:
    """Have the API server refuse Secrets of the operator in the stage's namespace, and say what is in them.

    Return the rules, which are not of any namespace: delete them afterwards.
    """
    name, group = f"refuse-{stage.namespace}", "admissionregistration.k8s.io/v1"
    secrets = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["secrets"]}
    home = {"matchLabels": {"kubernetes.io/metadata.name": stage.namespace}}
    files = f"object.data.filter(name, {_REFUSED_FILES[bool(stage.scene.shapes)]})"
    quoted = f"'no: ' + {files}.map(name, string(object.data[name])).join(' ')"
    policy = {
        "matchConstraints": {"resourceRules": [secrets], "namespaceSelector": home},
        "matchConditions": [
            {"name": "ours", "expression": "has(object.metadata.labels) || object.metadata.name == 'probe'"},
            {"name": "files", "expression": f"{files}.size() > 0"},
        ],
        "validations": [{"expression": "false", "messageExpression": quoted}],
    }
    binding = {"policyName": name, "validationActions": ["Deny"]}
    rules = [
        {"apiVersion": group, "kind": kind, "metadata": {"name": name}, "spec": spec}
        for kind, spec in (("ValidatingAdmissionPolicy", policy), ("ValidatingAdmissionPolicyBinding", binding))
    ]
    return [stage.api.create(rule) for rule in rules]


def refusal_of(stage: Stage, text: str) -> str:
    """Return what the API server has against a Secret of such a file with `text` in it; empty where it takes it."""
    file = "store.conf" if stage.scene.shapes else "glance-api.conf"
    probe = _secret(stage.namespace, "probe", {file: text})
    path = stage.api.resource("Secret").path(stage.namespace)
    try:
        stage.api.request("POST", path, probe, query={"dryRun": "All"})
    except Refused as refusal:
        return refusal.message
    return ""
