"""Put on a gateway's PYTHONPATH as sitecustomize.py: kills the process once, at one step of a launch.

CRASH_AT is METHOD:before or METHOD:after, of a call to the Kubernetes API.
"""

import os
import signal
from pathlib import Path

from gateway_provisioners.kube.api import KubeApi

method, _, moment = os.environ["CRASH_AT"].partition(":")
crashed = Path("/tmp/crashed")  # the container's own, which outlives its processes


def die():
    if not crashed.exists():
        crashed.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def crashing(call):
    async def wrapped(*arguments, **options):
        if moment == "before":
            die()
        result = await call(*arguments, **options)
        if moment == "after":
            die()
        return result

    return wrapped


setattr(KubeApi, method, crashing(getattr(KubeApi, method)))
