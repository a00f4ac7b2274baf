"""What real Glance of each release makes of the rendered files, without serving a request."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.glance.api_process import environment_variables, write_config
from tests.glance.conftest import InstalledGlance
from tests.unit.render import samples

from imageservice.releases import RELEASES
from imageservice.render import glance_config
from imageservice.render.inputs import ApplicationCredential, ImageServiceInputs, PasswordCredential, S3Credentials
from imageservice.render.options import reserved_store_ids, store_options
from imageservice.sensitive import Sensitive

pytestmark = pytest.mark.glance

LOADED_CONFIG = Path(__file__).with_name("loaded_config.py")
COLLECT_OPTIONS = Path(__file__).parents[1] / "options" / "collect.py"
OPTIONS = Path(__file__).parents[2] / "operator" / "imageservice" / "render" / "data"
STORE_IDS = ("central", "central2", "b_2", "default")
HOSTILE = " [database] $connection ${DEFAULT.debug} \\$ %(here)s 100% \"quoted' # no comment ; = : "
SERVICE_USER = PasswordCredential(HOSTILE, Sensitive(HOSTILE), HOSTILE, HOSTILE, HOSTILE)
SWIFT_HOSTILE = HOSTILE.replace(":", "")
"""The driver for Swift cuts user and project at a colon: such names are refused before."""
SWIFT_USER = PasswordCredential(SWIFT_HOSTILE, Sensitive(HOSTILE), SWIFT_HOSTILE, HOSTILE, HOSTILE)
TYPED_STORES = (
    samples.store_of("Ceph", "ceph-1", sparseUpload=True, chunkSize=4, spec={"description": HOSTILE}),
    samples.store_of("Ceph", "ceph_2", pool="other"),
    samples.store_of("S3", "s3_1", S3Credentials(Sensitive(HOSTILE), Sensitive(HOSTILE)), region="eu-1"),
    samples.store_of("Swift", "swift-1", SWIFT_USER, region=HOSTILE, endpointType="Admin", createContainer=True),
    samples.store_of("Swift", "swift_2", spec={"extraConfig": {"swift_store_retry_get_count": "3"}}),
    samples.store_of("Cinder", "cinder_1", SERVICE_USER, region=HOSTILE, multipath=True),
)


@dataclass
class Loaded:
    """What was rendered, and what Glance said about it."""

    inputs: ImageServiceInputs
    directory: Path
    found: dict[str, Any]
    log: str


@pytest.fixture(scope="module")
def loaded(installed: InstalledGlance, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    directory = tmp_path_factory.mktemp("loaded")
    inputs = samples.inputs(
        release=installed.release,
        database_url=installed.new_database(directory),
        credentials=SERVICE_USER,
        stores=(*(samples.store(store_id, description=HOSTILE) for store_id in STORE_IDS), *TYPED_STORES),
        identity={
            "authURL": "http://keystone.example:5000/v3",
            "region": HOSTILE,
            "secretRef": {"name": "unused"},
            "memcachedServers": ["127.0.0.1:9", "inet6:[::1]:9"],
            "catalog": {"register": False},
        },
        extraConfig={
            "DEFAULT": {"logging_user_identity_format": HOSTILE, "image_size_cap": "1099511627776"},
            "b_2": {"filesystem_store_chunk_size": "131072"},
        },
    )
    return load(installed, inputs, directory)


def load(installed: InstalledGlance, inputs: ImageServiceInputs, directory: Path) -> Loaded:
    """Write the files, have Glance load them, and return what it made of them."""
    config = write_config(inputs, directory, port=9292)
    command = [installed.environment / "bin" / "python", LOADED_CONFIG]
    variables = environment_variables(config)
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return Loaded(inputs, directory, json.loads(done.stdout), done.stderr)


def test_every_rendered_option_is_one_that_glance_reads(loaded: Loaded) -> None:
    assert loaded.found["unknown"] == []


def test_no_rendered_option_is_deprecated(loaded: Loaded) -> None:
    assert [
        line for line in loaded.log.splitlines() if "eprecated" in line and "in-process token cache" not in line
    ] == []


def test_glance_reads_every_rendered_value_exactly_as_it_was_given(loaded: Loaded) -> None:
    read = loaded.found["read"]
    for section, options in everything_rendered(loaded.inputs).items():
        for option, given in options.items():
            value = read[section][option]
            if isinstance(value, str):
                assert value.removeprefix(str(loaded.directory)) == given, f"[{section}] {option}"
            elif isinstance(value, bool):
                assert str(value).lower() == given, f"[{section}] {option}"
            elif isinstance(value, int):
                assert str(value) == given, f"[{section}] {option}"
    assert read["DEFAULT"]["enabled_import_methods"] == ["glance-direct", "copy-image"]
    assert read["image_format"]["gpt_safety_checks_nonfatal"] == []
    assert read["keystone_authtoken"]["memcached_servers"] == ["127.0.0.1:9", "inet6:[::1]:9"]
    assert read["b_2"]["filesystem_store_chunk_size"] == 131072


def everything_rendered(inputs: ImageServiceInputs) -> dict[str, dict[str, str]]:
    """Return the sections of glance-api.conf with what else is in the directory of confidential options."""
    sections = glance_config.glance_api_conf(inputs)
    for store in inputs.stores:
        credentials = store.credentials
        if isinstance(credentials, S3Credentials):
            sections[store.store_id] |= {
                "s3_store_access_key": credentials.access_key.reveal(),
                "s3_store_secret_key": credentials.secret_key.reveal(),
            }
        elif store.spec.type == "Cinder" and isinstance(credentials, PasswordCredential):
            sections[store.store_id] |= {
                "cinder_store_user_name": credentials.username,
                "cinder_store_password": credentials.password.reveal(),
                "cinder_store_project_name": credentials.project_name,
                "cinder_store_user_domain_name": credentials.user_domain_name,
                "cinder_store_project_domain_name": credentials.project_domain_name,
            }
    return sections


def test_every_type_of_store_has_its_driver_and_its_options(loaded: Loaded) -> None:
    types = loaded.found["types"]
    assert {name: types[name] for name in (store.store_id for store in TYPED_STORES)} == {
        "ceph-1": "rbd",
        "ceph_2": "rbd",
        "s3_1": "s3",
        "swift-1": "swift",
        "swift_2": "swift",
        "cinder_1": "cinder",
    }
    read = loaded.found["read"]
    assert read["ceph-1"]["rbd_store_chunk_size"] == 4
    assert read["ceph-1"]["rbd_thin_provisioning"] is True
    assert read["ceph_2"]["rbd_store_pool"] == "other"
    assert read["s3_1"]["s3_store_secret_key"] == HOSTILE
    assert read["swift_2"]["swift_store_retry_get_count"] == 3
    assert read["cinder_1"]["cinder_store_password"] == HOSTILE
    assert read["privsep_osbrick"]["helper_command"] == "privsep-helper"


def test_the_driver_of_swift_reads_each_account_exactly_as_it_was_given(loaded: Loaded) -> None:
    accounts = loaded.found["swift_accounts"]
    assert accounts["swift-1"]["user"] == f"{SWIFT_HOSTILE}:{SWIFT_HOSTILE}"
    assert accounts["swift-1"]["key"] == HOSTILE
    assert accounts["swift-1"]["user_domain_name"] == HOSTILE
    assert accounts["swift-1"]["project_domain_name"] == HOSTILE
    assert accounts["swift_2"]["user"] == "image-data:images"
    assert accounts["swift_2"]["auth_address"] == "https://keystone.example/v3"


def test_an_application_credential_reaches_the_drivers_where_the_release_has_them(
    installed: InstalledGlance, tmp_path: Path
) -> None:
    release = RELEASES[installed.release]
    if "swift_store_application_credential_id" not in store_options(release, "swift"):
        assert installed.release in {"2025.1", "2025.2"}  # they are refused there, see ApplicationCredentialUnsupported
        return
    credential = ApplicationCredential("the-id", Sensitive(HOSTILE))
    inputs = samples.inputs(
        release=installed.release,
        database_url=installed.new_database(tmp_path),
        stores=(
            samples.store(),
            samples.store_of("Swift", "swift", credential),
            samples.store_of("Cinder", "cinder", credential),
        ),
    )
    found = load(installed, inputs, tmp_path).found
    assert found["unknown"] == []
    assert found["swift_accounts"]["swift"]["application_credential_id"] == "the-id"
    assert found["swift_accounts"]["swift"]["application_credential_secret"] == HOSTILE
    assert found["read"]["cinder"]["cinder_store_application_credential_secret"] == HOSTILE


def test_the_stores_are_served_in_the_order_given_with_the_default_one_ahead(loaded: Loaded) -> None:
    others = sorted({*STORE_IDS, *(store.store_id for store in TYPED_STORES)} - {"central"})
    assert loaded.found["stores"] == ["central", *others]
    assert loaded.found["weights"] == {"central": 10, "b_2": 0, "central2": 0, "default": 0}


def test_no_store_has_a_url_that_another_ones_url_begins_with(loaded: Loaded) -> None:
    prefixes = loaded.found["url_prefixes"]
    assert set(STORE_IDS) < set(prefixes)
    for name, prefix in prefixes.items():
        assert not [other for other in prefixes if other != name and prefixes[other].startswith(prefix)], name


def test_every_name_that_glance_has_taken_is_reserved(loaded: Loaded) -> None:
    taken = {*loaded.found["groups"], *loaded.found["default_options"]} - set(loaded.found["stores"])
    assert taken - reserved_store_ids(loaded.inputs.release) == set()


def test_the_pipeline_has_the_filters_and_applications_of_the_one_that_glance_ships(
    loaded: Loaded, installed: InstalledGlance
) -> None:
    shipped = _sections((installed.environment / "etc" / "glance" / glance_config.PASTE_INI).read_text())
    rendered = _sections(glance_config.config_files(loaded.inputs)[glance_config.PASTE_INI])
    shipped["app:healthcheck"]["disable_by_file_path"] = glance_config.DISABLE_FILE
    for section, options in rendered.items():
        assert options == {name: shipped[section][name] for name in options}, section
    pipeline = set(rendered["composite:api"]["keystone"].split())
    assert pipeline == {name.split(":")[1] for name in rendered if name.startswith("filter:")} | {"rootapp"}


def _sections(text: str) -> dict[str, dict[str, str]]:
    """Return the sections of a paste file, which has colons in its option names."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            found[line.strip("[]")] = section = {}
        elif line and not line.startswith("#"):
            name, value = re.split(r"\s*=\s*|:\s+", line, maxsplit=1)
            section[name] = value.strip()
    return found


def test_the_list_of_options_is_that_of_the_release(installed: InstalledGlance) -> None:
    command = [installed.environment / "bin" / "python", COLLECT_OPTIONS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    committed = (OPTIONS / f"options-{installed.release}.json").read_text()
    assert done.stdout == committed, "write it anew with tests/options/collect.py"


@pytest.mark.parametrize(
    ("pod_ips", "bind", "url"),
    [
        ("10.0.0.7", "0.0.0.0:9292", "http://10.0.0.7:9292"),
        ("10.0.0.7,fd00::7", "[::]:9292", "http://10.0.0.7:9292"),
        ("fd00::7", "[::]:9292", "http://[fd00::7]:9292"),
    ],
)
def test_gunicorn_listens_where_the_pod_has_addresses(
    installed: InstalledGlance, tmp_path: Path, pod_ips: str, bind: str, url: str
) -> None:
    config = tmp_path / glance_config.GUNICORN_CONF
    config.write_text(glance_config.config_files(samples.inputs())[glance_config.GUNICORN_CONF])
    program = (
        "import json, os, sys; from gunicorn.app.wsgiapp import WSGIApplication; "
        f"sys.argv = ['gunicorn', '--config', {str(config)!r}, 'glance.wsgi.api:application']; "
        "cfg = WSGIApplication().cfg; "
        "print(json.dumps([cfg.bind, os.environ['OS_DEFAULT__WORKER_SELF_REFERENCE_URL']]))"
    )
    command = [installed.environment / "bin" / "python", "-c", program]
    done = subprocess.run(command, env={"POD_IPS": pod_ips}, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == [[bind], url]
