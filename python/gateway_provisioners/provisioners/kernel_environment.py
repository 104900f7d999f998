"""The literal part of a kernel container's environment: nothing secret, and nothing of the client's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from jupyter_client.kernelspec import KernelSpec

from gateway_provisioners.model.features import GATEWAY_FEATURES
from gateway_provisioners.model.launcher_environment import launcher_environment
from gateway_provisioners.model.request.launch_request import LaunchRequest
from gateway_provisioners.model.request.launcher_variables import EXPANDED

_CLASS_NAME_OPTION = "--kernel-class-name"
_SPARK_MODE_OPTION = "--spark-context-initialization-mode"
# As in Jupyter, whose kernels on its own machine expand `$NAME` as well.
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def kernel_environment(
    kernel_spec: KernelSpec, request: LaunchRequest, *, max_message_bytes: int, **of_launch: str
) -> dict[str, str]:
    """Return the variables that the kernelspec, the checked request and the launch set.

    The kernelspec's argv is the command line of a launch script that is not run: the options in it reach the
    launcher as variables.

    Args:
        max_message_bytes, of_launch: the other arguments of `launcher_environment`.
    """
    argv = kernel_spec.argv
    of_launcher = launcher_environment(
        language=kernel_spec.language,
        username=request.username,
        spark_init_mode=request.spark_init_mode
        or kernel_spec.env.get("KERNEL_SPARK_CONTEXT_INIT_MODE")
        or _option(argv, _SPARK_MODE_OPTION),
        kernel_class_name=_option(argv, _CLASS_NAME_OPTION),
        max_message_bytes=max_message_bytes,
        features=GATEWAY_FEATURES,
        **of_launch,
    )
    own = {name: value for name, value in kernel_spec.env.items() if name not in of_launcher}
    return {**dict(_expanded_in_container(own)), **of_launcher}


def _expanded_in_container(env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the variables of a kernelspec so that bootstrap-kernel.sh expands `${NAME}`.

    Only the container knows the values of its image, and those of the gateway are not for kernels. A variable
    that refers to itself, such as PATH, is not sent under its own name: it would replace the image's value.
    """
    for name, value in env.items():
        references = _REFERENCE.findall(value)
        if references and _NAME.fullmatch(name):
            yield f"{EXPANDED}{name}", value
        if name not in references:
            yield name, value


def _option(argv: list[str], name: str) -> str | None:
    """Return the value of the option `name`, written as `--name value` or `--name=value`."""
    for position, argument in enumerate(argv):
        if argument == name and position + 1 < len(argv):
            return argv[position + 1]
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
    return None
