"""The addresses of kernels, from their pods, containers and tasks to the gateway's look-up."""

from gateway_provisioners.dockerd.admission import Admission
from gateway_provisioners.dockerd.containers import ContainerKernels
from gateway_provisioners.dockerd.records import Records
from gateway_provisioners.dockerd.swarm import ServiceKernels
from gateway_provisioners.gateway.kernels.addresses import KernelAddresses
from gateway_provisioners.kube.pods import KernelPods
from gateway_provisioners.model.addresses import read_address
from gateway_provisioners.model.pod.status import own_addresses
from gateway_provisioners.model.quota import KernelQuota


class Api:
    """An engine's API that gets no request."""

    def collection(self, *_kind_and_namespace, **_selectors):
        return None


def known(addresses, *candidates):
    return [each for each in candidates if read_address(each) in addresses]


def pod(*ips, phase="Running", version="1", **spec):
    return {
        "metadata": {"name": "kernel-1", "resourceVersion": version, "labels": {}},
        "spec": spec,
        "status": {
            "phase": phase,
            "podIP": ips[0] if ips else "",
            "podIPs": [{"ip": i} for i in ips],
        },
    }


def container(status="running", **network):
    return {"State": {"Status": status}, "NetworkSettings": {"Networks": {"kernels": network}}}


def test_an_address_is_known_in_every_form():
    addresses = KernelAddresses()
    addresses.report("a", ["10.0.0.7", "fd00:0::7"])
    forms = ("10.0.0.7", "::ffff:10.0.0.7", "::ffff:a00:7", "fd00::7", "FD00::0007", "fd00::7%eth0")
    assert known(addresses, *forms, "10.0.0.8", "::10.0.0.7") == list(forms)


def test_text_that_is_not_an_address_is_left_out():
    addresses = KernelAddresses()
    addresses.report("a", ["", "None", "10.0.0.7"])
    assert known(addresses, "10.0.0.7") == ["10.0.0.7"]


def test_listeners_are_called_for_new_addresses_only():
    addresses, calls = KernelAddresses(), []
    addresses.subscribe(lambda: calls.append(known(addresses, "10.0.0.7", "10.0.0.8")))
    addresses.report("a", ["10.0.0.7"])
    addresses.report("a", ["10.0.0.7"])
    addresses.report("b", ["10.0.0.7", "10.0.0.8"])
    addresses.report("a", [])
    addresses.report("b", [])
    assert calls == [["10.0.0.7"], ["10.0.0.7", "10.0.0.8"]]
    assert known(addresses, "10.0.0.7", "10.0.0.8") == []


def test_a_pod_has_all_its_addresses_while_it_runs():
    assert own_addresses(pod()) == []
    assert own_addresses(pod("10.0.0.7", "fd00::7")) == ["10.0.0.7", "fd00::7"]
    # Another pod may have got them.
    assert own_addresses(pod("10.0.0.7", phase="Succeeded")) == []
    assert own_addresses(pod("10.0.0.7", phase="Failed")) == []


def test_a_node_is_not_a_kernel():
    assert own_addresses(pod("192.0.2.1", hostNetwork=True)) == []


def test_addresses_follow_the_watch_of_pods():
    pods = KernelPods(Api(), "kernels", instance="ours", process="a", quota=KernelQuota())
    pods.cache.learn(pod("10.0.0.7"))
    addresses = KernelAddresses()
    pods.follow_addresses(addresses.report)
    assert known(addresses, "10.0.0.7") == ["10.0.0.7"]
    pods.cache.learn(pod("10.0.0.7", "fd00::7", version="2"))
    assert known(addresses, "10.0.0.7", "fd00::7") == ["10.0.0.7", "fd00::7"]
    pods.cache._changed("DELETED", pod("10.0.0.7", "fd00::7", version="3"))
    assert known(addresses, "10.0.0.7", "fd00::7") == []


def test_addresses_follow_the_events_of_containers():
    kernels = ContainerKernels(
        Api(),
        instance="ours",
        records=Records(None, instance="ours"),
        admission=Admission(KernelQuota()),
        keep=False,
    )
    kernels._learn("a", container(IPAddress="172.18.0.2"))
    addresses = KernelAddresses()
    kernels.follow_addresses(addresses.report)
    assert known(addresses, "172.18.0.2") == ["172.18.0.2"]
    kernels._learn("a", container(IPAddress="172.18.0.3", GlobalIPv6Address="fd00::3"))
    both = ["172.18.0.3", "fd00::3"]
    assert known(addresses, "172.18.0.2", *both) == both
    kernels._learn("a", container("exited", IPAddress="", GlobalIPv6Address=""))
    assert known(addresses, *both) == []
    kernels._learn("a", None)


def test_a_task_has_its_addresses_until_it_has_ended():
    kernels = ServiceKernels(
        Api(),
        instance="ours",
        records=Records(None, instance="ours"),
        admission=Admission(KernelQuota()),
        keep=False,
    )
    addresses = KernelAddresses()
    kernels.follow_addresses(addresses.report)
    task = {
        "Status": {"State": "running"},
        "NetworksAttachments": [{"Addresses": ["10.0.1.5/24"]}, {"Addresses": ["10.0.2.5/24"]}],
    }
    everything = ["10.0.1.5", "10.0.2.5"]
    kernels._learn("a", task)
    assert known(addresses, *everything) == everything
    kernels._learn("a", {**task, "Status": {"State": "complete"}})
    assert known(addresses, *everything) == []
