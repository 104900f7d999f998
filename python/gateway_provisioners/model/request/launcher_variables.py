"""The variables that a kernel's start script and launcher read for themselves, and who sets each.

A client that set the others could replace the launcher, which has the key of the launch, or take it to
another address. tests/unit/test_launcher_variables.py scans the scripts and launchers for what they read.
"""

from __future__ import annotations

# The gateway sets them for each launch, or leaves them out on purpose.
_SET_BY_GATEWAY = frozenset(
    {
        "KERNEL_ID",
        "KERNEL_NAME",
        "KERNEL_LANGUAGE",
        "KERNEL_USERNAME",
        "KERNEL_IMAGE",
        "KERNEL_EXECUTOR_IMAGE",
        "KERNEL_CLASS_NAME",
        "KERNEL_GATEWAY_FEATURES",
        "KERNEL_LAUNCH_KEY",
        "KERNEL_MAX_MESSAGE_BYTES",
        "KERNEL_TRANSPORT_ENCRYPTION",
        "RESPONSE_ADDRESS",
        "PUBLIC_KEY",
        "PORT_RANGE",
    }
)
# An image or a kernelspec's `env` sets them.
_SET_BY_ADMINISTRATOR = frozenset(
    {
        # The programs that get the launch key, or that decide what does.
        "KERNEL_LAUNCHERS_DIR",
        "JAVA_HOME",
        "SPARK_HOME",
        "TOREE_HOME",
        "PYTHONHOME",
        "LD_PRELOAD",
        # The bounds of a start.
        "MIN_PORT_RANGE_SIZE",
        "RESPONSE_ATTEMPTS",
        # An older name of KERNEL_TRANSPORT_ENCRYPTION.
        "TRANSPORT_ENCRYPTION",
        # jupyter_client's, for kernels on its own machine.
        "JPY_PARENT_PID",
    }
)
_NOT_FOR_CLIENTS = _SET_BY_GATEWAY | _SET_BY_ADMINISTRATOR
# Launchers take Enterprise Gateway's names where the others are missing.
NOT_FOR_CLIENTS = _NOT_FOR_CLIENTS | {f"EG_{name}" for name in _NOT_FOR_CLIENTS}
"""The client's values of these are ignored."""
EXPANDED = "KERNEL_EXPAND_"
"""The prefix of variables whose values bootstrap-kernel.sh expands in the container; never a client's."""
SPARK_OPTIONS = "KERNEL_EXTRA_SPARK_OPTS"
"""Options of spark-submit, which can load code from anywhere: a client's if the administrator allows it."""
