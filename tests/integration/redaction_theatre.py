"""Plays the scenes with a real operator and keeps all that there was to read while they were played."""

import base64
import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from tests import caches_stand_in, keystone_stand_in
from tests.api_client import ApiClient
from tests.cluster.cluster import Cluster
from tests.integration import redaction_bug
from tests.integration.redaction_caches import POLICY, NodeAgent
from tests.integration.redaction_forms import Leak, Search, written
from tests.integration.redaction_keystone import parrot
from tests.integration.redaction_places import PLACES, Evidence
from tests.integration.redaction_scenes import (
    BAD,
    BROKEN,
    GOOD,
    NOWHERE,
    REFUSED,
    Scene,
    Stage,
    pods_say,
    refusal_of,
    refuse_secrets,
)
from tests.keystone import KeystoneServer
from tests.operator_process import OperatorProcess, running
from tests.waiting import wait_for

from imageservice import cli

SCENE_SECONDS = 180
ON_THE_REAL_KEYSTONE = {"good-unicode", "user-refused", "admin-refused", "application-credential-0"}
WITH_AN_AGENT = {"good-punctuation", "kept-unicode"}
NOBODY_PRINTS = ("hexadecimal", "YAML", "base64 after", "MD5", "SHA")
"""Ways of writing a value that no program uses in its last words, and that no masking could find all of."""
PRINTED = [form for form in written("") if not any(word in form for word in NOBODY_PRINTS)]


class BrokenOperator(OperatorProcess):
    """The operator with a bug."""

    program = (sys.executable, redaction_bug.__file__)


class Theatre:
    """All stages, and all that there was to read while they were played, by place."""

    def __init__(self, cluster: Cluster, keystone: KeystoneServer, directory: Path) -> None:
        self.api = ApiClient(cluster.kubeconfig)
        self.stages: list[Stage] = []
        self.cluster = cluster
        self._keystone = keystone
        self._directory = directory
        self._read: dict[str, list[tuple[str, str]]] = {place: [] for place in PLACES}
        self._ends = contextlib.ExitStack()
        self._operator: OperatorProcess | None = None

    @property
    def operator(self) -> OperatorProcess:
        """The operator of the last scene, which still runs."""
        assert self._operator
        return self._operator

    def at_the_end(self, act: Callable[[], object]) -> None:
        """Have something done when the curtain falls."""
        self._ends.callback(act)

    @contextlib.contextmanager
    def played(self) -> Iterator["Theatre"]:
        """Play everything; the operator of the last scene runs as long as the block."""
        with self._ends as stack:
            stand_in = stack.enter_context(keystone_stand_in.running())
            repeats = stack.enter_context(parrot())
            programs = stack.enter_context(caches_stand_in.running())
            settings = programs.settings | {"log_level": "DEBUG"}
            with running(self.cluster, self._directory / "log", **settings) as operator:
                for scene in (*GOOD, *BAD, *REFUSED):
                    stage = self._stage(scene, stand_in, repeats)
                    programs.behave(stage.namespace, scene.agents)
                    self._set_up(stage, stack)
                self._wait(Stage.took_place, self.stages)
                self._swap_secrets([stage for stage in self.stages if stage.scene.swapped])
                self._have_pods_speak([stage for stage in self.stages if stage.scene in GOOD])
                agents = [self._node_agent(stage, stack) for stage in self.stages if stage.scene.name in WITH_AN_AGENT]
                printed = {name: text for stage in self.stages for name, text in self._printed(stage)}
                self._look_around(Evidence(self.api, self._namespaces(), [operator], printed, agents=agents))
            stage = self._stage(BROKEN, stand_in, repeats)
            self._set_up(stage, stack)
            settings |= {"namespaces": stage.namespace, "lease_name": stage.namespace}
            broken = BrokenOperator(self.cluster, self._directory / "broken", **settings)
            stack.callback(broken.stop)
            broken.start()
            self._play_the_bug(broken, stage)
            self._look_around(Evidence(self.api, [stage.namespace], [broken]))
            self._operator = broken
            yield self

    def texts(self, place: str) -> list[tuple[str, str]]:
        """Return what there was to read in a place, with where exactly it was."""
        return self._read[place]

    def leaks(self, place: str) -> list[Leak]:
        """Return every planted value that was to be met in a place."""
        search = Search(value for stage in self.stages for value in stage.values.values())
        return [leak for where, text in self._read[place] for leak in search.leaks(where, text)]

    def __str__(self) -> str:
        """Say how much was searched for what."""
        texts = [text for found in self._read.values() for _, text in found]
        values = sum(len(stage.values) for stage in self.stages)
        return (
            f"{values} values planted in {len(self.stages)} ImageServices, looked for in {len(self._read)} places: "
            f"{len(texts)} texts of {sum(map(len, texts)) // 1024} KiB"
        )

    def _namespaces(self) -> list[str]:
        return [stage.namespace for stage in self.stages]

    def _look_around(self, evidence: Evidence) -> None:
        for place, read in PLACES.items():
            self._read[place] += read(evidence)

    def _stage(self, scene: Scene, stand_in: keystone_stand_in.KeystoneStandIn, repeats: str) -> Stage:
        """Return the stage of a scene, and let Keystone know the users that it is to know."""
        if scene.login is not None:
            url = scene.login.format(parrot=urlsplit(repeats).netloc)
            return Stage(scene, self.api, url if "://" in url else f"{repeats}/{url}")
        real = scene.name in ON_THE_REAL_KEYSTONE
        stage = Stage(scene, self.api, self._keystone.auth_url if real else stand_in.cloud(scene.name))
        server = self._keystone if real else stand_in
        for whose, project, role in (("user", "service", "service"), ("admin", "admin", "admin")):
            password = stage.values[whose].value if whose in scene.known else "another"
            server.create_user(stage.user_name(whose), password, project, role)
        return stage

    def _set_up(self, stage: Stage, stack: contextlib.ExitStack) -> None:
        self.stages.append(stage)
        stack.callback(stage.tear_down)
        stage.create_namespace()
        if stage.scene in REFUSED:
            for rule in refuse_secrets(stage):
                stack.callback(self.api.delete, rule)
            quoted = base64.b64encode(b"in the config").decode()
            wait_for(lambda: quoted in refusal_of(stage, "in the config"), 30, "a refused Secret is quoted")
        for manifest in stage.manifests():
            self.api.create(manifest)

    def _wait(self, condition: Callable[[Stage], bool], stages: list[Stage]) -> None:
        """Wait until a condition holds on all stages, for each at least once."""
        waiting = list(stages)

        def on_all() -> bool:
            waiting[:] = [stage for stage in waiting if not condition(stage)]
            return not waiting

        with contextlib.suppress(AssertionError):
            wait_for(on_all, SCENE_SECONDS, "", pause=0.5)
        assert not waiting, {stage.scene.name: stage.service().get("status") for stage in waiting}

    def _swap_secrets(self, stages: list[Stage]) -> None:
        """Have the Secrets of stores replaced by others of no use, while the pods go on with what they have."""
        for stage in stages:
            stage.swap_secrets()
        self._wait(lambda stage: stage.stores_are(good=False), stages)

    def _have_pods_speak(self, stages: list[Stage]) -> None:
        """Have the pods of API and cache crash, and then the database Job fail, with confidential last words."""
        for number, stage in enumerate(stages):
            for component in ("api", "cache"):
                assert pods_say(stage, component, f"ERROR cannot start: {words(stage, PRINTED[number % len(PRINTED)])}")
        self._wait(lambda stage: stage.condition("ApiAvailable")["reason"] == "PodCrashing", stages)
        self._wait(lambda stage: stage.condition("Ready", "CachePolicy", POLICY)["reason"] == "PodCrashing", stages)
        for stage in stages:
            self.api.merge(stage.service(), {"spec": {"api": {"nodeSelector": NOWHERE}}})
        spoken = set()

        def failed(stage: Stage) -> bool:
            said = json.dumps({"reason": "DatabaseUnreachable", "message": f"no way to {words(stage, 'as it is')}"})
            if stage.namespace not in spoken and pods_say(stage, "database", said):
                spoken.add(stage.namespace)
            return bool(stage.condition("DatabaseReady")["reason"] == "DatabaseUnreachable")

        self._wait(failed, stages)

    def _node_agent(self, stage: Stage, stack: contextlib.ExitStack) -> NodeAgent:
        """Return a running agent with the files of a stage, which has tried in vain to fetch an image."""
        found = NodeAgent.install(self.api, stage.namespace, self._directory / f"node-{stage.scene.name}")
        stack.callback(found.agent.kill)
        found.agent.start()
        wait_for(found.fails, SCENE_SECONDS, "the agent fails to fetch", pause=0.5)
        return found

    def _printed(self, stage: Stage) -> Iterator[tuple[str, str]]:
        """Yield what commands print: `cache`, and `render` of the manifests of a stage, also when read as YAML."""
        file = self._directory / f"{stage.scene.name}.yaml"
        file.write_text(yaml.safe_dump_all(stage.manifests()))
        out, errors = self._command("render", "-f", str(file))
        rendered = [json.dumps(document, ensure_ascii=False) for document in yaml.safe_load_all(out)]
        yield f"render of {stage.scene.name}", "\n".join([out, errors, *rendered])
        where = ("--kubeconfig", str(self.cluster.kubeconfig), "-n", stage.namespace)
        for name in ("status", "list") if stage.scene in GOOD else ():
            yield f"cache {name} of {stage.scene.name}", "\n".join(self._command("cache", name, *where))

    def _command(self, *arguments: str) -> tuple[str, str]:
        """Return what a command prints, as its output and as errors."""
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            cli.main(list(arguments))
        assert out.getvalue() or errors.getvalue()
        return out.getvalue(), errors.getvalue()

    def _play_the_bug(self, operator: OperatorProcess, stage: Stage) -> None:
        """Have the broken operator come by each of its faults."""
        for number in range(len(redaction_bug.FAULTS)):
            before = passes(operator)
            stage.poke(str(number))
            wait_for(lambda before=before: passes(operator) > before, 30, "another pass", pause=0.05)


def passes(operator: OperatorProcess) -> float:
    """Return how many passes over ImageServices an operator has made."""
    name = 'reconcile_time_seconds_count{controller="ImageService"}'
    return sum(float(line.split()[-1]) for line in operator.fetch("/metrics").splitlines() if name in line)


def words(stage: Stage, form: str) -> str:
    """Return every value of a scene in some form, and the whole URL of the database."""
    url = f"mysql+pymysql://glance:{stage.values['database'].encoded}@mariadb:3306/glance"
    return " ".join([*(written(value.value)[form] for value in stage.values.values()), url])
