"""The address that kernels report to: the local end of a route, and what is asked of the engine for it."""

import pytest

from gateway_provisioners.dockerd.engine import DockerEngine
from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.model.container.networks import network_addresses
from gateway_provisioners.model.quota import KernelQuota
from gateway_provisioners.provisioners import response_route
from gateway_provisioners.provisioners.response_route import is_loopback, local_address


async def test_the_first_host_with_a_route_decides(monkeypatch):
    monkeypatch.setattr(response_route, "_ANYWHERE", ())
    assert await local_address(["256.0.0.1", "127.0.0.9", "127.0.0.1"]) == "127.0.0.1"
    assert await local_address(["localhost"]) in ("127.0.0.1", "::1")


async def test_without_a_route_the_error_names_the_setting(monkeypatch):
    monkeypatch.setattr(response_route, "_ANYWHERE", ())
    with pytest.raises(ConfigurationError, match="set GP_RESPONSE_IP to an address"):
        await local_address(["256.0.0.1"])


def test_addresses_that_every_machine_has():
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("10.96.0.1", "fd00::1", "k8s.example.com")))


@pytest.mark.parametrize(
    ("configured", "addresses"),
    [
        ([{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}], ["172.17.0.1"]),
        ([{"Subnet": "172.20.0.0/16"}], ["172.20.0.1"]),
        (
            [{"Subnet": "fd00:5::/64", "Gateway": "fd00:5::1/64"}, {"Subnet": "10.5.0.0/24"}],
            ["10.5.0.1", "fd00:5::1"],
        ),
        ([{"Subnet": "", "Gateway": ""}, {"Gateway": "none"}, {}], []),
        (None, []),
    ],
)
def test_an_address_in_each_subnet_of_a_network(configured, addresses):
    assert network_addresses({"IPAM": {"Config": configured}}) == addresses


def test_a_network_that_the_engine_does_not_describe():
    assert network_addresses({}) == []


class FakeApi:
    def __init__(self, networks, remote_host=""):
        self._networks = networks
        self.remote_host = remote_host

    async def inspect_network(self, name):
        if name not in self._networks:
            return None
        return {"IPAM": {"Config": [{"Gateway": each} for each in self._networks[name]]}}


@pytest.mark.parametrize(
    ("api", "network", "hosts"),
    [
        (FakeApi({"bridge": ["172.17.0.1"], "team": ["172.18.0.1"]}), "team", ["172.18.0.1"]),
        # The network of the engine's host has no addresses of its own.
        (FakeApi({"bridge": ["172.17.0.1"], "host": []}), "host", ["172.17.0.1"]),
        (FakeApi({"host": []}, "engine.example.com"), "host", ["engine.example.com"]),
        (FakeApi({"team": ["10.8.0.1"]}, "engine.example.com"), "team", ["10.8.0.1"]),
        # A proxy that shows no network.
        (FakeApi({}), "team", []),
    ],
)
async def test_hosts_near_the_containers_of_a_network(api, network, hosts):
    engine = DockerEngine(api, instance="test", records=None, keep=False, quota=KernelQuota())
    assert await engine.hosts_near(network) == hosts
