"""The environment that the gateway gives a launcher (launchers/protocol/SPEC.md)."""

from __future__ import annotations

from collections.abc import Sequence

LAUNCH_KEY_VARIABLE = "KERNEL_LAUNCH_KEY"
FEATURES_VARIABLE = "KERNEL_GATEWAY_FEATURES"


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
    max_message_bytes: int | None = None,
    features: Sequence[str] = (),
) -> dict[str, str]:
    """Build the variables that are not secret; the launch key is passed separately.

    Args:
        language: in any case, as a kernelspec has it.
        spark_init_mode: none, lazy or eager; None for the default.
        kernel_class_name: for Python, the class of the kernel.
        max_message_bytes: the largest message that the kernel may send; None for the default.
        features: the names of what the gateway offers; they need a launch key.
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
    if features:
        environment[FEATURES_VARIABLE] = ",".join(features)
    if kernel_class_name:
        environment["KERNEL_CLASS_NAME"] = kernel_class_name
    if max_message_bytes is not None:
        environment["KERNEL_MAX_MESSAGE_BYTES"] = str(max_message_bytes)
    return environment
