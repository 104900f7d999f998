"""The body of a kernelspec's `scripts/launch_docker.py`: start one container for one kernel, and exit.

The caller has access to the engine, and may set the KERNEL_* variables that a gateway reserves for its
administrator (ids).
"""

from __future__ import annotations

import argparse
import asyncio
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
from gateway_provisioners.dockerd.engine import DockerEngine
from gateway_provisioners.errors import GatewayProvisionersError
from gateway_provisioners.model import names
from gateway_provisioners.model.container.config import KernelContainerSpec
from gateway_provisioners.model.launch_progress import LaunchProgress
from gateway_provisioners.provisioners.container_options import container_options
from gateway_provisioners.provisioners.engine_traits import DockerTraits
from gateway_provisioners.provisioners.launch_traits import DockerLaunchTraits


def main(argv: list[str] | None = None, *, kernelspec: Path) -> int:
    """Start the container and return the exit code; errors are one line on stderr."""
    options = Parser(
        "launch_docker.py",
        "Start one kernel of this kernelspec in a container. Further settings are KERNEL_* variables of"
        " the environment: KERNEL_USERNAME, KERNEL_CPUS_LIMIT, KERNEL_MEMORY_LIMIT.",
    ).parse_args(argv)
    try:
        folder = read_kernelspec(kernelspec, DockerLaunchTraits, provisioner="docker-provisioner")
        asyncio.run(_create(_container_spec(options, folder, os.environ)))
    except GatewayProvisionersError as error:
        print(f"[launch_docker] ERROR | {error}", file=sys.stderr)  # noqa: T201
        return FAILED
    return 0


def _container_spec(
    options: argparse.Namespace,
    kernelspec: KernelSpecFolder[DockerLaunchTraits],
    environment: Mapping[str, str],
) -> KernelContainerSpec:
    settings, engine = kernelspec.settings, DockerTraits()
    request, kernel_variables = read_request(environment, settings, volumes_belong_in="volumes")
    return KernelContainerSpec(
        name=names.pod_name(request.username, options.kernel_id, 1),
        instance=engine.instance,
        kernel_id=options.kernel_id,
        kernel_name=kernelspec.name,
        username=request.username,
        image=image_of(settings, kernel_variables),
        environment=literal_environment(options, kernelspec, request),
        secret_environment=secret_environment(request, kernel_variables),
        network=engine.network,
        **container_options(settings, request),
    )


async def _create(container: KernelContainerSpec) -> None:
    engine = await DockerEngine.connect(
        instance=container.instance, keep=not DockerTraits().remove_container
    )
    try:
        await engine.containers.create(container, LaunchProgress(time.monotonic))
    finally:
        await engine.stop()
    print(f"[launch_docker] Started container {container.name}.")  # noqa: T201
