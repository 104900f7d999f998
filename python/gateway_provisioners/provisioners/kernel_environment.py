"""The literal part of a kernel container's environment: nothing secret, and nothing of the client's."""

from __future__ import annotations

from jupyter_client.kernelspec import KernelSpec

from gateway_provisioners.model.launch_request import LaunchRequest

_CLASS_NAME_OPTION = "--kernel-class-name"
_SPARK_MODE_OPTION = "--spark-context-initialization-mode"


def kernel_environment(
    kernel_spec: KernelSpec, request: LaunchRequest, **by_the_host: str
) -> dict[str, str]:
    """What the kernelspec, the host and the checked request say, the later over the earlier.

    The kernelspec's argv is the command line of a launch script that is not run: the options in it reach
    the launcher as variables.

    Args:
        by_the_host: variables that the host sets.
    """
    argv = kernel_spec.argv
    environment = {
        **kernel_spec.env,
        "KERNEL_LANGUAGE": kernel_spec.language.lower(),
        **by_the_host,
        "KERNEL_USERNAME": request.username,
        "KERNEL_SPARK_CONTEXT_INIT_MODE": (
            request.spark_init_mode or _option(argv, _SPARK_MODE_OPTION) or "none"
        ),
    }
    if class_name := _option(argv, _CLASS_NAME_OPTION):
        environment["KERNEL_CLASS_NAME"] = class_name
    return environment


def _option(argv: list[str], name: str) -> str | None:
    """The value after the option `name`, in either of the forms `--name value` and `--name=value`."""
    for position, argument in enumerate(argv):
        if argument == name and position + 1 < len(argv):
            return argv[position + 1]
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
    return None
