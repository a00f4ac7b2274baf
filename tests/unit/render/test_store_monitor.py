"""The container of the store monitor, what it is told to look at, and that all speak of the same reasons."""

import ast
import compileall
import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from tests.unit.render import samples

from imageservice.manifest import Manifest
from imageservice.render.files import store_checks
from imageservice.render.glance_config import CONFIG_DIR
from imageservice.render.pods import pod_spec, restricted_container
from imageservice.render.store_monitor import (
    PROGRAMS,
    SCRIPT,
    SETTINGS,
    MonitoredCeph,
    MonitoredFilesystem,
    monitor_container,
    monitor_files,
    monitor_settings,
)
from imageservice.store_report import StoreReason

CEPH = MonitoredCeph("central", "/etc/image-service-stores/central.conf", "glance", "images", fsid=None)
NFS = MonitoredFilesystem("nfs1", "/var/lib/glance/stores/nfs1/", "NFS")
MOUNTS: list[Manifest] = [{"name": "config", "mountPath": CONFIG_DIR, "readOnly": True}]


def program(name: str) -> str:
    return resources.files("imageservice.render").joinpath("files", name).read_text("utf-8")


def test_the_settings_say_where_each_store_is_and_how_to_look() -> None:
    assert monitor_settings([CEPH, NFS]) == {
        "port": 9293,
        "intervalSeconds": 15,
        "glanceConfig": "/etc/image-service/glance-api.conf",
        "stores": [
            {
                "id": "central",
                "type": "Ceph",
                "conf": "/etc/image-service-stores/central.conf",
                "user": "glance",
                "pool": "images",
                "fsid": None,
                "timeoutSeconds": 5,
            },
            {
                "id": "nfs1",
                "type": "Filesystem",
                "directory": "/var/lib/glance/stores/nfs1/",
                "volume": "NFS",
                "timeoutSeconds": 5,
            },
        ],
    }


def test_every_type_in_the_settings_is_one_that_the_program_can_look_at() -> None:
    assert {store["type"] for store in monitor_settings([CEPH, NFS])["stores"]} == set(store_checks.KINDS)


def test_the_files_are_the_programs_and_the_settings() -> None:
    files = monitor_files([CEPH, NFS])
    assert set(files) == {*PROGRAMS, SETTINGS}
    assert json.loads(files[SETTINGS]) == monitor_settings([CEPH, NFS])
    assert files[SCRIPT] == program(SCRIPT)


def test_the_programs_are_found_where_the_container_starts_them_and_start_each_other() -> None:
    container = restricted_container("glance:1", monitor_container(MOUNTS))
    assert container["command"][-1] == f"{CONFIG_DIR}/{SCRIPT}"
    script = program(SCRIPT)
    assert "from store_checks import" in script
    assert {name for name in PROGRAMS if f'HERE / "{name}"' in script} == {"image_count.py", "image_lookup.py"}
    assert f'HERE / "{SETTINGS}"' in script


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_programs_are_python_without_anything_that_glance_does_not_bring(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(program(name))
    assert compileall.compile_file(tmp_path / name, quiet=1)
    imported = set()
    for node in ast.walk(ast.parse(program(name))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).partition(".")[0])
    assert not imported & {"imageservice", "aiohttp", "yaml", "pydantic", "kopf"}


def test_what_takes_much_memory_is_not_loaded_by_the_program_that_stays() -> None:
    """Both have nothing to do with a pod whose stores are directories; SQLAlchemy takes 30 MiB."""
    top = [node for name in (SCRIPT, "store_checks.py") for node in ast.parse(program(name)).body]
    loaded = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    assert not loaded & {"rados", "sqlalchemy", "oslo_config"}


def reasons_of(source: str) -> set[str]:
    """Return every text in a program that is written as a reason is."""
    texts = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    return {text for text in texts if isinstance(text, str) and text in set(StoreReason)}


def test_the_operator_knows_every_reason_and_each_is_given_somewhere() -> None:
    given: set[str] = reasons_of(program("store_checks.py"))
    assert given == set(StoreReason)
    tables: list[Any] = [*store_checks.CEPH_FAULTS.values(), *store_checks.FILE_FAULTS.values()]
    tables += [kind.overdue for kind in store_checks.KINDS.values()]
    assert {reason for reason, _ in tables} | {store_checks.NOT_LOOKED.reason} <= set(StoreReason)


def test_every_sentence_about_ceph_has_all_the_words_that_it_asks_for() -> None:
    words = {"user": "glance", "pool": "images", "timeout": 5}
    for _, sentence in store_checks.CEPH_FAULTS.values():
        assert "{" not in sentence.format(**words)


def test_the_container_is_as_confined_as_that_of_the_api_and_needs_little() -> None:
    container = restricted_container("glance:1", monitor_container(MOUNTS))
    of_the_api = pod_spec(samples.inputs(), [{"name": "glance-api"}], [])["containers"][0]
    assert container["securityContext"] == of_the_api["securityContext"]
    assert container["image"] == "glance:1"
    assert container["resources"] == {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
    assert container["ports"] == [{"name": "monitor", "containerPort": 9293, "protocol": "TCP"}]
    assert container["volumeMounts"] == MOUNTS


def test_a_monitor_that_does_not_answer_takes_no_pod_out_of_service() -> None:
    container = restricted_container("glance:1", monitor_container(MOUNTS))
    assert "readinessProbe" not in container
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_a_key_is_looked_for_in_every_keyring_that_librados_would_read(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    second.write_text("[client.other]\n\tkey = x\n  [client.glance]\n\tkey = y\n")
    assert store_checks.has_key(f"{first},{second}", "glance")
    assert store_checks.has_key(f"{first}, {second}", "other")
    assert not store_checks.has_key(f"{first},{second}", "gl.nce")
    assert not store_checks.has_key(str(first), "glance")
