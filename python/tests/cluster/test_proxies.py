"""A site whose policy puts proxy variables into every pod, with the cluster's networks in NO_PROXY."""

import pytest_asyncio

# Nothing listens there: what is sent to the proxy fails.
PROXY = "http://127.0.0.1:1"
VARIABLES = {
    "HTTPS_PROXY": PROXY,
    "HTTP_PROXY": PROXY,
    "https_proxy": PROXY,
    "NO_PROXY": "10.96.0.0/12,10.244.0.0/16,.svc,.cluster.local",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def release(chart):
    await chart.upgrade({"gateway": {"extraEnv": VARIABLES}})
    return chart


async def test_gateway_becomes_ready_and_starts_kernels(release):
    async with release.gateway() as gateway, gateway.kernel("python3") as kernel:
        assert (await kernel.execute("print(1 + 1)")).text == "2\n"


async def test_commands_that_wait_for_images_reach_the_api(release, namespace):
    """The hook's Job has no values for variables; a policy gives it the same ones."""
    code = (
        "import asyncio; from gateway_provisioners.kube.api import KubeApi\n"
        "async def main():\n"
        "    api = await KubeApi.connect()\n"
        f"    print(len((await api.collection('Pod', '{namespace.name}').list())[0]))\n"
        "    await api.close()\n"
        "asyncio.run(main())"
    )
    target = f"deploy/{release.fullname}"
    printed = await namespace.run("exec", target, "--", "python", "-c", code)
    assert int(printed) >= 1
