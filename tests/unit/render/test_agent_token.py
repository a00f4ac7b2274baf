"""The token of the pods: the same for all pods of a service, another one for every other service and database."""

import base64

from tests.unit.render import samples

from imageservice.render.agent_token import agent_token, token_of
from imageservice.render.config_secret import config_secret
from imageservice.render.sites import edge_sites
from imageservice.sensitive import Sensitive

URL = Sensitive(samples.DATABASE_URL)
EDGE = {"nodeSelector": {"zone": "dcn0"}}


def token_in(config):
    return base64.b64decode(config["data"]["agent-token"]).decode()


def test_every_site_has_the_token_that_the_operator_derives_from_the_database_alone():
    inputs = samples.inputs(stores=(samples.store("central"), samples.store("dcn0", samples.NFS, edge=EDGE)))
    [edge] = edge_sites(inputs)
    token = agent_token(URL, "openstack", "glance").reveal()
    assert {token_in(config_secret(site)) for site in (inputs, edge)} == {token}
    assert len(token) == 64
    assert token not in repr(token_of(inputs))


def test_services_and_databases_do_not_share_a_token():
    others = [("openstack", "other"), ("other", "glance"), ("openstack/glance", "")]
    tokens = {agent_token(URL, *place) for place in (("openstack", "glance"), *others)}
    assert len(tokens | {agent_token(Sensitive(f"{samples.DATABASE_URL}2"), "openstack", "glance")}) == 5
