"""Programs that know nothing of gateways: for them, kernelspecs of a gateway's kernels are local ones."""

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path

import nbformat
import pytest
import pytest_asyncio
from jupyter_client import AsyncKernelClient
from jupyter_client.connect import write_connection_file
from ways import environment, install_kernelspecs

from ci.local_gateway import TOKEN, gateway_process
from programs import program
from timeouts import TIMEOUT_SECONDS, eventually, within_timeout

KERNEL = "launched"  # by the launcher, as in a pod
BIN = Path(sys.executable).parent
NBCLIENT = """
import sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, kernel_name=sys.argv[2], {options}).execute()
nbformat.write(notebook, sys.argv[1])
"""
BUSY = "print('begun', flush=True)\nwhile True: pass"
LARGE = """
from IPython.display import publish_display_data
publish_display_data({"text/plain": "x" * 12_000_000})
print("after it")
"""
OPEN_COMM = """
from comm import create_comm
create_comm(target_name="probe", data={}, buffers=[bytes(range(256))])
"""


class Machine:
    """A user's machine that has kernelspecs of a gateway, and the variables of its programs."""

    def __init__(self, gateway, folder):
        self.gateway = gateway
        self.environment = {**environment(folder), "JUPYTER_GATEWAY_AUTH_TOKEN": TOKEN}
        self._folder = folder

    async def run(self, name, *arguments):
        """Run a program of the Python environment to its end; return its output."""
        return await within_timeout(program(BIN / name, *arguments, **self.environment))

    def argv(self, connection_file):
        """Return the command of the kernelspec, as every client makes it."""
        spec = json.loads(
            (self._folder / f"share/jupyter/kernels/{KERNEL}/kernel.json").read_text()
        )
        return [each.replace("{connection_file}", connection_file) for each in spec["argv"]]

    async def kernels(self):
        """Return the ids of the kernels at the gateway."""
        return list(await self.gateway.client.kernels())

    async def until_gone(self):
        """Wait until the gateway has no kernel."""

        async def are_gone():
            return not await self.kernels()

        await eventually(are_gone)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def machine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("machine")
    async with gateway_process(tmp_path_factory.mktemp("gateway")) as gateway:
        await install_kernelspecs(gateway.url, TOKEN, folder, "--kernel", KERNEL)
        yield Machine(gateway, folder)


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def nothing_left(machine):
    yield
    await machine.until_gone()


def write_notebook(path, *cells):
    kernelspec = {"name": KERNEL, "display_name": KERNEL, "language": "python"}
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": kernelspec},
    )
    nbformat.write(notebook, path)


def text_of(path, number):
    """Return what a cell has printed."""
    outputs = nbformat.read(path, as_version=4).cells[number].outputs
    return "".join(output.text for output in outputs if output.output_type == "stream")


async def test_nbclient(machine, tmp_path):
    path = tmp_path / "a.ipynb"
    write_notebook(path, "x = 6", "print(x * 7)", LARGE)
    await machine.run("python", "-c", NBCLIENT.format(options=""), path, KERNEL)
    assert text_of(path, 1) == "42\n"
    [large, after] = nbformat.read(path, as_version=4).cells[2].outputs
    assert len(large.data["text/plain"]) == 12_000_000
    assert after.text == "after it\n"


async def test_nbclient_interrupts_a_cell_that_takes_too_long(machine, tmp_path):
    path = tmp_path / "a.ipynb"
    write_notebook(path, BUSY, "print('the end')")
    options = "timeout=3, interrupt_on_timeout=True, allow_errors=True"
    await machine.run("python", "-c", NBCLIENT.format(options=options), path, KERNEL)
    *_, error = nbformat.read(path, as_version=4).cells[0].outputs
    assert error.ename == "KeyboardInterrupt"
    assert text_of(path, 1) == "the end\n"


async def test_papermill(machine, tmp_path):
    path = tmp_path / "a.ipynb"
    write_notebook(path, "print(6 * x)")
    output = tmp_path / "b.ipynb"
    await machine.run("papermill", path, output, "--kernel", KERNEL, "--parameters", "x", "7")
    assert text_of(output, -1) == "42\n"


async def test_jupyter_console(machine):
    process = await asyncio.create_subprocess_exec(
        *(BIN / "jupyter", "console", "--kernel", KERNEL, "--simple-prompt"),
        env={**os.environ, **machine.environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    lines = "print(6 * 7)\nname = input('Your name? ')\nAda\nprint('Hello,', name)\nexit\n"
    output, _ = await within_timeout(process.communicate(lines.encode()))
    assert process.returncode == 0
    assert "42" in output.decode()
    assert "Hello, Ada" in output.decode()


class Kernel:
    """A kernelspec's process that a client has started itself, as VS Code and Quarto do."""

    def __init__(self, machine, connection_file):
        self._machine = machine
        self.connection_file = connection_file
        self._info = json.loads(Path(connection_file).read_text())
        self.process = None
        self.client = None

    @contextlib.asynccontextmanager
    async def running(self):
        self.process = await asyncio.create_subprocess_exec(
            *self._machine.argv(self.connection_file),
            env={**os.environ, **self._machine.environment},
        )
        await self._until_bound()
        self.client = self.connect()
        try:
            await self.client.wait_for_ready(timeout=TIMEOUT_SECONDS)
            yield self
        finally:
            self.client.stop_channels()
            if self.process.returncode is None:
                self.process.kill()
            await self.process.wait()

    async def _until_bound(self):
        """Wait until the process listens, as VS Code does."""

        async def is_bound():
            assert self.process.returncode is None
            try:
                _, writer = await asyncio.open_connection(self._info["ip"], self._info["hb_port"])
            except ConnectionRefusedError:
                return False
            writer.close()
            return True

        await eventually(is_bound)

    def connect(self):
        """Return a client, one of several perhaps."""
        client = AsyncKernelClient(connection_file=self.connection_file)
        client.load_connection_file()
        client.start_channels()
        return client

    async def text(self, code, client=None):
        """Run a cell; return what it has printed."""
        texts = []

        def note(message):
            if message["msg_type"] == "stream":
                texts.append(message["content"]["text"])

        running = (client or self.client).execute_interactive(code, output_hook=note)
        await within_timeout(running)
        return "".join(texts)


@pytest.fixture
def kernel(machine, tmp_path):
    connection_file, _ = write_connection_file(str(tmp_path / "kernel-by-hand.json"))
    return Kernel(machine, connection_file)


async def test_a_connection_file_by_hand(machine, kernel):
    async with kernel.running():
        assert (await kernel.text("x = 42; print(x)")).endswith("42\n")
        assert await kernel.text(LARGE) == "after it\n"
        reply = await within_timeout(kernel.client.complete("pri", reply=True))
        assert "print" in reply["content"]["matches"]

        second = kernel.connect()
        assert await kernel.text("print(x)", second) == "42\n"
        second.stop_channels()

        kernel.client.shutdown()
        await within_timeout(kernel.process.wait())
        assert kernel.process.returncode == 0


async def test_buffers_of_a_comm_by_hand(kernel):
    buffers = []

    def note(message):
        if message["msg_type"] == "comm_open":
            buffers.extend(bytes(each) for each in message["buffers"])

    async with kernel.running():
        await within_timeout(kernel.client.execute_interactive(OPEN_COMM, output_hook=note))
        assert buffers == [bytes(range(256))]
        assert await kernel.text("print('the end')") == "the end\n"


async def test_an_interrupt_by_hand(kernel):
    async with kernel.running():
        begun = asyncio.Event()
        errors = []

        def note(message):
            if message["msg_type"] == "stream":
                begun.set()
            if message["msg_type"] == "error":
                errors.append(message["content"]["ename"])

        cell = asyncio.create_task(kernel.client.execute_interactive(BUSY, output_hook=note))
        await within_timeout(begun.wait())
        client = kernel.client
        client.control_channel.send(client.session.msg("interrupt_request", {}))
        await within_timeout(cell)
        assert errors == ["KeyboardInterrupt"]


async def test_a_process_that_is_killed_leaves_no_kernel(machine, kernel):
    async with kernel.running():
        assert (await kernel.text("print(1)")).endswith("1\n")
        assert len(await machine.kernels()) == 1
        kernel.process.kill()
        await kernel.process.wait()
        await machine.until_gone()


async def test_the_next_process_with_the_same_file_restarts(machine, kernel):
    """As jupyter_client's manager restarts: shutdown with `restart`, and the same command again."""
    async with kernel.running():
        await kernel.text("x = 42")
        [before] = await machine.kernels()
        kernel.client.shutdown(restart=True)
        await within_timeout(kernel.process.wait())
    async with kernel.running():
        assert (await kernel.text("print('x' in globals())")).endswith("False\n")
        assert await machine.kernels() == [before]
        kernel.client.shutdown()
        await within_timeout(kernel.process.wait())
