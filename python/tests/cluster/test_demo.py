"""`make demo` and `make clean-demo`, as they are run, in a namespace of the test's own."""

import json
import re
import uuid

import pytest

from ci.demo import FORWARDED_PORT
from ci.gateway_access import Release
from ci.paths import ROOT
from demo_runs import (
    check_results,
    demo,
    eventually_answers,
    jupyterlab_as_printed,
    printed_commands,
    shell,
)


@pytest.fixture
async def namespace(kubectl):
    """A namespace that the demo makes."""
    name = f"gp-test-demo-{uuid.uuid4().hex[:8]}"
    yield name
    await kubectl("delete", "namespace", name, "--ignore-not-found")


async def test_the_demo_runs_every_notebook_and_says_how_to_go_on(
    cluster, kubectl, namespace, tmp_path, unused_tcp_port
):
    said = await demo("--namespace", namespace)
    made = json.loads(await kubectl("get", "namespace", namespace, "--output=json"))
    assert made["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    check_results(said, ROOT / "build/demo")
    assert Release(cluster, namespace, "gateway").token() not in said
    # What is run next is what was printed.
    [command] = re.findall(r"Each open notebook is a pod: kubectl (.*)", said)
    assert (await kubectl(*command.split(), "--output=name")).startswith("pod/gateway-")
    programs, forward, *commands = printed_commands(said)[:4]
    async with shell(programs, forward) as forwarding:
        await eventually_answers(f"http://127.0.0.1:{FORWARDED_PORT}", forwarding)
        async with (
            jupyterlab_as_printed(tmp_path, programs, *commands, port=unused_tcp_port) as lab,
            lab.kernel("custom") as kernel,
        ):
            assert (await kernel.execute("print(6 * 7)")).text.endswith("42\n")

    await demo("clean", "--namespace", namespace)
    assert await kubectl("get", "namespace", namespace, "--ignore-not-found") == ""
