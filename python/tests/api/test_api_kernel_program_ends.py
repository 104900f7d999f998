"""The end of the kernel program with its client, whatever the gateway does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from jupyter_client.connect import write_connection_file

from api.local_clients import environment
from api.running import running_gateway
from timeouts import eventually, within_timeout


@contextlib.asynccontextmanager
async def silent_gateway():
    """A gateway that takes connections, and answers nothing; gives its URL and an event for a request."""
    asked = asyncio.Event()
    writers = []

    async def take(reader, writer):
        writers.append(writer)
        await reader.readline()
        asked.set()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()
        for writer in writers:
            writer.close()


def command(folder, url):
    path = folder / "connection.json"
    write_connection_file(str(path), ip="127.0.0.1", key=b"key")
    program = [sys.executable, "-m", "gateway_provisioners_client.kernel", str(path)]
    return [*program, "--kernel=python3", f"--url={url}", "--token-variable=TOKEN_OF_THE_GATEWAY"]


@contextlib.asynccontextmanager
async def program(folder, url, **variables):
    """Run the kernel program; one that still runs at the end is killed."""
    running = await asyncio.create_subprocess_exec(
        *command(folder, url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env=environment(folder, **variables),
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


def child_of(pid):
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return child


def has_ended(pid):
    async def check():
        return not _runs(pid)

    return check


def _runs(pid):
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def is_up(folder):
    async def check():
        with contextlib.suppress(OSError, ValueError):
            state = json.loads((folder / "connection.json.gateway.json").read_text())
            return state["starting"] is False and state
        return None

    return check


async def test_sigterm_ends_it_though_the_gateway_is_silent(tmp_path):
    async with silent_gateway() as (url, asked), program(tmp_path, url) as running:
        await within_timeout(asked.wait())
        running.terminate()
        await within_timeout(running.wait())


async def test_its_pipes_are_closed_before_a_silent_gateway_answers(tmp_path):
    async with silent_gateway() as (url, asked), program(tmp_path, url) as running:
        await within_timeout(asked.wait())
        # While it runs, and so does its watcher.
        assert await within_timeout(running.stdout.read()) == b""
        assert running.returncode is None
        running.kill()
        # The watcher asks the gateway to delete the kernel, with no hold on the client's terminal.
        assert await within_timeout(running.stderr.read()) == b""
        await running.wait()


async def test_a_client_that_ended_before_it_was_looked_for(tmp_path):
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await client.wait()
    async with (
        silent_gateway() as (url, _),
        program(tmp_path, url, JPY_PARENT_PID=str(client.pid)) as running,
    ):
        await within_timeout(running.wait())


async def test_a_client_that_ends_right_after_it_started_one(tmp_path):
    code = (
        "import os, subprocess, sys\n"
        "os.environ['JPY_PARENT_PID'] = str(os.getpid())\n"
        "print(subprocess.Popen(sys.argv[1:], stdout=2, start_new_session=True).pid, flush=True)\n"
        "os._exit(0)\n"
    )
    async with silent_gateway() as (url, _):
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code, *command(tmp_path, url)),
            stdout=asyncio.subprocess.PIPE,
            env=environment(tmp_path),
        )
        pid = int(await within_timeout(client.stdout.read()))
        await client.wait()
        await eventually(has_ended(pid))


async def test_a_kernel_is_deleted_though_sigkill_came_during_its_start(tmp_path):
    async with running_gateway() as gateway, program(tmp_path, gateway.url) as running:

        async def is_there():
            return await gateway.client.kernels()

        await eventually(is_there)
        running.kill()
        await running.wait()
        await gateway.without_kernels()


async def test_the_watcher_ends_with_a_kernel_that_was_shut_down(tmp_path):
    async with running_gateway() as gateway, program(tmp_path, gateway.url) as running:
        await eventually(is_up(tmp_path))
        watcher = child_of(running.pid)
        running.terminate()
        await within_timeout(running.wait())
        await eventually(has_ended(watcher))
        assert not await gateway.client.kernels()


@pytest.mark.attack(21)
async def test_files_of_the_notebooks_folder_are_not_imported(tmp_path):
    for name in ("json", "asyncio", "logging", "aiohttp"):
        (tmp_path / f"{name}.py").write_text("open('imported', 'w').close()\n")
    async with running_gateway() as gateway, program(tmp_path, gateway.url) as running:
        await eventually(is_up(tmp_path))
        os.kill(running.pid, signal.SIGKILL)
        await running.wait()
        await gateway.without_kernels()
    assert "imported" not in [each.name for each in tmp_path.iterdir()]
