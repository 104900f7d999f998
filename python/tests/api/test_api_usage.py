"""The model of one kernel in `GET /api/kernels/ID`, and the warning before it is out of memory."""

from datetime import datetime, timezone

import pytest

from api.provisioners import Measured, NearlyFull
from api.test_api_jupyterlab import jupyter_server
from api.test_api_mailbox import launched_kernels  # noqa: F401 - a fixture

WARNING = (
    "The kernel uses 1.92 GiB of the 2 GiB of memory that it may use (96%). If it needs more, it is ended "
    "without notice. For more memory, ask the administrator."
)


@pytest.fixture(autouse=True)
def measured_kernels(add_provisioner):
    """Add the kernelspecs `measured` and `nearly-full`."""
    add_provisioner("measured", Measured)
    add_provisioner("nearly-full", NearlyFull)


async def test_the_model_of_one_kernel_says_what_it_uses(gateway):
    before = datetime.now(timezone.utc)
    async with gateway.client.kernel("measured") as channels:

        async def look():
            return await gateway.client.request("GET", f"/api/kernels/{channels.kernel_id}")

        model = await look()
        assert before <= datetime.fromisoformat(model["started"].replace("Z", "+00:00"))
        assert (model["node"], model["image"]) == ("node-1", "acme/kernel:1")
        assert model["limits"] == {"cpu": "2", "memory": "2Gi"}
        busy = []

        async def look_while_busy():
            busy.append(await look())
            await gateway.client.interrupt(channels.kernel_id)

        await channels.execute("print(1)\nwhile True: pass", on_busy=look_while_busy)
        assert busy[0]["execution_state"] == "busy"
        assert busy[0]["usage"].keys() == {"memory", "memory_limit", "cpu", "cpu_limit"}
        assert busy[0]["usage"]["memory"] > 0
        assert busy[0]["usage"]["cpu"] > model["usage"]["cpu"]


async def test_a_kernel_without_a_launcher_has_no_usage(gateway):
    kernel_id = await gateway.client.start("local")
    model = await gateway.client.request("GET", f"/api/kernels/{kernel_id}")
    unknown = {name: model[name] for name in ("node", "image", "limits", "usage")}
    assert unknown == {"node": None, "image": None, "limits": {}, "usage": None}
    assert "started" in model


async def test_lists_ask_no_kernel(gateway):
    NearlyFull.questions = 0
    kernel_id = await gateway.client.start("nearly-full")
    [model] = await gateway.client.request("GET", "/api/kernels")
    await gateway.client.request("GET", "/api/sessions")
    assert NearlyFull.questions == 0
    assert not {"usage", "limits", "node", "image"} & model.keys()
    await gateway.client.request("GET", f"/api/kernels/{kernel_id}")
    assert NearlyFull.questions == 1


async def test_a_jupyter_server_in_front_takes_the_model(gateway, port_of_process):
    """It asks for the model of a kernel that it attaches to, and passes it on."""
    kernel_id = await gateway.client.start("measured")
    async with jupyter_server(gateway, port_of_process()) as server:
        attached = await server.request("POST", "/api/kernels", {"kernel_id": kernel_id})
        assert attached["id"] == kernel_id
        assert (attached["node"], attached["usage"]["memory"] > 0) == ("node-1", True)
        [listed] = await server.request("GET", "/api/kernels")
        assert listed["id"] == kernel_id


async def test_a_busy_kernel_that_is_nearly_full_is_warned_of_once(gateway):
    watch = gateway.app.kernel_manager.memory_watch
    async with gateway.client.kernel("nearly-full") as channels:
        await watch.look()
        assert (await channels.execute("1")).text == ""  # it was idle

        async def look_twice():
            await watch.look()
            await watch.look()
            await gateway.client.interrupt(channels.kernel_id)

        result = await channels.execute("print(1)\nwhile True: pass", on_busy=look_twice)
        assert result.text.split("\n", 1)[1].split() == WARNING.split()
        again = await channels.execute("print(1)\nwhile True: pass", on_busy=look_twice)
        assert again.text == "1\n"


async def test_a_busy_kernel_without_a_client_is_not_asked(gateway):
    NearlyFull.questions = 0
    manager = gateway.app.kernel_manager
    kernel_id = await gateway.client.start("nearly-full")
    manager.get_kernel(kernel_id).execution_state = "busy"
    await manager.memory_watch.look()
    assert NearlyFull.questions == 0
