"""What a kernelspec's `scripts/launch_kubernetes.py` does: one pod for one kernel, then it is done.

The caller acts with rights of its own on the cluster, so that the KERNEL_* settings which a gateway
keeps to its administrator (namespace, service account, ids, pod name) are the caller's to choose.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traitlets import TraitError

from gateway_provisioners.cli.app import FAILED
from gateway_provisioners.errors import ConfigurationError, GatewayProvisionersError
from gateway_provisioners.kube.api import KubeApi
from gateway_provisioners.kube.pods import KernelPods
from gateway_provisioners.model import names
from gateway_provisioners.model.admission import Limits
from gateway_provisioners.model.client_policy import ClientPolicy
from gateway_provisioners.model.launch_request import (
    SPARK_INIT_MODES,
    LaunchRequest,
    parse_launch_request,
)
from gateway_provisioners.model.launcher_environment import (
    LAUNCH_KEY_VARIABLE,
    launcher_environment,
)
from gateway_provisioners.model.pod_manifest import KernelPodSpec, build_pod
from gateway_provisioners.provisioners.pod_options import pod_options
from gateway_provisioners.provisioners.traits import KubernetesLaunchTraits, KubernetesTraits

_UNSUPPORTED = ("KERNEL_VOLUMES", "KERNEL_VOLUME_MOUNTS")
# How Enterprise Gateway and Gateway Provisioners spell an option --x.
_OLDER_PREFIXES = ("RemoteProcessProxy", "RemoteProvisioner")


@dataclass(frozen=True)
class KernelSpecFolder:
    """What the launch needs of the kernelspec that the script belongs to."""

    name: str
    language: str
    environment: Mapping[str, str]
    settings: KubernetesLaunchTraits


def main(argv: list[str] | None = None, *, kernelspec: Path) -> int:
    """Create the pod (or print it) and return the exit code; errors are one line on stderr."""
    options = _parser().parse_args(argv)
    try:
        pod = _pod_spec(options, _read_kernelspec(kernelspec), os.environ)
        if options.dry_run:
            print(json.dumps(build_pod(pod), indent=2))  # noqa: T201
        else:
            asyncio.run(_create(pod))
    except GatewayProvisionersError as error:
        print(f"[launch_kubernetes] ERROR | {error}", file=sys.stderr)  # noqa: T201
        return FAILED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="launch_kubernetes.py",
        description="Start one kernel of this kernelspec as a pod. KERNEL_* variables of the"
        " environment say the rest: KERNEL_USERNAME, KERNEL_NAMESPACE, KERNEL_CPUS, KERNEL_MEMORY.",
        allow_abbrev=False,
    )

    def option(name: str, **kwargs: Any) -> None:
        older = [f"--{prefix}.{name}" for prefix in _OLDER_PREFIXES]
        parser.add_argument(f"--{name}", *older, dest=name.replace("-", "_"), **kwargs)

    option("kernel-id", required=True, metavar="ID", help="the kernel's id, a UUID")
    option("response-address", required=True, metavar="IP:PORT", help="where the launcher reports")
    option("public-key", required=True, metavar="KEY", help="what it encrypts its report with")
    option("port-range", metavar="LOWEST..HIGHEST", help="ports of the kernel; 0..0 is any")
    option("kernel-class-name", metavar="CLASS", help="for Python, the ipykernel class")
    option("spark-context-initialization-mode", choices=SPARK_INIT_MODES, help="default: none")
    option("dry-run", action="store_true", help="print the pod as JSON and create nothing")
    return parser


def _read_kernelspec(folder: Path) -> KernelSpecFolder:
    path = folder / "kernel.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        config = content["metadata"]["kernel_provisioner"]["config"]
        known = {name for name in config if KubernetesLaunchTraits().has_trait(name)}
        return KernelSpecFolder(
            name=folder.name,
            language=content["language"].lower(),
            environment=content.get("env", {}),
            settings=KubernetesLaunchTraits(**{name: config[name] for name in known}),
        )
    except (OSError, ValueError, LookupError, TypeError, TraitError) as error:
        msg = f"{path} is no kernelspec of the kubernetes-provisioner: {error}"
        raise ConfigurationError(msg) from error


def _pod_spec(
    options: argparse.Namespace, kernelspec: KernelSpecFolder, environment: Mapping[str, str]
) -> KernelPodSpec:
    for name in _UNSUPPORTED:
        if environment.get(name):
            msg = f"{name} is not supported; put volumes into the kernelspec's pod_template."
            raise ConfigurationError(msg)
    wishes = {key: value for key, value in environment.items() if key.startswith("KERNEL_")}
    settings, cluster = kernelspec.settings, KubernetesTraits()
    policy = ClientPolicy(
        mirror_working_dirs=settings.mirror_working_dirs, gpu_resource=settings.gpu_resource
    )
    request = parse_launch_request(wishes, administrators=wishes, policy=policy)
    image = wishes.get("KERNEL_IMAGE") or settings.image_name
    if not image:
        msg = (
            "There is no image: the kernelspec has no image_name, the environment no KERNEL_IMAGE."
        )
        raise ConfigurationError(msg)
    namespace = wishes.get("KERNEL_NAMESPACE") or cluster.namespace
    return KernelPodSpec(
        name=wishes.get("KERNEL_POD_NAME")
        or names.pod_name(request.username, options.kernel_id, 1),
        namespace=namespace,
        instance=cluster.instance,
        kernel_id=options.kernel_id,
        kernel_name=kernelspec.name,
        username=request.username,
        image=image,
        environment={
            **_launcher_environment(options, kernelspec, request),
            "KERNEL_NAMESPACE": namespace,
        },
        secret_environment={
            **request.environment,
            **{key: value for key, value in wishes.items() if key == LAUNCH_KEY_VARIABLE},
        },
        **pod_options(settings, request),
    )


def _launcher_environment(
    options: argparse.Namespace, kernelspec: KernelSpecFolder, request: LaunchRequest
) -> dict[str, str]:
    return {
        **kernelspec.environment,
        **launcher_environment(
            kernel_id=options.kernel_id,
            kernel_name=kernelspec.name,
            language=kernelspec.language,
            username=request.username,
            spark_init_mode=options.spark_context_initialization_mode
            or request.spark_init_mode
            or kernelspec.environment.get("KERNEL_SPARK_CONTEXT_INIT_MODE"),
            transport_encryption=kernelspec.settings.transport_encryption,
            response_address=options.response_address,
            public_key=options.public_key,
            port_range=options.port_range or kernelspec.settings.port_range,
            kernel_class_name=options.kernel_class_name,
        ),
    }


async def _create(pod: KernelPodSpec) -> None:
    api = await KubeApi.connect()
    try:
        pods = KernelPods(api, pod.namespace, instance=pod.instance, process="", limits=Limits())
        try:
            await pods.create(pod)
        finally:
            await pods.stop()
    finally:
        await api.close()
    print(f"[launch_kubernetes] Created pod {pod.name} in namespace {pod.namespace}.")  # noqa: T201
