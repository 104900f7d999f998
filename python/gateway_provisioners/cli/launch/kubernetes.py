"""The body of a kernelspec's `scripts/launch_kubernetes.py`: create one pod for one kernel, and exit.

The caller has its own permissions on the cluster, and may set the KERNEL_* variables that a gateway
reserves for its administrator (namespace, service account, ids, pod name).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from gateway_provisioners.cli.app import FAILED
from gateway_provisioners.cli.launch.script_input import (
    KernelSpecFolder,
    Parser,
    image_of,
    literal_environment,
    read_kernelspec,
    read_request,
    secret_environment,
)
from gateway_provisioners.errors import GatewayProvisionersError
from gateway_provisioners.kube.api import KubeApi
from gateway_provisioners.kube.pods import KernelPods
from gateway_provisioners.model import names
from gateway_provisioners.model.launch_progress import LaunchProgress
from gateway_provisioners.model.pod.manifest import KernelPodSpec, build_pod
from gateway_provisioners.model.quota import KernelQuota
from gateway_provisioners.provisioners.engine_traits import KubernetesTraits
from gateway_provisioners.provisioners.launch_traits import KubernetesLaunchTraits
from gateway_provisioners.provisioners.pod_options import pod_options


def main(argv: list[str] | None = None, *, kernelspec: Path) -> int:
    """Create the pod (or print it) and return the exit code; errors are one line on stderr."""
    options = _parser().parse_args(argv)
    try:
        folder = read_kernelspec(
            kernelspec, KubernetesLaunchTraits, provisioner="kubernetes-provisioner"
        )
        pod = _pod_spec(options, folder, os.environ)
        if options.dry_run:
            print(json.dumps(build_pod(pod), indent=2))  # noqa: T201
        else:
            asyncio.run(_create(pod))
    except GatewayProvisionersError as error:
        print(f"[launch_kubernetes] ERROR | {error}", file=sys.stderr)  # noqa: T201
        return FAILED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "launch_kubernetes.py",
        "Start one kernel of this kernelspec as a pod. Further settings are KERNEL_* variables of the"
        " environment: KERNEL_USERNAME, KERNEL_NAMESPACE, KERNEL_CPUS, KERNEL_MEMORY.",
    )
    parser.option("dry-run", action="store_true", help="print the pod as JSON and create nothing")
    return parser


def _pod_spec(
    options: argparse.Namespace,
    kernelspec: KernelSpecFolder[KubernetesLaunchTraits],
    environment: Mapping[str, str],
) -> KernelPodSpec:
    settings, cluster = kernelspec.settings, KubernetesTraits()
    request, kernel_variables = read_request(
        environment, settings, volumes_belong_in="volumes and volume_mounts"
    )
    namespace = kernel_variables.get("KERNEL_NAMESPACE") or cluster.namespace
    return KernelPodSpec(
        name=kernel_variables.get("KERNEL_POD_NAME")
        or names.pod_name(request.username, options.kernel_id, 1),
        namespace=namespace,
        instance=cluster.instance,
        kernel_id=options.kernel_id,
        kernel_name=kernelspec.name,
        username=request.username,
        image=image_of(settings, kernel_variables),
        environment={
            **literal_environment(options, kernelspec, request),
            "KERNEL_NAMESPACE": namespace,
        },
        secret_environment=secret_environment(request, kernel_variables),
        **pod_options(settings, request),
    )


async def _create(pod: KernelPodSpec) -> None:
    api = await KubeApi.connect()
    try:
        pods = KernelPods(
            api, pod.namespace, instance=pod.instance, process="", quota=KernelQuota()
        )
        try:
            await pods.create(pod, LaunchProgress(time.monotonic))
        finally:
            await pods.stop()
    finally:
        await api.close()
    print(f"[launch_kubernetes] Created pod {pod.name} in namespace {pod.namespace}.")  # noqa: T201
