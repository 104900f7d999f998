"""Every setting of a provisioner: its unit, its default, the variable it is read from.

With `policy_traits` the sole reader of GP_* variables on this side; the names are those of Gateway
Provisioners where it has the setting. Precedence: kernelspec or traitlets configuration, then environment,
then the default here.
"""

from __future__ import annotations

import os
import socket
import uuid
from typing import Any

from traitlets import (
    Bool,
    Dict,
    Enum,
    Float,
    Int,
    List,
    TraitError,
    Unicode,
    default,
    validate,
)
from traitlets.config import LoggingConfigurable

from gateway_provisioners.model.kernelspec import port_range_problem
from gateway_provisioners.provisioners.policy_traits import ClientPolicyTraits
from gateway_provisioners.provisioners.variables import flag, names, number

_OF_THIS_PROCESS = "process-"


class LaunchTraits(ClientPolicyTraits):
    """What a kernelspec's `kernel_provisioner.config` says about its kernels."""

    image_name = Unicode(help="The image that the kernel's container runs.").tag(config=True)
    executor_image_name = Unicode(help="The image of Spark executors.").tag(config=True)
    launch_timeout = Int(help="Seconds to wait for a kernel to start. (GP_LAUNCH_TIMEOUT)").tag(
        config=True
    )
    port_range = Unicode(
        help="Ports that the kernel may listen on, as lo..hi; 0..0 is any. (GP_PORT_RANGE)"
    ).tag(config=True)
    authorized_users = List(
        Unicode(), help="The only users who may start it; empty is everybody. (GP_AUTHORIZED_USERS)"
    ).tag(config=True)
    unauthorized_users = List(
        Unicode(), help="Users who may never start it. (GP_UNAUTHORIZED_USERS)"
    ).tag(config=True)
    transport_encryption = Enum(
        ("disabled", "auto", "required"),
        help="CurveZMQ on the kernel's channels: auto uses it where the kernel in the image can, required "
        "starts no kernel without it. (GP_TRANSPORT_ENCRYPTION)",
    ).tag(config=True)

    @default("image_name")
    def _default_image_name(self) -> str:
        return os.environ.get("GP_IMAGE_NAME", "")

    @default("executor_image_name")
    def _default_executor_image_name(self) -> str:
        return os.environ.get("GP_EXECUTOR_IMAGE_NAME", "") or self.image_name

    @default("launch_timeout")
    def _default_launch_timeout(self) -> int:
        return int(number("GP_LAUNCH_TIMEOUT", 30))

    @default("port_range")
    def _default_port_range(self) -> str:
        return os.environ.get("GP_PORT_RANGE", "0..0")

    @default("authorized_users")
    def _default_authorized_users(self) -> list[str]:
        return names("GP_AUTHORIZED_USERS")

    @default("unauthorized_users")
    def _default_unauthorized_users(self) -> list[str]:
        return names("GP_UNAUTHORIZED_USERS", ("root",))

    @default("transport_encryption")
    def _default_transport_encryption(self) -> str:
        return os.environ.get("GP_TRANSPORT_ENCRYPTION", "auto")

    @validate("port_range")
    def _validate_port_range(self, proposal: Any) -> str:
        value: str = proposal["value"] or "0..0"
        if problem := port_range_problem(value):
            raise TraitError(problem)
        return value


class KubernetesLaunchTraits(LaunchTraits):
    """What only a kernel on Kubernetes has."""

    image_pull_policy = Enum(
        ("Always", "IfNotPresent", "Never"), "IfNotPresent", help="As in a container's spec."
    ).tag(config=True)
    image_pull_secrets = List(
        Unicode(), help="Names of Secrets that may pull the image; they lie beside the kernels."
    ).tag(config=True)
    resources = Dict(help="requests and limits of the kernel's container.").tag(config=True)
    node_selector = Dict(help="Labels of the nodes that may run it.").tag(config=True)
    tolerations = List(Dict(), help="Taints that it tolerates, as in a Pod's spec.").tag(
        config=True
    )
    env_from = List(
        Dict(), help="Secrets and ConfigMaps whose keys become variables, as in a container's spec."
    ).tag(config=True)
    affinity = Dict(help="As in a Pod's spec.").tag(config=True)
    runtime_class_name = Unicode(help="As in a Pod's spec: gVisor, Kata, ...").tag(config=True)
    priority_class_name = Unicode(help="As in a Pod's spec.").tag(config=True)
    volumes = List(
        Dict(), help="As in a Pod's spec; {username} stands for the user, as a DNS label."
    ).tag(config=True)
    volume_mounts = List(Dict(), help="As in a container's spec; {username} as in volumes.").tag(
        config=True
    )
    service_account_name = Unicode(
        help="The service account of its Pod, whose token is not mounted. "
        "(GP_DEFAULT_KERNEL_SERVICE_ACCOUNT_NAME)"
    ).tag(config=True)
    run_as_user = Int(1000, allow_none=True, help="Numeric user id; null uses the image's.").tag(
        config=True
    )
    run_as_group = Int(100, allow_none=True, help="Numeric group id; null uses the image's.").tag(
        config=True
    )
    pod_template = Dict(help="A patch on the kernel's Pod, merged last.").tag(config=True)

    @default("service_account_name")
    def _default_service_account_name(self) -> str:
        return os.environ.get("GP_DEFAULT_KERNEL_SERVICE_ACCOUNT_NAME", "")


class DockerLaunchTraits(LaunchTraits):
    """What only a kernel in a Docker container has."""

    image_pull_policy = Enum(
        ("Always", "IfNotPresent", "Never"),
        "IfNotPresent",
        help="When the engine pulls the image; a swarm's nodes decide for themselves.",
    ).tag(config=True)
    resources = Dict(
        help="requests and limits of the kernel's container, as Kubernetes writes them."
    ).tag(config=True)
    run_as_user = Int(1000, allow_none=True, help="Numeric user id; null uses the image's.").tag(
        config=True
    )
    run_as_group = Int(100, allow_none=True, help="Numeric group id; null uses the image's.").tag(
        config=True
    )
    volumes = List(
        Unicode(),
        help="What is mounted, each SOURCE:TARGET[:ro]; SOURCE is a path of the engine's host or a "
        "volume's name; {username} stands for the user, as a DNS label.",
    ).tag(config=True)
    container_template = Dict(
        help="A patch on the body of the container's or service's creation, merged last."
    ).tag(config=True)
    constraints = List(
        Unicode(), help="Which nodes of a swarm may run it, as in node.labels.disk==ssd."
    ).tag(config=True)


class ResponseTraits(LoggingConfigurable):
    """Where launchers reach this process. One per process, whatever the kernels."""

    response_ip = Unicode(
        help="The address that launchers dial. (GP_RESPONSE_IP; default: this host's)"
    ).tag(config=True)
    response_port = Int(help="The port that launchers dial. (GP_RESPONSE_PORT, 8877)").tag(
        config=True
    )
    response_port_retries = Int(
        help="How many ports after it to try when it is taken. (GP_RESPONSE_PORT_RETRIES, 10)"
    ).tag(config=True)
    response_addr_any = Bool(
        help="Listen on every address, not just on response_ip. (GP_RESPONSE_ADDR_ANY)"
    ).tag(config=True)

    @default("response_ip")
    def _default_response_ip(self) -> str:
        return os.environ.get("GP_RESPONSE_IP", "") or _outward_address()

    @default("response_port")
    def _default_response_port(self) -> int:
        return int(number("GP_RESPONSE_PORT", 8877))

    @default("response_port_retries")
    def _default_response_port_retries(self) -> int:
        return int(number("GP_RESPONSE_PORT_RETRIES", 10))

    @default("response_addr_any")
    def _default_response_addr_any(self) -> bool:
        return flag("GP_RESPONSE_ADDR_ANY", fallback=False)


class EngineTraits(ResponseTraits):
    """What this process needs of an engine, whichever it is."""

    instance = Unicode(
        help="Who owns the kernels, as a label value: only pods and containers with it are taken over or "
        "cleaned up by a gateway that starts. (GP_INSTANCE; default: unique to this process, which owns "
        "nothing older)"
    ).tag(config=True)
    unschedulable_grace = Float(
        help="Seconds that a kernel may wait for a node, where the cluster can grow. "
        "(GP_UNSCHEDULABLE_GRACE, 0)"
    ).tag(config=True)

    @default("instance")
    def _default_instance(self) -> str:
        return os.environ.get("GP_INSTANCE", "") or f"{_OF_THIS_PROCESS}{uuid.uuid4()}"

    @property
    def instance_is_lasting(self) -> bool:
        """Whether a later process of the same instance takes over what this one leaves."""
        return not self.instance.startswith(_OF_THIS_PROCESS)

    @default("unschedulable_grace")
    def _default_unschedulable_grace(self) -> float:
        return number("GP_UNSCHEDULABLE_GRACE", 0)


class KubernetesTraits(EngineTraits):
    """Which part of which cluster this process works in."""

    namespace = Unicode(help="Where kernels run. (GP_NAMESPACE, default)").tag(config=True)
    owner_deployment = Unicode(
        help="A Deployment that owns the kernels: they are collected when it is deleted. "
        "(GP_OWNER_DEPLOYMENT)"
    ).tag(config=True)
    owner_config_map = Unicode(
        help="A ConfigMap that owns them instead, where the Deployment is in another namespace than "
        "the kernels: owners never are. (GP_OWNER_CONFIGMAP)"
    ).tag(config=True)
    gateway_pod = Unicode(
        help="The pod of this process, where several gateways share the kernels. (GP_GATEWAY_POD)"
    ).tag(config=True)
    gateway_selector = Unicode(
        help="A label selector of all their pods. (GP_GATEWAY_SELECTOR)"
    ).tag(config=True)
    gateway_namespace = Unicode(
        help="Where these pods are. (GP_GATEWAY_NAMESPACE; default: where kernels run)"
    ).tag(config=True)
    max_kernels = Int(
        help="How many kernels may run, over all gateways; 0 is no limit. (GP_MAX_KERNELS)"
    ).tag(config=True)
    max_kernels_per_user = Int(
        help="How many of them one user may run; 0 is no limit. (GP_MAX_KERNELS_PER_USER)"
    ).tag(config=True)

    @default("namespace")
    def _default_namespace(self) -> str:
        return os.environ.get("GP_NAMESPACE", "default")

    @default("owner_deployment")
    def _default_owner_deployment(self) -> str:
        return os.environ.get("GP_OWNER_DEPLOYMENT", "")

    @default("owner_config_map")
    def _default_owner_config_map(self) -> str:
        return os.environ.get("GP_OWNER_CONFIGMAP", "")

    @default("gateway_pod")
    def _default_gateway_pod(self) -> str:
        return os.environ.get("GP_GATEWAY_POD", "")

    @default("gateway_selector")
    def _default_gateway_selector(self) -> str:
        return os.environ.get("GP_GATEWAY_SELECTOR", "")

    @default("gateway_namespace")
    def _default_gateway_namespace(self) -> str:
        return os.environ.get("GP_GATEWAY_NAMESPACE", "") or self.namespace

    @default("max_kernels")
    def _default_max_kernels(self) -> int:
        return int(number("GP_MAX_KERNELS", 0))

    @default("max_kernels_per_user")
    def _default_max_kernels_per_user(self) -> int:
        return int(number("GP_MAX_KERNELS_PER_USER", 0))


class DockerTraits(EngineTraits):
    """How this process works with a Docker engine."""

    network = Unicode(
        help="The container network that kernels are reached on. (GP_DOCKER_NETWORK, bridge)"
    ).tag(config=True)
    remove_container = Bool(
        help="Remove the container of a kernel that has ended. (GP_REMOVE_CONTAINER, true)"
    ).tag(config=True)

    state_dir = Unicode(
        help="A folder of this process's own: with it, and with an instance, a later process finds the "
        "kernels again. (GP_STATE_DIR)"
    ).tag(config=True)

    @default("network")
    def _default_network(self) -> str:
        return os.environ.get("GP_DOCKER_NETWORK", "") or "bridge"

    @default("remove_container")
    def _default_remove_container(self) -> bool:
        return flag("GP_REMOVE_CONTAINER", fallback=True)

    @default("state_dir")
    def _default_state_dir(self) -> str:
        return os.environ.get("GP_STATE_DIR", "")


def _outward_address() -> str:
    """The address this host sends from; connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1 (RFC 5737)
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address
