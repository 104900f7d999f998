"""Put on a gateway's PYTHONPATH as sitecustomize.py: kills the process in the middle of an operation, once.

The file CRASH_AT holds `OPERATION NUMBER MOMENT`: start, restart or shutdown of a kernel, which of its
calls that change something in the cluster (the first is 1), and whether `before` or `after` that call.
"""

import contextvars
import itertools
import os
import signal
from pathlib import Path

from gateway_provisioners.host.kernel_manager import GatewayKernelManager
from gateway_provisioners.kube.api import KubeApi

CRASH_AT = Path("/tmp/crash-at")

operation = contextvars.ContextVar("operation", default="")
calls = itertools.count(1)


def order():
    return CRASH_AT.read_text().split() if CRASH_AT.exists() else []


def within(name, method):
    async def wrapped(*arguments, **options):
        operation.set(name)
        return await method(*arguments, **options)

    return wrapped


def counted(method):
    async def wrapped(*arguments, **options):
        wanted = order()
        if operation.get() not in wanted[:1]:
            return await method(*arguments, **options)
        is_this_one = next(calls) == int(wanted[1])
        if is_this_one and wanted[2] == "before":
            die()
        result = await method(*arguments, **options)
        if is_this_one:
            die()
        return result

    return wrapped


def die():
    CRASH_AT.unlink()
    os.kill(os.getpid(), signal.SIGKILL)


for name in ("start", "restart", "shutdown"):
    attribute = f"{name}_kernel"
    method = getattr(GatewayKernelManager, attribute)
    setattr(GatewayKernelManager, attribute, within(name, method))
for name in ("create_pod", "patch_pod", "delete_pod", "create_secret", "patch_secret"):
    setattr(KubeApi, name, counted(getattr(KubeApi, name)))
