"""What real librados makes of the rendered `<id>.conf` and keyring."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.unit.api_stores import MONITORS
from tests.unit.render import samples

from imageservice.render import stores
from imageservice.render.inputs import CephCredentials, StoreInputs
from imageservice.render.stores.ceph import OPERATION_TIMEOUT_SECONDS
from imageservice.render.stores.paths import DRIVER_FILES_DIR
from imageservice.sensitive import Sensitive

pytestmark = pytest.mark.glance

PYTHON = "/usr/bin/python3"
"""Ceph's Python modules exist only for Debian's own Python."""

READ = """
import json, rados, sys
client = rados.Rados(conffile=sys.argv[1], rados_id=sys.argv[2])
print(json.dumps({name: client.conf_get(name) for name in sys.argv[3:]}))
"""
CONNECT = """
import rados, sys
try:
    rados.Rados(conffile=sys.argv[1], rados_id=sys.argv[2]).connect()
except rados.Error as error:
    print(type(error).__name__)
"""


@pytest.fixture(scope="module", autouse=True)
def _librados() -> None:
    found = subprocess.run([PYTHON, "-c", "import rados"], capture_output=True, timeout=60, check=False)
    if found.returncode:
        pytest.skip("this machine has no librados: apt-get install python3-rados")


def ask(program: str, store: StoreInputs, directory: Path, *options: str) -> str:
    """Write the files of the store and run a program with them, the user and the options as arguments."""
    for name, text in stores.files(store).items():
        (directory / name).write_text(text.replace(DRIVER_FILES_DIR, str(directory)))
    assert isinstance(store.credentials, CephCredentials)
    command = [PYTHON, "-c", program, directory / f"{store.store_id}.conf", store.credentials.user, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_librados_reads_every_option_as_it_was_given(tmp_path: Path) -> None:
    settings = (("auth_client_required", "cephx"), ("ms_bind_ipv6", "true"), ("ms_client_mode", "secure"))
    credentials = CephCredentials(
        "u" * 128,
        Sensitive(samples.CEPH_KEY),
        tuple(MONITORS),
        "79b70c32-df46-4741-93c0-8118ae2ae284",
        settings,
    )
    store = samples.store_of("Ceph", "i" * 63, credentials, connectTimeoutSeconds=7)
    options = ("fsid", "mon_host", "keyring", "client_mount_timeout", "rados_mon_op_timeout", "rados_osd_op_timeout")
    found = json.loads(ask(READ, store, tmp_path, *options, *(name for name, _ in settings)))
    assert found["fsid"] == credentials.fsid
    assert found["mon_host"] == ",".join(MONITORS)
    assert found["keyring"] == f"{tmp_path}/{'i' * 63}.client.{'u' * 128}.keyring"
    assert {name: found[name] for name, _ in settings} == dict(settings)
    assert float(found["client_mount_timeout"]) == 7
    assert float(found["rados_mon_op_timeout"]) == 7
    assert float(found["rados_osd_op_timeout"]) == OPERATION_TIMEOUT_SECONDS


@pytest.mark.parametrize(
    "form", ["127.0.0.1:{port}", "v2:127.0.0.1:{port}", "[v2:127.0.0.1:{port},v1:127.0.0.1:{port}]"]
)
def test_dead_monitors_keep_a_thread_no_longer_than_was_asked_for(tmp_path: Path, form: str) -> None:
    nobody_there = form.format(port=free_port())
    credentials = CephCredentials("glance", Sensitive(samples.CEPH_KEY), (nobody_there,))
    started = time.monotonic()
    answer = ask(CONNECT, samples.store_of("Ceph", "central", credentials, connectTimeoutSeconds=2), tmp_path)
    assert answer.strip() == "TimedOut"
    assert 1 < time.monotonic() - started < 20
