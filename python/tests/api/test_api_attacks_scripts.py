"""Launch scripts and local kernels that look for the gateway's token, and those that must not run."""

import asyncio
import contextlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from api.running import TOKEN, running_gateway
from api.test_api_process import log_until
from ci.gateway_client import Gateway, Refused
from message_words import unwrapped

# Prints, for each thing that it tries to read, whether that held the token, was readable, or was denied.
THIEF = """
import ctypes, json, os, re, sys

def parent(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])

def memory(pid):
    found = b""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            first, last, rights = re.match("([0-9a-f]+)-([0-9a-f]+) (.)", line).groups()
            if rights == "r" and "[v" not in line:
                try:
                    mem.seek(int(first, 16))
                    found += mem.read(int(last, 16) - int(first, 16))
                except OSError:
                    pass
    return found

def traced(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, pid, None, None) == 0:  # PTRACE_ATTACH
        os.waitpid(pid, 0x40000000)
        libc.ptrace(17, pid, None, None)
        return b""
    raise OSError(ctypes.get_errno(), "ptrace")

def read(path):
    with open(path, "rb") as file:
        return file.read()

gateway = os.getppid()
init = parent(gateway)
tries = {
    "own environment": lambda: read("/proc/self/environ"),
    "gateway's files": lambda: b"".join(
        read(os.path.join(folder, file))
        for folder, _, files in os.walk(sys.argv[2])
        for file in files
        if os.access(os.path.join(folder, file), os.R_OK)
    ),
}
for name, pid in (("gateway", gateway), ("init", init)):
    tries[f"{name}: environment"] = lambda pid=pid: read(f"/proc/{pid}/environ")
    tries[f"{name}: memory"] = lambda pid=pid: memory(pid)
    tries[f"{name}: trace"] = lambda pid=pid: traced(pid)
result = {}
for name, attempt in tries.items():
    try:
        result[name] = "token" if TOKEN in attempt() else "readable"
    except OSError as error:
        result[name] = "denied" if error.errno in (1, 13) else repr(error)
print(json.dumps(result))
""".replace("TOKEN in", "bytes(sys.argv[1][::-1], 'ascii') in")

# Registers a kernel provisioner that runs its kernelspec's argv as a launch script, which never makes a pod.
CONFIGURATION = """
from importlib.metadata import EntryPoint

from jupyter_client.provisioning.factory import KernelProvisionerFactory as Factory

Factory.provisioners["scripted"] = EntryPoint("scripted", "api.provisioners:Scripted", Factory.GROUP_NAME)
"""


@contextlib.asynccontextmanager
async def gateway_below(init, folder, port, **environment):
    """Run `jupyter-gateway` as in its container: without capabilities, and below an init process."""
    command = [
        init,
        "-c",
        '"$@"; exit $?',
        "init",
        Path(sys.executable).with_name("jupyter-gateway"),
    ]
    if os.geteuid() == 0:
        # `env`: an exec is needed before capabilities are gone.
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "env", *command]
    (folder / "jupyter_gateway_config.py").write_text(CONFIGURATION)
    process = await asyncio.create_subprocess_exec(
        *command,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "JUPYTER_CONFIG_PATH": str(folder),
            "KG_AUTH_TOKEN": TOKEN,
            "KG_PORT": str(port),
            "KG_PORT_RETRIES": "0",
            "KG_HEALTH_PORT": "0",
            **environment,
        },
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        await log_until(process, "serves")
        async with Gateway(f"http://127.0.0.1:{port}", TOKEN) as client:
            yield client
    finally:
        os.killpg(process.pid, 15)
        await process.wait()


async def stolen(client):
    """Return the thief's report, which ends the message that its launch failed."""
    with pytest.raises(Refused) as caught:
        await client.start("scripted")
    return json.loads(unwrapped(caught.value.message).partition("printed: ")[2])


@pytest.fixture
def thief(tmp_path, add_kernelspec):
    (tmp_path / "thief.py").write_text(f"{THIEF}\nsys.exit(1)")
    argv = [sys.executable, str(tmp_path / "thief.py"), TOKEN[::-1], str(tmp_path)]
    metadata = {"kernel_provisioner": {"provisioner_name": "scripted"}}
    add_kernelspec("scripted", argv=argv, metadata=metadata)


@pytest.fixture
def unreadable_init(tmp_path):
    """A program that cannot be read, as tini in the image."""
    program = Path(shutil.copy("/bin/bash", tmp_path / "init"))
    program.chmod(0o111)
    return program


@pytest.mark.attack(14)
async def test_a_launch_script_cannot_read_the_token(
    tmp_path, unused_tcp_port, thief, unreadable_init
):
    environment = {"JUPYTER_CONFIG_DIR": "/dev/null"}  # as in the chart
    port = unused_tcp_port
    async with gateway_below(unreadable_init, tmp_path, port, **environment) as client:
        report = await stolen(client)
    assert report == {
        "own environment": "readable",
        "gateway's files": "readable",
        "gateway: environment": "denied",
        "gateway: memory": "denied",
        "gateway: trace": "denied",
        "init: environment": "denied",
        "init: memory": "denied",
        "init: trace": "denied",
    }


async def test_the_thief_would_find_a_token_that_can_be_read(tmp_path, unused_tcp_port, thief):
    async with gateway_below("/bin/bash", tmp_path, unused_tcp_port) as client:
        report = await stolen(client)
    assert report["init: environment"] == "token"
    assert report["gateway: environment"] == "denied"


@pytest.mark.attack(14)
async def test_no_program_of_a_kernelspec_runs_without_the_setting(
    tmp_path, add_kernelspec, monkeypatch
):
    monkeypatch.setenv("GP_LAUNCH_SCRIPTS", "False")
    monkeypatch.setenv("GP_NAMESPACE", "kernels")
    script = tmp_path / "scripts" / "launch_kubernetes.py"
    script.parent.mkdir()
    script.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    config = {"provisioner_name": "kubernetes-provisioner", "config": {"image_name": "a/b:1"}}
    add_kernelspec("pod", argv=["python", str(script)], metadata={"kernel_provisioner": config})
    async with running_gateway() as gateway:
        for name, words in (
            (
                "pod",
                f"Kernel 'pod' has a launch script of its own, {script}; this gateway does not run",
            ),
            (
                "local",
                "Kernel 'local' would be a process beside the gateway (local-provisioner); this",
            ),
        ):
            with pytest.raises(Refused) as caught:
                await gateway.client.start(name)
            assert caught.value.status == 500
            # The path may be longer than a line, and is split then.
            assert "".join(words.split()) in "".join(str(caught.value).split())
            assert "kernelspecs.launchScripts: true" in str(caught.value)
            assert "LaunchScript" in str(caught.value)
        assert await gateway.client.kernels() == {}
    assert not (tmp_path / "ran").exists()
