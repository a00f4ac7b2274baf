"""What an edge has and has not: its own store and the default one, its own nodes, and nothing of other edges."""

import base64
import configparser
import itertools
from typing import Any

import pytest
from hypothesis import given
from tests.unit.render import samples
from tests.unit.render.test_names import OBJECT_NAMES

from imageservice.manifest import Manifest
from imageservice.render.config_secret import config_secret
from imageservice.render.deployment import deployment
from imageservice.render.inputs import ImageServiceInputs
from imageservice.render.labels import api_selector
from imageservice.render.names import MAX_LABEL, api_name
from imageservice.render.poddisruptionbudget import pod_disruption_budget
from imageservice.render.service import service, service_url
from imageservice.render.sites import edge_site, edge_sites


def edge_store(name: str, **edge: Any) -> Any:
    return samples.store(name, samples.NFS, edge={"nodeSelector": {"zone": name}, **edge})


def dcn(**changes: Any) -> ImageServiceInputs:
    stores = (samples.store("central"), edge_store("dcn0", replicas=2), edge_store("dcn1"), samples.store("archive"))
    return samples.inputs(stores=stores, **changes)


def conf(inputs: ImageServiceInputs) -> configparser.RawConfigParser:
    text = base64.b64decode(config_secret(inputs)["data"]["glance-api.conf"]).decode()
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return parser


def pods_of(inputs: ImageServiceInputs) -> Manifest:
    pods: Manifest = deployment(inputs, "config")["spec"]["template"]
    return pods


def test_each_store_with_an_edge_is_a_site():
    assert [site.edge for site in edge_sites(dcn())] == ["dcn0", "dcn1"]
    assert edge_sites(samples.inputs()) == []


def test_a_store_without_an_edge_has_no_site():
    with pytest.raises(ValueError, match="no edge"):
        edge_site(dcn(), samples.store("archive"))


def test_an_edge_serves_its_own_store_first_then_the_default_one_and_no_other():
    for site in edge_sites(dcn()):
        read = conf(site)
        backends = read["DEFAULT"]["enabled_backends"].split(",")
        assert [pair.split(":")[0] for pair in backends] == [site.edge, "central"]
        assert read["glance_store"]["default_backend"] == site.edge
        assert read[site.edge]["weight"] == "10"
        assert "weight" not in read["central"] or read["central"]["weight"] == "0"
        assert not {"dcn0", "dcn1", "archive"} - {site.edge} & set(read.sections())


def test_the_centre_serves_every_store():
    backends = conf(dcn())["DEFAULT"]["enabled_backends"].split(",")
    assert [pair.split(":")[0] for pair in backends] == ["central", "archive", "dcn0", "dcn1"]


def test_an_edge_mounts_no_other_edges_volume():
    for site in edge_sites(dcn()):
        mounted = {volume["name"] for volume in pods_of(site)["spec"]["volumes"] if volume["name"].startswith("store-")}
        assert mounted == {f"store-{site.edge}", "store-central"}


def test_options_for_a_store_that_is_not_served_stay_away_from_the_edge():
    chosen = {"dcn1": {"filesystem_store_chunk_size": "131072"}, "DEFAULT": {"debug": "true"}}
    first, second = edge_sites(dcn(extraConfig=chosen))
    assert "dcn1" not in conf(first)
    assert conf(first)["DEFAULT"]["debug"] == "true"
    assert conf(second)["dcn1"]["filesystem_store_chunk_size"] == "131072"


def test_a_default_store_that_only_one_node_can_have_stays_at_the_centre():
    stores = (samples.store("central", samples.EMPTY_DIR, shared=False), edge_store("dcn0"))
    [site] = edge_sites(samples.inputs(stores=stores, api={"replicas": 1}))
    assert [store.store_id for store in site.stores] == ["dcn0"]
    assert site.volumes_are_shared


def test_an_edge_stages_imports_in_its_own_pods_where_the_centre_has_a_claim_for_them():
    claim = {"type": "PersistentVolumeClaim", "persistentVolumeClaim": {"claimName": "staging"}}
    inputs = dcn(imports={"staging": claim})
    staging = [
        next(v for v in pods_of(site)["spec"]["volumes"] if v["name"] == "staging")
        for site in [inputs, *edge_sites(inputs)]
    ]
    assert [sorted(volume) for volume in staging] == [["name", "persistentVolumeClaim"], *[["emptyDir", "name"]] * 2]


def test_the_default_store_may_be_an_edge_itself():
    [site] = edge_sites(samples.inputs(stores=(edge_store("dcn0"), samples.store("archive"))))
    assert [store.store_id for store in site.stores] == ["dcn0"]


def test_an_edge_runs_on_its_nodes_with_its_own_numbers_and_the_rest_as_at_the_centre():
    api = {
        "replicas": 5,
        "processes": 7,
        "nodeSelector": {"role": "controller"},
        "tolerations": [{"key": "controller", "operator": "Exists"}],
        "resources": {"requests": {"cpu": "2"}},
    }
    first, second = edge_sites(dcn(api=api))
    assert deployment(first, "config")["spec"]["replicas"] == 2
    assert pods_of(first)["spec"]["nodeSelector"] == {"zone": "dcn0"}
    assert "tolerations" not in pods_of(first)["spec"]
    assert pods_of(first)["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "2"}}
    assert first.spec.api.processes == 7
    assert pod_disruption_budget(first) is not None
    assert pod_disruption_budget(second) is None


def test_no_selector_leads_to_the_pods_of_another_site():
    sites = [dcn(), *edge_sites(dcn())]
    for site in sites:
        chosen = service(site)["spec"]["selector"]
        mine = deployment(site, "config")["spec"]["selector"]["matchLabels"]
        assert [other.edge for other in sites if mine.items() <= pods_of(other)["metadata"]["labels"].items()] == [
            site.edge
        ]
        led_to = [other.edge for other in sites if chosen.items() <= pods_of(other)["metadata"]["labels"].items()]
        assert led_to == [site.edge]


def test_every_site_has_children_of_its_own():
    sites = [dcn(), *edge_sites(dcn())]
    assert len({service(site)["metadata"]["name"] for site in sites}) == len(sites)
    assert len({config_secret(site)["metadata"]["name"] for site in sites}) == len(sites)
    assert len({service_url(site) for site in sites}) == len(sites)


def test_a_store_added_elsewhere_changes_nothing_at_an_edge():
    before = {site.edge: (config_secret(site), deployment(site, "config")) for site in edge_sites(dcn())}
    more = samples.other(dcn(), stores=(*dcn().stores, edge_store("dcn2")))
    after = {site.edge: (config_secret(site), deployment(site, "config")) for site in edge_sites(more)}
    assert {edge: after[edge] for edge in before} == before
    assert config_secret(more) != config_secret(dcn())


@given(OBJECT_NAMES, OBJECT_NAMES)
def test_the_name_of_an_edge_is_a_dns_label(owner: str, edge: str):
    name = api_name(owner, edge)
    assert len(name) <= MAX_LABEL
    assert name[0].isalpha()
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not name.endswith("-")


def test_two_edges_never_share_a_name():
    parts = ["a", "edge", "a-edge", "edge-a", "a-edge-a", "edge-edge", "a-a"]
    pairs = list(itertools.product(parts, parts))
    assert len({api_name(*pair) for pair in pairs}) == len(pairs)


def test_an_edge_is_named_after_service_and_store():
    assert api_name("glance", "dcn0") == "glance-edge-dcn0"
    assert api_selector("glance", "dcn0") != api_selector("glance", "dcn1")
