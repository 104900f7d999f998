"""A gateway that is killed in the middle of a launch, on a release of its own: the crash stays built in."""

import json
from pathlib import Path

import aiohttp
import pytest
from patience import patiently, until

STEPS = [
    "create_pod:before",
    "create_pod:after",
    "create_secret:after",
    "patch_pod:after",
    "patch_secret:before",
    "patch_secret:after",
]


@pytest.mark.parametrize("step", STEPS)
async def test_a_gateway_killed_in_the_middle_of_a_launch_leaks_nothing(chart, namespace, step):
    code = (Path(__file__).parent / "crash_at.py").read_text()
    configmap = await namespace.run(
        "create",
        "configmap",
        "crash",
        f"--from-literal=sitecustomize.py={code}",
        "--dry-run=client",
        "-o",
        "json",
    )
    await namespace.run("apply", "-f", "-", stdin=configmap)
    container = {
        "name": "gateway",
        "env": [{"name": "CRASH_AT", "value": step}, {"name": "PYTHONPATH", "value": "/crash"}],
        "volumeMounts": [{"name": "crash", "mountPath": "/crash"}],
    }
    volumes = [{"name": "crash", "configMap": {"name": "crash"}}]
    patch = {"spec": {"template": {"spec": {"containers": [container], "volumes": volumes}}}}
    await namespace.run("patch", "deployment", chart.fullname, "--patch", json.dumps(patch))
    await namespace.run("rollout", "status", f"deployment/{chart.fullname}", "--timeout=120s")
    async with chart.gateway() as doomed:
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await doomed.start()

    async def was_restarted():
        pods = await namespace.run(
            "get", "pods", "-l", "app.kubernetes.io/component=gateway", "-o", "json"
        )
        [pod] = json.loads(pods)["items"]
        [status] = pod["status"]["containerStatuses"]
        return status["restartCount"] == 1 and status["ready"]

    await patiently(until(was_restarted))
    await namespace.wait_no_kernels()
    async with chart.gateway() as gateway:
        assert await gateway.kernels() == {}
        async with gateway.kernel() as kernel:
            assert (await kernel.execute("print(1)")).text == "1\n"
    await namespace.wait_no_kernels()
