"""`jupyter-gateway` as a process: start, log and end."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from pathlib import Path

import psutil
import pytest

from api.running import TOKEN, running_gateway
from ci.gateway_client import Gateway
from gateway_provisioners.gateway.http.personality import GatewayPersonality


@contextlib.asynccontextmanager
async def gateway_process(**environment):
    """Run the command, with its log as a stream; kill it if the test has not ended it."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("jupyter-gateway"),
        "--ip=127.0.0.1",
        env={
            **os.environ,
            "KG_AUTH_TOKEN": TOKEN,
            "KG_PORT_RETRIES": "0",
            "KG_HEALTH_PORT": "0",
            **environment,
        },
        stderr=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def log_until(process, pattern):
    """Return the log's lines up to the one that matches, and the match."""
    lines = []
    while line := (await process.stderr.readline()).decode():
        lines.append(line)
        if found := re.search(pattern, line):
            return lines, found
    raise AssertionError("".join(lines))


async def receive_all(channels):
    while True:
        await channels.receive()


async def test_sigterm_ends_the_gateway_and_leaves_no_process(unused_tcp_port):
    async with gateway_process(KG_PORT=str(unused_tcp_port)) as process:
        log, _ = await log_until(process, "serves")
        url = f"http://127.0.0.1:{unused_tcp_port}"
        async with Gateway(url, TOKEN) as client:
            await client.start("local")
            async with client.channels(await client.start("local")) as channels:
                await channels.execute("x = 1")
                kernels = psutil.Process(process.pid).children(recursive=True)
                assert len(kernels) >= 2
                process.send_signal(signal.SIGTERM)
                with pytest.raises(ConnectionError, match="1001"):
                    await receive_all(channels)
                log += [line.decode() async for line in process.stderr]
                assert await process.wait() == 0
        assert not any(kernel.is_running() for kernel in kernels)
        assert TOKEN not in "".join(log)
        assert "Traceback" not in "".join(log)


async def test_child_processes_do_not_inherit_the_token(unused_tcp_port, jupyter_dirs):
    async with gateway_process(KG_PORT=str(unused_tcp_port)) as process:
        await log_until(process, "serves")
        url = f"http://127.0.0.1:{unused_tcp_port}"
        async with Gateway(url, TOKEN) as client, client.kernel("local") as channels:
            result = await channels.execute("import os; print(os.environ.get('KG_AUTH_TOKEN'))")
            assert result.text == "None\n"


async def test_an_invalid_setting_is_reported_in_one_line():
    async with gateway_process(GP_LOG_LEVEL="loud") as process:
        _, log = await process.communicate()
        assert process.returncode == 1
        assert [line for line in log.decode().splitlines() if "GP_LOG_LEVEL='loud'" in line]
        assert len(log.splitlines()) == 1


async def test_a_broken_configuration_file_stops_the_start(unused_tcp_port, tmp_path):
    (tmp_path / "jupyter_gateway_config.py").write_text("c.GatewayApp.base_url = '/here'\n")
    place = {"JUPYTER_CONFIG_PATH": str(tmp_path), "KG_PORT": str(unused_tcp_port)}
    async with gateway_process(**place) as process:
        await log_until(process, "serves http://127.0.0.1:[0-9]+/here")
    (tmp_path / "jupyter_gateway_config.py").write_text("c.GatewayApp.base_url = unknown\n")
    async with gateway_process(**place) as process:
        _, log = await process.communicate()
        assert process.returncode == 1
        assert "NameError: name 'unknown' is not defined" in log.decode()


async def test_gateway_that_stops_at_once_leaves_no_task(monkeypatch):
    """One that begins while the event loop is being closed is lost, and Python warns of it."""
    begun = []
    init = GatewayPersonality.init_configurables

    async def record(personality):
        begun.append(personality)
        await init(personality)

    monkeypatch.setattr(GatewayPersonality, "init_configurables", record)
    async with running_gateway() as gateway:
        pass
    assert begun == [gateway.app.personality]
