"""Gateways whose clocks are a minute apart are one gateway all the same."""

import base64
import json
import time
from pathlib import Path

import pytest_asyncio
from host_network import local_cluster
from patience import patiently, until

from ci import debian
from ci.commands import run

AHEAD_SECONDS = 60
LIBRARY = "libfaketime.so.1"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ahead(cluster, chart, namespace):
    """The name of a pod of a second gateway, whose clock is ahead; its monotonic clock is true."""
    local_cluster(cluster)  # which is Debian, as the gateway's image is
    debian.install_missing({"faketime": "faketime"})
    files = run("dpkg", "--listfiles", "libfaketime").splitlines()
    [library] = [Path(file) for file in files if file.endswith(f"/{LIBRARY}")]
    configmap = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "clock"},
        "binaryData": {LIBRARY: base64.b64encode(library.read_bytes()).decode()},
    }
    deployment = json.loads(await namespace.run("get", "deployment", chart.fullname, "-o", "json"))
    template = deployment["spec"]["template"]
    [container] = template["spec"]["containers"]
    container["env"] += [
        {"name": "LD_PRELOAD", "value": f"/clock/{LIBRARY}"},
        {"name": "FAKETIME", "value": f"+{AHEAD_SECONDS}"},
        {"name": "DONT_FAKE_MONOTONIC", "value": "1"},
    ]
    container["volumeMounts"].append({"name": "clock", "mountPath": "/clock"})
    template["spec"]["volumes"].append({"name": "clock", "configMap": {"name": "clock"}})
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "ahead", "labels": template["metadata"]["labels"]},
        "spec": template["spec"],
    }
    for each in (configmap, pod):
        await namespace.run("apply", "-f", "-", stdin=json.dumps(each))
    await namespace.run("wait", "--for=condition=Ready", "pod/ahead", "--timeout=120s")
    yield "ahead"
    await namespace.run("delete", "pod/ahead", "configmap/clock")


async def test_gateways_whose_clocks_differ_share_their_kernels(chart, namespace, ahead):
    clock = await namespace.run(
        "exec", ahead, "--", "python", "-c", "import time; print(time.time())"
    )
    assert float(clock) - time.time() > AHEAD_SECONDS / 2
    [true] = [
        pod["metadata"]["name"]
        for pod in await chart.gateway_pods()
        if pod["metadata"]["name"] != ahead
    ]
    async with chart.gateway(f"pod/{true}") as one, chart.gateway(f"pod/{ahead}") as other:
        kernels = [await one.start(), await other.start()]
        for kernel_id in kernels:
            async with one.channels(kernel_id) as kernel:
                await kernel.execute("x = 1")
            async with other.channels(kernel_id) as kernel:
                assert (await kernel.execute("print(x)")).text == "1\n"
        await other.restart(kernels[0])
        async with one.channels(kernels[0]) as kernel:
            assert (await kernel.execute("x")).error == "NameError"
            await kernel.execute("x = 1")

        # Either may hold the Lease; the other one takes it when the holder is gone.
        await namespace.run("delete", "pod", true, "--force", "--grace-period=0")
        await chart.wait_rolled_out()

        async def all_are_listed():
            return sorted(await other.kernels()) == sorted(kernels)

        await patiently(until(all_are_listed))
        for kernel_id in kernels:
            async with other.channels(kernel_id) as kernel:
                assert (await kernel.execute("print(x)")).text == "1\n"
            await other.delete(kernel_id)
    await namespace.wait_no_kernels()
