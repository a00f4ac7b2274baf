"""No confidential value is to be met anywhere but in Secrets, whatever runs well or fails.

Values that stand nowhere else are planted in every Secret that a spec refers to; the operator is driven through good
runs and failures with its log at the debug level; then everything that can be read without reading Secrets is searched.
"""

import base64
import os
import subprocess
from collections.abc import Callable, Iterator

import pytest
from tests.api_client import Manifest
from tests.integration import redaction_bug
from tests.integration.redaction_forms import Planted, Search, written
from tests.integration.redaction_places import ANSWERS, PLACES, Evidence
from tests.integration.redaction_scenes import GOOD, ODDITIES
from tests.integration.redaction_theatre import PRINTED, Theatre
from tests.operator_process import OperatorProcess

from imageservice.reconcile.resolve import confidential
from imageservice.sensitive import Sensitive
from imageservice.status import jobs
from imageservice.status.masking import redact
from imageservice.status.pods import diagnose

pytestmark = [pytest.mark.cluster]


@pytest.fixture(scope="module")
def theatre(control_plane, keystone, tmp_path_factory) -> Iterator[Theatre]:
    """All that there was to read while every scene was played."""
    control_plane.kubectl("apply", "--server-side", "-f", "crds")
    control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    keystone.empty_the_catalog()
    made = Theatre(control_plane, keystone, tmp_path_factory.mktemp("secrets"))
    with made.played():
        yield made


@pytest.mark.parametrize("place", PLACES)
def test_no_confidential_value_is_to_be_read_in(theatre, place):
    assert theatre.texts(place)
    leaks = {(leak.value, leak.where): str(leak) for leak in theatre.leaks(place)}
    assert not leaks, "\n".join(leaks.values())


def test_the_operator_had_the_values_in_its_hands(theatre, told):
    """They are in the Secrets that it made, so they were there to be shown."""
    told(str(theatre))
    for stage in theatre.stages:
        if stage.scene in GOOD:
            made = [m for m in theatre.api.list("Secret", stage.namespace) if m["metadata"].get("ownerReferences")]
            text = " ".join(base64.b64decode(value).decode() for m in made for value in m["data"].values())
            assert stage.values["user"].head in text, stage.scene.name
            assert stage.values["database"].head in text, stage.scene.name
            assert stage.values["token"].value in text, stage.scene.name
            for shape in stage.scene.shapes:
                assert stage.values[shape.name].head in text, (stage.scene.name, shape.name)


def test_the_agents_of_nodes_had_them_too_and_those_that_repeat_them_are_masked(theatre):
    """A real agent could not reach its database; a lying one told its token."""
    pages = [text for where, text in theatre.texts(ANSWERS) if "of an agent" in where]
    assert any("DatabaseUnreachable" in text for text in pages)
    status = [text for _, text in theatre.texts("status of our kinds")]
    assert any('"message": "was told ***"' in text and '"name": "was told ***"' in text for text in status)


def test_the_bug_was_come_by_in_all_its_forms(theatre):
    lines = [text for where, text in theatre.texts("logs and the tracebacks in them") if "redaction_bug.py" in text]
    told_in_the_status = 3  # what is a ValueError
    assert len(lines) >= len(redaction_bug.FAULTS) - told_in_the_status


class TestTheSearch:
    """It finds what is there to be found."""

    def test_it_finds_a_value_in_a_config_map_however_it_is_written(self, theatre):
        planted = Planted("canary in a ConfigMap", "\"'%$\u00fc")
        stage = theatre.stages[0]
        forms = list(written(planted.value))
        for number, form in enumerate(forms):
            text = f"before {written(planted.value)[form]} after"
            theatre.api.create(config_map(stage.namespace, f"canary-{number}", text))
        texts = PLACES["ConfigMaps"](Evidence(theatre.api, [stage.namespace], []))
        found = {leak.where for where, text in texts for leak in Search([planted]).leaks(where, text)}
        missed = [
            form for number, form in enumerate(forms) if f"ConfigMap {stage.namespace}/canary-{number}" not in found
        ]
        assert not missed

    @pytest.mark.parametrize("kept", ["head", "tail"])
    def test_it_finds_a_piece_of_a_value(self, kept):
        planted = Planted("canary in pieces", "\"'")
        assert Search([planted]).leaks("here", f"before {getattr(planted, kept)} after")

    def test_it_finds_nothing_where_nothing_is(self):
        assert not Search([Planted("canary", "")]).leaks("here", "nothing but text" * 1000)

    @pytest.mark.parametrize("place", PLACES)
    def test_it_searches(self, theatre, place):
        evidence = PLANTINGS[place](theatre, theatre.stages[1].namespace)
        texts = PLACES[place](evidence)
        assert [leak for where, text in texts for leak in Search([CANARY]).leaks(where, text)]


CANARY = Planted("canary", "")


def config_map(namespace: str, name: str, text: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {"text": text},
    }


def in_the_log(theatre: Theatre, _: str) -> Evidence:
    with theatre.operator.log.open("a") as log:
        log.write(f'{{"message": "{CANARY.value}"}}\n')
    return Evidence(theatre.api, [], [theatre.operator])


def in_an_event(theatre: Theatre, namespace: str) -> Evidence:
    about = {"kind": "ImageService", "name": "glance", "namespace": namespace}
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "canary", "namespace": namespace}}
    theatre.api.create(event | {"involvedObject": about, "message": f"it is {CANARY.value}"})
    return Evidence(theatre.api, [namespace], [])


def in_a_config_map(theatre: Theatre, namespace: str) -> Evidence:
    theatre.api.create(config_map(namespace, "canary", CANARY.value))
    return Evidence(theatre.api, [namespace], [])


def in_a_status(theatre: Theatre, namespace: str) -> Evidence:
    condition = {"type": "Canary", "status": "True", "reason": "Canary", "message": f"it is {CANARY.value}"}
    condition |= {"lastTransitionTime": "2020-01-01T00:00:00Z"}
    step = {"op": "add", "path": "/status/conditions/-", "value": condition}
    theatre.api.patch(theatre.api.get("ImageService", namespace, "glance"), [step], subresource="status")
    return Evidence(theatre.api, [namespace], [])


def in_a_pod_template(theatre: Theatre, namespace: str) -> Evidence:
    container = {"name": "canary", "image": "canary", "env": [{"name": "CANARY", "value": CANARY.value}]}
    template = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "canary", "namespace": namespace}}
    theatre.api.create(job | {"spec": {"template": template, "suspend": True}})
    return Evidence(theatre.api, [namespace], [])


def in_a_label_of_a_secret(theatre: Theatre, namespace: str) -> Evidence:
    secret = theatre.api.get("Secret", namespace, "glance-db")
    theatre.api.merge(secret, {"metadata": {"labels": {"canary": CANARY.value}}})
    return Evidence(theatre.api, [namespace], [])


class Telltale(OperatorProcess):
    """An operator that tells the canary wherever it is asked."""

    def fetch(self, _: str) -> str:
        return f"it is {CANARY.value}"


def in_metrics(theatre: Theatre, _: str) -> Evidence:
    return Evidence(theatre.api, [], [Telltale(theatre.cluster, theatre.operator.log)])


def in_arguments(theatre: Theatre, _: str) -> Evidence:
    process = subprocess.Popen(["sleep", "30"], env={**os.environ, "CANARY": CANARY.value})
    theatre.at_the_end(process.kill)
    return Evidence(theatre.api, [], [], processes=[process.pid])


def in_print(theatre: Theatre, _: str) -> Evidence:
    return Evidence(theatre.api, [], [], {"echo": CANARY.value})


PLANTINGS: dict[str, Callable[[Theatre, str], Evidence]] = {
    "logs and the tracebacks in them": in_the_log,
    "Events": in_an_event,
    "ConfigMaps": in_a_config_map,
    "status of our kinds": in_a_status,
    "pod templates": in_a_pod_template,
    "names, labels, annotations and all else of every object": in_a_label_of_a_secret,
    ANSWERS: in_metrics,
    "process arguments and environment": in_arguments,
    "what commands print": in_print,
}
"""How a value gets into each place, to prove that it is found there."""


class TestLastWords:
    """What pods and Jobs say before they end is shown to everybody, but not the values in it."""

    @pytest.mark.parametrize("form", PRINTED)
    @pytest.mark.parametrize("odd", ODDITIES)
    def test_what_a_pod_says_is_masked_however_it_is_written(self, odd, form):
        planted = Planted(f"words/{odd}", ODDITIES[odd])
        for secrets in (in_a_key(planted), in_a_url(planted)):
            said = redact(f"before {written(planted.value)[form]} after", secrets)
            assert not Search([planted]).leaks("the words", said)
            assert said.startswith("before ")
            assert said.endswith(" after")

    @pytest.mark.parametrize("odd", ODDITIES)
    @pytest.mark.parametrize("length", range(230, 310, 7))
    def test_a_value_is_masked_before_the_words_are_cut(self, odd, length):
        planted = Planted(f"cut/{odd}", ODDITIES[odd])
        problem = diagnose([crashed_pod(f"ERROR {'x' * length}{planted.value}")], in_a_key(planted))
        assert not Search([planted]).leaks("the words", problem.message)

    @pytest.mark.parametrize("odd", ODDITIES)
    def test_a_value_is_masked_before_the_words_are_made_plain(self, odd):
        planted = Planted(f"plain/{odd}", ODDITIES[odd])
        for words in ("{}", "ERROR {}", "2026-01-01 00:00:00.000 {}", "[17] ERROR {} at 0x7f0000001234", "Error: {}"):
            problem = diagnose([crashed_pod(words.format(planted.value))], in_a_key(planted))
            assert not Search([planted]).leaks("the words", problem.message)

    def test_one_line_of_a_value_of_several_is_masked(self):
        lines = [Planted(f"line {number}", "/+") for number in range(3)]
        secrets = in_data("ca.crt", "\n".join(line.value for line in lines))
        for line in lines:
            problem = diagnose([crashed_pod(f"ERROR cannot read {line.value}")], secrets)
            assert not Search([line]).leaks("the words", problem.message)

    def test_a_value_within_another_value_leaves_no_rest_of_it(self):
        longer = Planted("longer", "-within-")
        for shorter in ("within", longer.value[:12], longer.value[-12:]):
            secrets = [*in_data("a", shorter), *in_data("b", longer.value)]
            for given in (secrets, secrets[::-1]):
                assert not Search([longer]).leaks("the words", redact(f"it is {longer.value}", given))

    @pytest.mark.parametrize("odd", ODDITIES)
    def test_what_a_job_says_is_masked_before_it_is_cut(self, odd):
        planted = Planted(f"job/{odd}", ODDITIES[odd])
        for length in range(0, 1100, 50):
            pod = crashed_pod(
                f'{{"reason": "MigrationFailed", "message": "{"x" * length}{written(planted.value)["in JSON"]}"}}'
            )
            failed = {"type": "Failed", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            progress = jobs.read({"status": {"conditions": [failed]}}, [pod], in_a_key(planted))
            assert not Search([planted]).leaks("the words", progress.problem.message)


def in_data(key: str, text: str) -> list[Sensitive]:
    return confidential({"data": {key: base64.b64encode(text.encode()).decode()}})


def in_a_key(planted: Planted) -> list[Sensitive]:
    return in_data("password", planted.value)


def in_a_url(planted: Planted) -> list[Sensitive]:
    return in_data("url", f"mysql+pymysql://glance:{planted.encoded}@mariadb:3306/glance")


def crashed_pod(message: str) -> Manifest:
    ended = {"terminated": {"exitCode": 1, "message": message}}
    container = {"name": "glance-api", "state": ended, "lastState": {}}
    return {"metadata": {"name": "pod"}, "status": {"containerStatuses": [container]}}
