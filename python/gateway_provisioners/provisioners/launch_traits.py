"""The settings of kernels: the options in a kernelspec's `metadata.kernel_provisioner.config`.

A variable is the default for all kernelspecs of a process. Names are those of Gateway Provisioners where it
has the setting.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from traitlets import Bool, Dict, Enum, Int, List, TraitError, Unicode, validate
from traitlets.config import LoggingConfigurable

from gateway_provisioners.model.kernelspec import port_range_problem
from gateway_provisioners.model.request.client_policy import DEFAULT_GPU_RESOURCE, ClientPolicy
from gateway_provisioners.settings import from_env


class ClientPolicyTraits(LoggingConfigurable):
    """The settings of `ClientPolicy`: the limits of clients' requests."""

    max_cpus = from_env(
        "GP_MAX_CPUS",
        "",
        "The most that clients may ask for in KERNEL_CPUS and KERNEL_CPUS_LIMIT, such as 4 or 500m; "
        "empty: the kernel's own limit, if it has one.",
    )
    max_memory = from_env(
        "GP_MAX_MEMORY",
        "",
        "The most that clients may ask for in KERNEL_MEMORY and KERNEL_MEMORY_LIMIT, such as 16Gi; "
        "empty: the kernel's own limit, if it has one.",
    )
    max_gpus = from_env(
        "GP_MAX_GPUS",
        "",
        "The most that clients may ask for in KERNEL_GPUS; empty: as many as the kernel has itself.",
    )
    gpu_resource = Unicode(
        DEFAULT_GPU_RESOURCE, help="The resource that KERNEL_GPUS counts, as nodes offer it."
    ).tag(config=True)
    client_ids = from_env(
        "GP_CLIENT_IDS",
        False,
        "Let clients choose the kernel's user and group id in KERNEL_UID and KERNEL_GID.",
    )
    prohibited_uids: list[str] = from_env(
        "GP_PROHIBITED_UIDS",
        ["0"],
        "User ids, and ranges such as 0-999, that clients may not choose.",
    )
    prohibited_gids: list[str] = from_env(
        "GP_PROHIBITED_GIDS",
        ["0"],
        "Group ids, and ranges such as 0-999, that clients may not choose.",
    )
    client_service_accounts: list[str] = from_env(
        "GP_CLIENT_SERVICE_ACCOUNTS",
        [],
        "Service accounts that clients may choose in KERNEL_SERVICE_ACCOUNT_NAME.",
    )
    client_claims: list[str] = from_env(
        "GP_CLIENT_CLAIMS",
        [],
        "PersistentVolumeClaims that clients may mount with KERNEL_VOLUMES; {username} stands for the user, "
        "as a DNS label.",
    )
    mirror_working_dirs = from_env(
        "GP_MIRROR_WORKING_DIRS",
        False,
        "Start the kernel in the client's KERNEL_WORKING_DIR, which the image must have.",
    )
    client_spark_options = from_env(
        "GP_CLIENT_SPARK_OPTIONS",
        False,
        "Let clients add options to spark-submit in KERNEL_EXTRA_SPARK_OPTS, with which they can load code.",
    )

    @property
    def client_policy(self) -> ClientPolicy:
        """All of these settings.

        Raises:
            ConfigurationError: a setting cannot be read.
        """
        return ClientPolicy(
            **{setting.name: getattr(self, setting.name) for setting in fields(ClientPolicy)}
        )


def _port_range(text: str) -> str:
    if problem := port_range_problem(text):
        raise ValueError(problem.removeprefix(f"{text!r} "))
    return text


class LaunchTraits(ClientPolicyTraits):
    """The settings of kernels on every engine."""

    image_name = from_env("GP_IMAGE_NAME", "", "The image that the kernel's container runs.")
    executor_image_name = from_env(
        "GP_EXECUTOR_IMAGE_NAME",
        "",
        "The image of Spark executors.",
        compute=lambda traits: traits.image_name,
        default_text="the kernel's image",
    )
    launch_timeout = from_env(
        "GP_LAUNCH_TIMEOUT", 30, "How long a kernel may take to start.", unit="seconds"
    )
    port_range = from_env(
        "GP_PORT_RANGE",
        "0..0",
        "Ports that the kernel may listen on, as LOWEST..HIGHEST; 0..0: any.",
        parse=_port_range,
    )
    authorized_users: list[str] = from_env(
        "GP_AUTHORIZED_USERS", [], "The only users who may start the kernel; empty: all users."
    )
    authorized_groups = List(
        Unicode(),
        help="Groups whose members may start the kernel as well, by the identity of the client.",
    ).tag(config=True)
    unauthorized_users: list[str] = from_env(
        "GP_UNAUTHORIZED_USERS", ["root"], "Users who may not start the kernel."
    )
    transport_encryption = from_env(
        "GP_TRANSPORT_ENCRYPTION",
        "auto",
        "CurveZMQ on the kernel's channels: disabled, auto (if the kernel in the image supports it) or "
        "required (other kernels do not start).",
        values=("disabled", "auto", "required"),
    )
    oldest_protocol = from_env(
        "GP_OLDEST_PROTOCOL",
        1,
        "The oldest version of the wire protocol that the launcher may report with: 1, which does not prove "
        "who reports, or 2.",
        values=(1, 2),
        parse=int,
    )
    resources = Dict(
        help="Requests and limits of the kernel's container, as Kubernetes writes them."
    ).tag(config=True)
    run_as_user = Int(1000, allow_none=True, help="Numeric user id; null: the image's.").tag(
        config=True
    )
    run_as_group = Int(100, allow_none=True, help="Numeric group id; null: the image's.").tag(
        config=True
    )

    @validate("port_range")
    def _validate_port_range(self, proposal: Any) -> str:
        value: str = proposal["value"] or "0..0"
        if problem := port_range_problem(value):
            raise TraitError(f"port_range={problem}")
        return value


class KubernetesLaunchTraits(LaunchTraits):
    """The settings of kernels on Kubernetes alone."""

    image_pull_policy = Enum(
        ("Always", "IfNotPresent", "Never"), "IfNotPresent", help="As in a container's spec."
    ).tag(config=True)
    image_pull_secrets = List(
        Unicode(), help="Names of Secrets, in the kernels' namespace, that may pull the image."
    ).tag(config=True)
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
    service_account_name = from_env(
        "GP_DEFAULT_KERNEL_SERVICE_ACCOUNT_NAME",
        "",
        "The service account of the kernel's Pod, whose token is not mounted.",
    )
    evictable = Bool(
        False,
        help="Whether autoscalers may evict the kernel in order to remove its node; its variables are lost.",
    ).tag(config=True)
    pod_template = Dict(help="A patch on the kernel's Pod, merged last.").tag(config=True)


class DockerLaunchTraits(LaunchTraits):
    """The settings of kernels in Docker containers alone."""

    image_pull_policy = Enum(
        ("Always", "IfNotPresent", "Never"),
        "IfNotPresent",
        help="When the engine pulls the image; a swarm's nodes decide for themselves.",
    ).tag(config=True)
    volumes = List(
        Unicode(),
        help="Mounts, each SOURCE:TARGET[:ro]; SOURCE is a path on the engine's host or a volume's name; "
        "{username} stands for the user, as a DNS label.",
    ).tag(config=True)
    container_template = Dict(
        help="A patch on the body of the container's or service's creation, merged last."
    ).tag(config=True)
    pids_limit = from_env(
        "GP_PIDS_LIMIT",
        4096,
        "On Docker, how many processes and threads a kernel's container may have; 0: no limit.",
    )
    log_max_bytes = from_env(
        "GP_LOG_MAX_BYTES",
        10 * 2**20,
        "On Docker, the size of one file of a container's log, if the engine keeps it in files; 0: the "
        "engine's own setting.",
        unit="bytes",
    )
    log_max_files = from_env(
        "GP_LOG_MAX_FILES", 3, "On Docker, how many of these files the engine keeps.", min=1
    )
    constraints = List(
        Unicode(), help="Which nodes of a swarm may run it, as in node.labels.disk==ssd."
    ).tag(config=True)
