"""The files of Glance: where each field ends up, and every trap of Glance that has to be stepped around."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.glance_environments import RELEASES
from tests.unit.render import samples

from imageservice.render import glance_config
from imageservice.render.glance_config import config_files, glance_api_conf
from imageservice.render.inputs import ApplicationCredential
from imageservice.sensitive import Sensitive


def conf(**changes: object) -> str:
    """Return the text of glance-api.conf."""
    return config_files(samples.inputs(**changes))["glance-api.conf"]  # type: ignore[arg-type]


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_default_store_is_written_first_and_weighs_most_whatever_its_name(release: str) -> None:
    stores = (samples.store("zebra"), samples.store("b"), samples.store("a"))
    sections = glance_api_conf(samples.inputs(release=release, stores=stores))
    assert sections["DEFAULT"]["enabled_backends"] == "zebra:file,a:file,b:file"
    assert sections["glance_store"] == {"default_backend": "zebra"}
    weights = {name: int(sections[name].get("weight", "0")) for name in ("zebra", "a", "b")}
    assert weights["zebra"] > weights["a"] == weights["b"]


def test_every_store_has_a_directory_of_its_own_that_no_other_begins_with() -> None:
    stores = tuple(samples.store(name) for name in ("central", "central2", "central_2"))
    sections = glance_api_conf(samples.inputs(stores=stores))
    directories = [sections[store.store_id]["filesystem_store_datadir"] for store in stores]
    assert directories[0] == "/var/lib/glance/stores/central/"
    assert not any(one != other and other.startswith(one) for one in directories for other in directories)


def test_sparse_upload_and_description_reach_the_section_of_their_store() -> None:
    sparse = {"volume": samples.CLAIM, "sparseUpload": True}
    sections = glance_api_conf(
        samples.inputs(stores=(samples.store("a", filesystem=sparse, description="SSD, Tokyo"),))
    )
    assert sections["a"]["filesystem_thin_provisioning"] == "true"
    assert sections["a"]["store_description"] == "SSD, Tokyo"


def test_staging_and_tasks_have_volumes_of_their_own() -> None:
    sections = glance_api_conf(samples.inputs())
    assert sections["os_glance_staging_store"] == {"filesystem_store_datadir": "/var/lib/glance/staging"}
    assert sections["os_glance_tasks_store"] == {"filesystem_store_datadir": "/var/lib/glance/tasks"}


def test_import_methods_are_in_brackets_and_fetch_nothing(release: str) -> None:
    assert "enabled_import_methods = [glance-direct,copy-image]" in conf(release=release)


def test_nothing_is_logged_to_a_file_so_that_errors_at_boot_reach_the_pod_log(release: str) -> None:
    text = conf(release=release)
    assert "use_stderr = true" in text
    assert "log_file" not in text
    assert "log_dir" not in text


def test_safe_defaults_are_written_and_deprecated_ones_are_not(release: str) -> None:
    text = conf(release=release)
    wanted = {
        *("show_image_direct_url = false", "require_image_format_match = true", "gpt_safety_checks_nonfatal ="),
        *("enforce_new_defaults = true", "enable_proxy_headers_parsing = true"),
    }
    assert wanted <= set(text.splitlines())
    assert "show_multiple_locations" not in text
    assert "enforce_scope" not in text


def test_an_application_credential_is_used_where_there_is_one() -> None:
    credential = ApplicationCredential("7c0ffee", Sensitive("credential-secret"))
    section = glance_api_conf(samples.inputs(credentials=credential))["keystone_authtoken"]
    assert section["auth_type"] == "v3applicationcredential"
    assert section["application_credential_id"] == "7c0ffee"
    assert section["application_credential_secret"] == "credential-secret"
    assert not {"username", "password", "project_name"} & set(section)


def test_a_password_is_used_with_its_domains() -> None:
    section = glance_api_conf(samples.inputs())["keystone_authtoken"]
    assert section["auth_type"] == "password"
    assert (section["username"], section["password"]) == ("glance", samples.PASSWORD)
    assert section["project_name"] == "service"
    assert section["user_domain_name"] == section["project_domain_name"] == "Default"


def test_service_tokens_need_the_service_role() -> None:
    section = glance_api_conf(samples.inputs())["keystone_authtoken"]
    assert section["service_token_roles"] == "service"
    assert section["service_token_roles_required"] == "true"


def test_extra_config_wins_over_the_defaults_and_may_open_a_section() -> None:
    extra = {"oslo_middleware": {"enable_proxy_headers_parsing": "false"}, "cors": {"allowed_origin": "https://h"}}
    sections = glance_api_conf(samples.inputs(extraConfig=extra))
    assert sections["oslo_middleware"]["enable_proxy_headers_parsing"] == "false"
    assert sections["cors"] == {"allowed_origin": "https://h"}


INI_SYNTAX = st.sampled_from(["\n[DEFAULT]\ndebug=true", "\r[database]", "\nconnection = x", "\x00", "\x85a=b"])


@given(INI_SYNTAX)
def test_a_line_break_in_any_text_is_refused_by_the_name_of_its_option(attack: str) -> None:
    credential = ApplicationCredential("id", Sensitive(f"secret{attack}"))
    with pytest.raises(ValueError, match=r"\[keystone_authtoken\] application_credential_secret contains"):
        config_files(samples.inputs(credentials=credential))
    with pytest.raises(ValueError, match=r"\[database\] connection contains the character"):
        config_files(samples.inputs(database_url=f"{samples.DATABASE_URL}{attack}"))


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=60))
def test_no_text_of_a_user_opens_a_section_or_an_option(text: str) -> None:
    def heads(description: str) -> list[str]:
        stores = (samples.store("central", description=description),)
        lines = config_files(samples.inputs(stores=stores))["glance-api.conf"].split("\n")
        return [line.split(" = ")[0] for line in lines]

    assert heads(f"x{text}") == heads("x")


def test_gunicorn_ends_before_the_grace_period_does() -> None:
    settings = glance_config.gunicorn_settings(samples.inputs(api={"terminationGracePeriodSeconds": 30}))
    graceful = settings["graceful_timeout"]
    assert isinstance(graceful, int)
    assert 0 < graceful <= 30 - glance_config.DRAIN_PAUSE_SECONDS - 2


def test_gunicorn_has_the_processes_and_threads_of_the_spec() -> None:
    text = config_files(samples.inputs(api={"processes": 3, "threads": 7}))["gunicorn.conf.py"]
    compile(text, "gunicorn.conf.py", "exec")
    assert re.search(r"^workers = 3$", text, re.MULTILINE)
    assert re.search(r"^threads = 7$", text, re.MULTILINE)
    assert re.search(r"^worker_connections = 7$", text, re.MULTILINE)
    assert re.search(r"^keepalive = 0$", text, re.MULTILINE)


def test_every_thread_can_have_a_connection_to_the_database() -> None:
    section = glance_api_conf(samples.inputs(api={"threads": 256}))["database"]
    assert int(section["max_pool_size"]) + int(section["max_overflow"]) >= 256 + glance_config.TASK_THREADS


def test_each_pod_tells_the_others_its_own_url() -> None:
    files = config_files(samples.inputs())
    assert "OS_DEFAULT__WORKER_SELF_REFERENCE_URL" in files["gunicorn.conf.py"]
    assert "worker_self_reference_url" not in files["glance-api.conf"]


def test_pods_that_share_their_staging_pass_no_import_on_to_one_that_may_be_gone() -> None:
    staging = {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "staging"}}
    for name, text in config_files(samples.inputs(imports={"staging": staging})).items():
        assert "worker_self_reference_url" not in text.lower(), name
