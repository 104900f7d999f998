"""Put on a gateway's PYTHONPATH as sitecustomize.py: kills the process in the middle of an operation, once.

The file CRASH_AT holds `OPERATION NUMBER MOMENT`: start, restart or shutdown of a kernel, which of its
calls that change something on its engine or in its state folder (the first is 1), and whether `before` or
`after` that call.
"""

import contextvars
import itertools
import os
import signal
from pathlib import Path

from gateway_provisioners.gateway.kernels.manager import GatewayKernelManager

CRASH_AT = Path(os.environ.get("CRASH_AT", "/tmp/crash-at"))

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


def calls_that_change_something():
    if os.environ.get("GP_ENGINE") == "docker":
        from gateway_provisioners.dockerd.api import DockerApi
        from gateway_provisioners.dockerd.records import Records

        containers = ("create_container", "put_archive", "start_container", "remove_container")
        services = ("create_secret", "create_service", "remove_service", "remove_secret")
        yield from ((DockerApi, name) for name in (*containers, *services))
        yield from ((Records, name) for name in ("write", "change", "forget"))
    else:
        from gateway_provisioners.kube.api import KubeApi

        pods = ("create_pod", "patch_pod", "delete_pod")
        yield from ((KubeApi, name) for name in (*pods, "create_secret", "patch_secret"))


for name in ("start", "restart", "shutdown"):
    attribute = f"{name}_kernel"
    method = getattr(GatewayKernelManager, attribute)
    setattr(GatewayKernelManager, attribute, within(name, method))
for owner, name in calls_that_change_something():
    setattr(owner, name, counted(getattr(owner, name)))
