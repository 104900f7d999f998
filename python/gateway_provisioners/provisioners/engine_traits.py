"""The settings of a process that starts kernels, a gateway or another: how it works with the engine."""

from __future__ import annotations

import uuid

from traitlets.config import LoggingConfigurable

from gateway_provisioners.model.quota import KernelQuota
from gateway_provisioners.model.quota_settings import with_quotas
from gateway_provisioners.settings import from_env

_OF_THIS_PROCESS = "process-"


def _checked_quotas(text: str) -> str:
    with_quotas(KernelQuota(), text)
    return text


class EngineTraits(LoggingConfigurable):
    """The settings for every engine."""

    response_ip = from_env(
        "GP_RESPONSE_IP",
        "",
        "The address of this process, which launchers connect to. By default, each launch uses the one that "
        "this machine has on the way to its kernel.",
        default_text="chosen at each launch",
    )
    response_port = from_env("GP_RESPONSE_PORT", 8877, "The port that launchers connect to.")
    response_port_retries = from_env(
        "GP_RESPONSE_PORT_RETRIES", 10, "How many ports after it to try when it is taken."
    )
    response_addr_any = from_env(
        "GP_RESPONSE_ADDR_ANY",
        False,
        "Listen on every address, not only on the one that launchers connect to.",
    )
    instance = from_env(
        "GP_INSTANCE",
        "",
        "The label value of this release's kernels: a gateway takes over, and cleans up, only pods and "
        "containers that have it. Without it, kernels end with their process.",
        compute=lambda _traits: f"{_OF_THIS_PROCESS}{uuid.uuid4()}",
        default_text="unique to the process",
    )
    unschedulable_grace = from_env(
        "GP_UNSCHEDULABLE_GRACE",
        0.0,
        "How long a kernel that fits on no node may wait until an autoscaler or a preemption announces one.",
        unit="seconds",
    )
    wait_timeout = from_env(
        "GP_WAIT_TIMEOUT",
        0.0,
        "How long a start may take while it waits for something that can pass: a volume, a registry, a new "
        "node, a scheduling gate. If this is less than the launch timeout, that holds. A client that sends "
        "KERNEL_LAUNCH_TIMEOUT waits no longer than that.",
        unit="seconds",
    )
    max_kernels_of_release = from_env(
        "GP_MAX_KERNELS",
        0,
        "How many kernels of GP_INSTANCE may run, whichever gateway started them; 0: no limit. "
        "KG_MAX_KERNELS limits those of one gateway.",
    )
    max_kernels_per_user = from_env(
        "GP_MAX_KERNELS_PER_USER", 0, "How many of them one user may run; 0: no limit."
    )
    quotas = from_env(
        "GP_QUOTAS",
        "",
        "The CPUs, memory and GPUs that their kernels may use at once, for each user, for users by name and "
        "for all members of a group together, as JSON in the form of the chart's gateway.quotas.",
        parse=_checked_quotas,
    )

    @property
    def quota(self) -> KernelQuota:
        """All quotas of kernels.

        Raises:
            ConfigurationError: `quotas` is malformed.
        """
        quota = KernelQuota(self.max_kernels_of_release, self.max_kernels_per_user)
        return with_quotas(quota, self.quotas)

    @property
    def instance_is_lasting(self) -> bool:
        """True if a later process of the same instance can take over the kernels of this one."""
        return not self.instance.startswith(_OF_THIS_PROCESS)


class KubernetesTraits(EngineTraits):
    """The settings for Kubernetes alone."""

    namespace = from_env("GP_NAMESPACE", "default", "The namespace of the kernels.")
    owner_deployment = from_env(
        "GP_OWNER_DEPLOYMENT",
        "",
        "A Deployment that owns the kernels: Kubernetes deletes them with it.",
    )
    owner_config_map = from_env(
        "GP_OWNER_CONFIGMAP",
        "",
        "A ConfigMap that owns them instead: for a Deployment in another namespace, which cannot.",
    )
    gateway_pod = from_env(
        "GP_GATEWAY_POD", "", "The pod of this process, where several gateways share the kernels."
    )
    gateway_selector = from_env(
        "GP_GATEWAY_SELECTOR", "", "A label selector of the pods of all these gateways."
    )
    gateway_namespace = from_env(
        "GP_GATEWAY_NAMESPACE",
        "",
        "The namespace of these pods.",
        compute=lambda traits: traits.namespace,
        default_text="the kernels' namespace",
    )
    gateway_service_account = from_env(
        "GP_GATEWAY_SERVICE_ACCOUNT",
        "",
        "The ServiceAccount of these pods, which no kernel in their namespace may have.",
    )
    gateway_lease = from_env(
        "GP_LEASE",
        "",
        "The Lease by which these gateways agree on one that looks after idle and dead kernels.",
    )
    kernelspecs_config_map = from_env(
        "GP_KERNELSPECS_CONFIGMAP",
        "",
        "A ConfigMap of kernelspecs, in the kernels' namespace, that the gateway follows.",
    )


class DockerTraits(EngineTraits):
    """The settings for Docker, Swarm and podman alone."""

    network = from_env("GP_DOCKER_NETWORK", "bridge", "The container network of the kernels.")
    remove_container = from_env(
        "GP_REMOVE_CONTAINER", True, "Remove the containers of kernels that have ended."
    )
    state_dir = from_env(
        "GP_STATE_DIR",
        "",
        "A folder of this process's own: with it, and with GP_INSTANCE, a later process finds the kernels "
        "again.",
    )
