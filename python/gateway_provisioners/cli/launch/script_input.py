"""The input of scripts/launch_*.py: options, the kernelspec, KERNEL_* variables."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from traitlets import TraitError

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.model.launcher_environment import (
    LAUNCH_KEY_VARIABLE,
    launcher_environment,
)
from gateway_provisioners.model.request.client_policy import ClientPolicy
from gateway_provisioners.model.request.launch_request import (
    SPARK_INIT_MODES,
    LaunchRequest,
    parse_launch_request,
)
from gateway_provisioners.model.request.quantity import MAX_COUNT
from gateway_provisioners.provisioners.launch_traits import LaunchTraits

Settings = TypeVar("Settings", bound=LaunchTraits)

# Enterprise Gateway and Gateway Provisioners spell an option --x as --PREFIX.x.
_OLDER_PREFIXES = ("RemoteProcessProxy", "RemoteProvisioner")
# What reading a kernel.json raises, which may be any JSON.
_MALFORMED = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
    TraitError,
)


class Parser(argparse.ArgumentParser):
    """The options that all launch scripts have."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)
        self.option("kernel-id", required=True, metavar="ID", help="the kernel's id, a UUID")
        self.option(
            "response-address", required=True, metavar="IP:PORT", help="where the launcher reports"
        )
        self.option(
            "public-key", required=True, metavar="KEY", help="the key to encrypt that report with"
        )
        self.option(
            "port-range", metavar="LOWEST..HIGHEST", help="ports of the kernel; 0..0 is any"
        )
        self.option("kernel-class-name", metavar="CLASS", help="for Python, the ipykernel class")
        self.option(
            "spark-context-initialization-mode", choices=SPARK_INIT_MODES, help="default: none"
        )

    def option(self, name: str, **kwargs: Any) -> None:
        """Add an option, with its older spellings."""
        older = [f"--{prefix}.{name}" for prefix in _OLDER_PREFIXES]
        self.add_argument(f"--{name}", *older, dest=name.replace("-", "_"), **kwargs)


@dataclass(frozen=True)
class KernelSpecFolder(Generic[Settings]):
    """The parts of a kernelspec that a launch needs."""

    name: str
    language: str
    environment: Mapping[str, str]
    settings: Settings


def read_kernelspec(
    folder: Path, settings: type[Settings], *, provisioner: str
) -> KernelSpecFolder[Settings]:
    """Read a folder's kernel.json.

    Raises:
        ConfigurationError: it is not a kernelspec of that provisioner.
    """
    path = folder / "kernel.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        config = content["metadata"]["kernel_provisioner"]["config"]
        known = {name for name in config if settings().has_trait(name)}
        return KernelSpecFolder(
            name=folder.name,
            language=content["language"].lower(),
            environment=_texts(content.get("env", {})),
            settings=settings(**{name: config[name] for name in known}),
        )
    except _MALFORMED as error:
        msg = f"{path} is not a valid kernelspec of the {provisioner}: {error}"
        raise ConfigurationError(msg) from error


def _texts(env: Mapping[str, object]) -> dict[str, str]:
    if not all(isinstance(value, str) for value in env.values()):
        raise TypeError("a value of env is not a string")
    return {name: str(value) for name, value in env.items()}


def read_request(
    environment: Mapping[str, str], settings: LaunchTraits, *, volumes_belong_in: str
) -> tuple[LaunchRequest, dict[str, str]]:
    """Return the caller's request, and all of its KERNEL_* variables.

    Raises:
        ConfigurationError: volumes are asked for; those are settings of the kernelspec.
        InvalidRequest: a value is malformed.
    """
    for name in ("KERNEL_VOLUMES", "KERNEL_VOLUME_MOUNTS"):
        if environment.get(name):
            msg = f"{name} is not supported; put them in the kernelspec's {volumes_belong_in}."
            raise ConfigurationError(msg)
    kernel_variables = {
        key: value for key, value in environment.items() if key.startswith("KERNEL_")
    }
    policy = ClientPolicy(
        # By hand, the variables are the administrator's.
        max_gpus=str(MAX_COUNT),
        mirror_working_dirs=settings.mirror_working_dirs,
        client_spark_options=True,
        gpu_resource=settings.gpu_resource,
    )
    request = parse_launch_request(kernel_variables, admin_settings=kernel_variables, policy=policy)
    return request, kernel_variables


def image_of(settings: LaunchTraits, kernel_variables: Mapping[str, str]) -> str:
    """Return the image that the kernel runs in.

    Raises:
        ConfigurationError: no image is set.
    """
    image = kernel_variables.get("KERNEL_IMAGE") or settings.image_name
    if not image:
        msg = (
            "No image is set; set image_name in the kernelspec, or KERNEL_IMAGE in the environment."
        )
        raise ConfigurationError(msg)
    return image


def literal_environment(
    options: argparse.Namespace, kernelspec: KernelSpecFolder[Settings], request: LaunchRequest
) -> dict[str, str]:
    """Return the variables of the kernel's container that are not secret."""
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


def secret_environment(
    request: LaunchRequest, kernel_variables: Mapping[str, str]
) -> dict[str, str]:
    """Return the secret variables of the kernel's container: the client's, and the launch key if set."""
    keys = {key: value for key, value in kernel_variables.items() if key == LAUNCH_KEY_VARIABLE}
    return {**request.environment, **keys}
