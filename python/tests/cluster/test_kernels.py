"""A user's work with kernels, through a gateway that Helm deployed."""

import asyncio
import base64
import json

import pytest
from kernel_deaths import execute_to_death

from ci.gateway_client import Gateway, Refused
from timeouts import TIMEOUT_SECONDS

# Asks from a pod whether a kernel's heartbeat answers a client with these keys.
ECHO = """
import zmq

def echo(url, **keys):
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger, socket.sndtimeo = 0, 2000
        for name, key in keys.items():
            setattr(socket, name, key.encode())
        socket.connect(url)
        try:
            socket.send(b"?")
        except zmq.Again:  # refused already
            print("silence")
        else:
            print("heard" if socket.poll(2000) else "silence")
"""
BUSY_LOOP = "begun = True\nprint(begun)\nwhile True: pass"


async def test_execute_and_rich_output(gateway):
    async with gateway.kernel() as kernel:
        assert (await kernel.execute("print(6 * 7)")).text == "42\n"
        rich = await kernel.execute(
            "from IPython.display import HTML, display\ndisplay(HTML('<b>bold</b>'))\n'last'"
        )
        assert rich.data[0]["text/html"] == "<b>bold</b>"
        assert rich.data[1]["text/plain"] == "'last'"


async def test_errors_come_back(gateway):
    async with gateway.kernel() as kernel:
        result = await kernel.execute("1 / 0")
        assert (result.status, result.error) == ("error", "ZeroDivisionError")


async def test_stdin(gateway):
    async with gateway.kernel() as kernel:
        result = await kernel.execute("print('hello ' + input('name? '))", answer="Ada")
        assert result.text == "hello Ada\n"


async def test_completion_and_kernel_info(gateway):
    async with gateway.kernel() as kernel:
        await kernel.execute("a_long_name = 1")
        reply = await kernel.request_reply(
            "shell", "complete_request", {"code": "a_long_n", "cursor_pos": 8}
        )
        assert "a_long_name" in reply["matches"]
        info = await kernel.request_reply("shell", "kernel_info_request", {})
        assert info["language_info"]["name"] == "python"


async def test_interrupting_a_busy_loop_keeps_the_variables(gateway):
    async with gateway.kernel() as kernel:
        result = await kernel.execute(
            BUSY_LOOP, on_busy=lambda: gateway.interrupt(kernel.kernel_id)
        )
        assert result.error == "KeyboardInterrupt"
        assert (await kernel.execute("print(begun)")).text == "True\n"


async def test_a_restart_keeps_the_id_and_loses_the_variables(gateway):
    kernel_id = await gateway.start()
    async with gateway.channels(kernel_id) as kernel:
        await kernel.execute("x = 1")
    assert (await gateway.restart(kernel_id))["id"] == kernel_id
    async with gateway.channels(kernel_id) as kernel:
        assert (await kernel.execute("x")).error == "NameError"
    await gateway.delete(kernel_id)


async def test_a_websocket_survives_a_restart(gateway):
    async with gateway.kernel() as kernel:
        await kernel.execute("x = 1")
        await gateway.restart(kernel.kernel_id)
        assert (await kernel.execute("x")).error == "NameError"


async def test_a_deleted_kernel_leaves_nothing(gateway, namespace):
    kernel_id = await gateway.start()
    assert await namespace.names("pods", kernel_id)
    assert await namespace.names("secrets", kernel_id)
    await gateway.delete(kernel_id)
    assert kernel_id not in await gateway.kernels()
    await namespace.wait_gone(kernel_id)


async def test_a_dying_kernel_is_restarted_under_its_id(gateway):
    async with gateway.kernel() as kernel:
        await execute_to_death(kernel, "import os; os._exit(3)")
        assert (await kernel.execute("print('alive')")).text == "alive\n"


async def test_twenty_kernels_at_once(gateway, namespace):
    async def use(number):
        env = {
            "KERNEL_USERNAME": f"user-{number}",
            "KERNEL_LAUNCH_TIMEOUT": str(TIMEOUT_SECONDS),  # the machine may be busy
        }
        async with gateway.kernel(**env) as kernel:
            return (await kernel.execute(f"print({number} ** 2)")).text

    results = await asyncio.gather(*(use(number) for number in range(20)))
    assert results == [f"{number**2}\n" for number in range(20)]
    await namespace.wait_no_kernels()


async def test_the_environment_of_a_kernel(gateway, namespace):
    """The client's variables arrive, through the Secret; the gateway's own and the keys do not."""
    code = "import os, json; print(json.dumps(dict(os.environ)))"
    async with gateway.kernel(KERNEL_TEAM="$(HOME) {{ x }}\nhostPID: true") as kernel:
        environment = json.loads((await kernel.execute(code)).text)
        assert environment["KERNEL_TEAM"] == "$(HOME) {{ x }}\nhostPID: true"
        assert environment["KERNEL_ID"] == kernel.kernel_id
        for name in ("KG_AUTH_TOKEN", "GP_RESPONSE_IP", "KERNEL_LAUNCH_KEY"):
            assert name not in environment
        [pod] = await namespace.objects("pods", kernel.kernel_id)
        assert "hostPID: true" not in str(pod["spec"])


async def test_the_channels_are_encrypted(gateway, namespace):
    async with gateway.kernel() as kernel:
        [secret] = await namespace.objects("secrets", kernel.kernel_id)
        record = json.loads(base64.b64decode(secret["data"]["kernel.json"]))
        info = json.loads(record["connection_info"])
        keys = {name: info[name] for name in ("curve_publickey", "curve_secretkey")}
        keys["curve_serverkey"] = info["curve_publickey"]
        await kernel.execute(ECHO)
        url = f"tcp://{info['ip']}:{info['hb_port']}"
        assert (await kernel.execute(f"echo({url!r}, **{keys!r})")).text == "heard\n"
        assert (await kernel.execute(f"echo({url!r})")).text == "silence\n"


async def test_the_debugger_works_through_the_gateway(gateway):
    async with gateway.kernel() as kernel:
        await kernel.execute("answer = 42")

        async def ask(command, **arguments):
            content = {"type": "request", "seq": 1, "command": command, "arguments": arguments}
            return await kernel.request_reply("control", "debug_request", content)

        started = await ask("initialize", clientID="test", adapterID="", pathFormat="path")
        assert started["success"]
        assert (await ask("attach"))["success"]
        variables = (await ask("inspectVariables"))["body"]["variables"]
        assert [each["value"] for each in variables if each["name"] == "answer"] == ["42"]
        assert (await ask("disconnect", restart=False, terminateDebuggee=False))["success"]


async def test_policy(gateway):
    with pytest.raises(Refused) as refusal:
        await gateway.start(KERNEL_USERNAME="root")
    assert refusal.value.status == 403
    assert "'root'" in refusal.value.message
    assert "unauthorized" in refusal.value.message
    with pytest.raises(Refused) as refusal:
        await gateway.start(LD_PRELOAD="/tmp/x.so")
    assert refusal.value.status == 403
    assert "LD_PRELOAD" in refusal.value.message
    with pytest.raises(Refused) as refusal:
        await gateway.start(KERNEL_UID="0")
    assert refusal.value.status == 403
    with pytest.raises(Refused) as refusal:
        await gateway.start(KERNEL_CPUS="plenty")
    assert refusal.value.status == 400
    assert "KERNEL_CPUS='plenty'" in refusal.value.message


@pytest.mark.parametrize("token", ["wrong", ""])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/kernels"),
        ("POST", "/api/kernels"),
        ("GET", "/api/kernelspecs"),
        ("GET", "/api/sessions"),
        ("GET", "/api/kernels/0f2f4c7e-6f9c-4f0e-8a55-1f6c4a5e0b11/channels"),
        ("DELETE", "/api/kernels/0f2f4c7e-6f9c-4f0e-8a55-1f6c4a5e0b11"),
    ],
)
async def test_without_the_token_nothing_works(gateway, token, method, path):
    async with Gateway(gateway.url, token) as stranger:
        with pytest.raises(Refused) as refusal:
            await stranger.request(method, path, {} if method == "POST" else None)
    assert refusal.value.status in {401, 403}
