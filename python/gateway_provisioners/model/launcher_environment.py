"""What a launcher is told by its container's environment (launchers/protocol/SPEC.md)."""

from __future__ import annotations

LAUNCH_KEY_VARIABLE = "KERNEL_LAUNCH_KEY"


def launcher_environment(
    *,
    kernel_id: str,
    kernel_name: str,
    language: str,
    username: str,
    spark_init_mode: str | None,
    transport_encryption: str,
    response_address: str,
    public_key: str,
    port_range: str,
    kernel_class_name: str | None = None,
) -> dict[str, str]:
    """Return the variables that are no secrets; the launch key goes another way.

    Args:
        language: in any case, as a kernelspec has it.
        spark_init_mode: none, lazy or eager; None where nobody said.
        kernel_class_name: for Python, the class of the kernel.
    """
    environment = {
        "KERNEL_ID": kernel_id,
        "KERNEL_NAME": kernel_name,
        "KERNEL_LANGUAGE": language.lower(),
        "KERNEL_USERNAME": username,
        "KERNEL_SPARK_CONTEXT_INIT_MODE": spark_init_mode or "none",
        "KERNEL_TRANSPORT_ENCRYPTION": transport_encryption,
        "RESPONSE_ADDRESS": response_address,
        "PUBLIC_KEY": public_key,
        "PORT_RANGE": port_range,
    }
    if kernel_class_name:
        environment["KERNEL_CLASS_NAME"] = kernel_class_name
    return environment
