"""The kernel program: a kernel of the gateway for unchanged Jupyter clients of this machine."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import sys
from pathlib import Path

import pytest
import zmq.asyncio
from gateway_provisioners_client.errors import ClientError
from gateway_provisioners_client.kernel import connection_file, local_channels
from jupyter_client.connect import write_connection_file

from api.local_clients import environment, local_kernel, write_spec
from api.running import TOKEN, running_gateway
from timeouts import TIMEOUT_SECONDS, eventually, within_timeout


@pytest.fixture
async def gateway():
    async with running_gateway() as running:
        yield running


def gone(gateway, kernel_id):
    async def is_gone():
        return kernel_id not in await gateway.client.kernels()

    return is_gone


async def test_a_cell_runs_at_the_gateway(gateway, tmp_path):
    async with local_kernel(tmp_path, gateway.url) as kernel:
        assert await kernel.text("print(6 * 7)") == "42\n"
        assert [*await gateway.client.kernels()] == [kernel.state()["kernel_id"]]


async def test_variables_of_the_client_reach_the_kernel(tmp_path):
    variables = {"KERNEL_A": "1", "PASSED": "2"}
    async with (
        running_gateway(client_envs=["PASSED"]) as gateway,
        local_kernel(tmp_path, gateway.url, "python3", "--pass-env=PASSED", **variables) as kernel,
    ):
        code = "import os; print(os.environ['KERNEL_A'], os.environ['PASSED'])"
        assert await kernel.text(code) == "1 2\n"


async def test_unknown_arguments_of_clients_are_ignored(gateway, tmp_path):
    option = "--HistoryManager.hist_file=:memory:"
    async with local_kernel(tmp_path, gateway.url, "python3", option) as kernel:
        assert await kernel.text("print(1)") == "1\n"


async def test_binary_messages_arrive_as_they_were_sent(gateway, tmp_path):
    async with local_kernel(tmp_path, gateway.url) as kernel:
        code = "from ipykernel.comm import Comm; c = Comm(target_name='t', buffers=[bytes(range(256))])"
        messages = []
        await kernel.client.execute_interactive(code, output_hook=messages.append)
        [opened] = [each for each in messages if each["msg_type"] == "comm_open"]
        assert bytes(opened["buffers"][0]) == bytes(range(256))
        assert await kernel.text("print(1)") == "1\n"


async def test_a_large_output_arrives(gateway, tmp_path):
    async with local_kernel(tmp_path, gateway.url) as kernel:
        assert len(await kernel.text("print('x' * 12_000_000)")) == 12_000_001


async def test_a_client_that_does_not_read_does_not_stop_others(tmp_path, monkeypatch):
    monkeypatch.setattr(local_channels, "_STALL_SECONDS", 0.1)
    path = tmp_path / "connection.json"
    write_connection_file(str(path), ip="127.0.0.1", key=b"key")

    async def take(*_):
        pass

    channels = local_channels.LocalChannels(connection_file.read(str(path)), take)
    await channels.bind()
    context = zmq.asyncio.Context()
    stalled, reading = context.socket(zmq.SUB), context.socket(zmq.SUB)
    for each in (stalled, reading):
        each.connect(f"tcp://127.0.0.1:{json.loads(path.read_text())['iopub_port']}")
        each.subscribe(b"")
    parts = [b"{}", b"{}", b"{}"]
    for each in (stalled, reading):
        while not await each.poll(10):
            channels.publish([*parts, b"first"])
    for _ in range(5000):
        channels.publish([*parts, b"more", bytes(1000)])
        await channels.flushed()

    async def reads_the_last():
        channels.publish([*parts, b"last"])
        while await reading.poll(100):
            if (await reading.recv_multipart())[6] == b"last":
                return True
        return False

    await eventually(reads_the_last)
    await channels.close()
    context.destroy(linger=0)


@pytest.fixture
def taken_port(tmp_path):
    """Yield a connection file, and a socket of another program that has one of its ports."""
    path = tmp_path / "connection.json"
    _, info = write_connection_file(str(path), ip="127.0.0.1", key=b"key")
    with socket.create_server(("127.0.0.1", info["hb_port"])) as taken:
        yield connection_file.read(str(path)), taken


async def test_a_port_that_is_taken_for_a_moment_is_waited_for(taken_port):
    connection, taken = taken_port
    channels = local_channels.LocalChannels(connection, None)
    binding = asyncio.create_task(channels.bind())
    await asyncio.sleep(0)
    assert not binding.done()
    taken.close()
    await within_timeout(binding)
    await channels.close()


async def test_a_port_that_stays_taken_is_named(taken_port, monkeypatch):
    monkeypatch.setattr(local_channels, "_TAKEN_SECONDS", 0)
    channels = local_channels.LocalChannels(taken_port[0], None)
    with pytest.raises(
        ClientError, match=r"tcp://127.0.0.1:\d+ cannot be used: Address already in"
    ):
        await channels.bind()
    await channels.close()


async def test_an_interrupt_ends_the_cell_and_keeps_variables(gateway, tmp_path):
    async with local_kernel(tmp_path, gateway.url) as kernel:
        await kernel.text("a = 5")
        cell = await kernel.begin("print('on', flush=True)\nwhile True: pass")
        await kernel.manager.interrupt_kernel()
        reply, _ = await within_timeout(cell)
        assert reply["ename"] == "KeyboardInterrupt"
        assert await kernel.text("print(a)") == "5\n"


async def test_a_signal_interrupts_too(gateway, tmp_path):
    async with local_kernel(tmp_path, gateway.url) as kernel:
        cell = await kernel.begin(
            "import time\nprint('on', flush=True)\nwhile True: time.sleep(0.1)"
        )
        os.kill(kernel.state()["pid"], signal.SIGINT)
        reply, _ = await within_timeout(cell)
        assert reply["ename"] == "KeyboardInterrupt"


async def test_a_shutdown_ends_the_kernel_and_the_program(gateway, tmp_path):
    async with local_kernel(tmp_path, gateway.url) as kernel:
        kernel_id = kernel.state()["kernel_id"]
        await kernel.manager.shutdown_kernel()
        assert await gone(gateway, kernel_id)()
        assert not kernel.has_state()


async def test_a_restart_restarts_the_kernel_of_the_gateway(gateway, tmp_path):
    async with local_kernel(tmp_path, gateway.url) as kernel:
        kernel_id = kernel.state()["kernel_id"]
        await kernel.text("a = 5")
        await kernel.manager.restart_kernel()
        await kernel.client.wait_for_ready(timeout=TIMEOUT_SECONDS)
        reply, _ = await kernel.run("a")
        assert reply["ename"] == "NameError"
        assert [*await gateway.client.kernels()] == [kernel_id]
        assert kernel.state()["kernel_id"] == kernel_id


async def test_a_killed_program_takes_its_kernel_with_it(gateway, tmp_path):
    async with local_kernel(tmp_path, gateway.url) as kernel:
        state = kernel.state()
        os.kill(state["pid"], signal.SIGKILL)
        await eventually(gone(gateway, state["kernel_id"]))


async def test_a_killed_client_takes_program_and_kernel_with_it(gateway, tmp_path):
    write_spec(tmp_path, gateway.url)
    code = (
        "import sys\n"
        "from jupyter_client.kernelspec import KernelSpecManager\n"
        "from jupyter_client.manager import KernelManager\n"
        "specs = KernelSpecManager(kernel_dirs=[sys.argv[1] + '/kernels'])\n"
        "file = sys.argv[1] + '/connection.json'\n"
        "km = KernelManager(kernel_name='remote', kernel_spec_manager=specs, connection_file=file)\n"
        "km.start_kernel()\n"
        "client = km.client()\n"
        "client.start_channels()\n"
        f"client.wait_for_ready(timeout={TIMEOUT_SECONDS})\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, str(tmp_path)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment(tmp_path),
    )
    assert await within_timeout(client.stdout.readline()) == b"ready\n"
    state = json.loads((tmp_path / "connection.json.gateway.json").read_text())
    client.kill()
    await client.wait()
    await eventually(gone(gateway, state["kernel_id"]))

    async def program_is_gone():
        return not _runs(state["pid"])

    await eventually(program_is_gone)


def _runs(pid):
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


async def test_a_killed_program_that_is_replaced_keeps_its_kernel(gateway, tmp_path):
    async with local_kernel(tmp_path, gateway.url) as kernel:
        kernel_id = kernel.state()["kernel_id"]
        await kernel.manager.restart_kernel(now=True)
        await kernel.client.wait_for_ready(timeout=TIMEOUT_SECONDS)
        assert await kernel.text("print(1)") == "1\n"
        assert kernel.state()["kernel_id"] == kernel_id
        assert [*await gateway.client.kernels()] == [kernel_id]


async def test_sigterm_ends_the_kernel(gateway, tmp_path):
    async with local_kernel(tmp_path, gateway.url) as kernel:
        state = kernel.state()
        os.kill(state["pid"], signal.SIGTERM)
        await eventually(gone(gateway, state["kernel_id"]))


async def test_two_clients_get_their_own_replies_and_input(gateway, tmp_path):
    async with local_kernel(tmp_path, gateway.url) as kernel, kernel.other_client() as other:
        asked = other.execute("print(input('who? '))", allow_stdin=True)
        request = await within_timeout(other.get_stdin_msg(timeout=None))
        assert request["content"]["prompt"] == "who? "
        other.input("bob")
        reply = await within_timeout(other.get_shell_msg(timeout=None))
        assert reply["parent_header"]["msg_id"] == asked
        assert await kernel.text("print('alice')") == "alice\n"


async def test_a_second_kernel_attaches_to_one_that_runs(gateway, tmp_path):
    kernel_id = await gateway.client.start()
    async with gateway.client.channels(kernel_id) as channels:
        await channels.execute("a = 5")
        async with local_kernel(tmp_path, gateway.url, GATEWAY_KERNEL_ATTACH=kernel_id) as kernel:
            assert await kernel.text("print(a)") == "5\n"
            os.kill(kernel.state()["pid"], signal.SIGKILL)
        # It was there before, and stays.
        assert (await channels.execute("print(a)")).text == "5\n"


async def test_kernel_info_comes_from_the_last_start(gateway, tmp_path):
    async with local_kernel(tmp_path, gateway.url):
        pass
    [kept] = (tmp_path / "data").rglob("kernel-info-*.json")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    async with local_kernel(tmp_path, gateway.url) as kernel:
        kernel.client.kernel_info()
        reply = await within_timeout(kernel.client.get_shell_msg(timeout=None))
        assert reply["content"]["implementation"] == "ipython"
        assert await kernel.text("print(1)") == "1\n"


async def test_a_start_that_fails_says_why_in_every_cell(gateway, tmp_path):
    async with local_kernel(tmp_path, gateway.url, "not-there") as kernel:
        for _ in range(2):
            reply, outputs = await kernel.run("1")
            assert reply["ename"] == "KernelNotStarted"
            [shown] = outputs
            assert "not-there" in shown["traceback"][0]
            assert "Restart the kernel to try again." in shown["traceback"][0]


async def test_a_gateway_that_is_not_there_is_named_in_the_cell(tmp_path):
    async with local_kernel(tmp_path, "http://127.0.0.1:9") as kernel:
        reply, _ = await kernel.run("1")
        assert "Nothing answers at 127.0.0.1:9" in reply["evalue"]


async def test_options_that_make_no_sense_are_named_in_the_cell(tmp_path):
    async with local_kernel(tmp_path, "http://127.0.0.1:9", "x", "--request-timeout=-1") as kernel:
        reply, _ = await kernel.run("1")
        assert "time-out" in reply["evalue"]


async def test_a_lost_connection_is_resumed_in_mid_cell(gateway, tmp_path):
    async with local_kernel(tmp_path, gateway.url) as kernel:
        code = "import time\nprint('on', flush=True)\ntime.sleep(2)\nprint('done')"
        cell = await kernel.begin(code)
        for socket in gateway.sockets():
            socket.shutdown(2)
        _, text = await within_timeout(cell)
        assert "The connection to the gateway was lost; reconnecting ..." in text
        assert "Connected again after" in text
        assert text.endswith("done\n")
        assert await kernel.text("print(1)") == "1\n"


async def test_a_kernel_that_is_gone_is_named_in_the_cell(gateway, tmp_path):
    async with local_kernel(tmp_path, gateway.url) as kernel:
        await gateway.client.delete(kernel.state()["kernel_id"])

        async def is_named():
            reply, _ = await kernel.run("1")
            return "does not exist any longer" in reply.get("evalue", "")

        await eventually(is_named)
        await kernel.manager.restart_kernel()
        await kernel.client.wait_for_ready(timeout=TIMEOUT_SECONDS)
        assert await kernel.text("print(1)") == "1\n"


@pytest.mark.attack(21)
async def test_no_argument_or_file_has_the_token(gateway, tmp_path):
    async with local_kernel(tmp_path, gateway.url) as kernel:
        await kernel.text("1")
        _check_secrecy(kernel.state()["pid"], Path(kernel.connection_file), tmp_path)


def _check_secrecy(pid, connection, folder):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert children
    for each in (str(pid), *children):
        assert TOKEN not in Path(f"/proc/{each}/cmdline").read_text()
    state_file = connection.with_name(connection.name + ".gateway.json")
    assert stat.S_IMODE(state_file.stat().st_mode) == 0o600
    for file in filter(Path.is_file, folder.rglob("*")):
        assert TOKEN.encode() not in file.read_bytes()


@pytest.mark.attack(21)
async def test_messages_without_the_key_are_not_taken(gateway, tmp_path):
    async with (
        local_kernel(tmp_path, gateway.url) as kernel,
        kernel.other_client(key=b"guessed") as stranger,
        kernel.other_client() as known,
    ):
        stranger.execute("a = 5")
        known.execute("b = 5")
        await within_timeout(known.get_shell_msg(timeout=None))
        reply, _ = await kernel.run("a")
        assert reply["ename"] == "NameError"
