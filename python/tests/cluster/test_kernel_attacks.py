"""Attacks by code in a kernel on its gateway, and on the kernels of others."""

import base64
import json

import pytest
from chart import GATEWAY_SELECTOR

from timeouts import eventually

# Code for a kernel: it prints the outcome of each attempt to use what it finds in /proc.
READ_PROC = """
import os

def attempt(path):
    try:
        with open(path, "rb") as file:
            return file.read(1) and "read"
    except OSError as error:
        return type(error).__name__

launcher = os.getppid()
print(*(attempt(f"/proc/{launcher}/{name}") for name in ("environ", "mem", "maps")))
"""
# Code for a kernel: it sends its launcher a command, sealed with the launch key.
USE_LAUNCH_KEY = """
import base64, json, os, socket, sys
sys.path.append("/usr/local/bin/kernel-launchers/python/scripts")
from kernel_launcher import wire

with open("/proc/self/environ", "rb") as file:
    started_with = dict(each.split(b"=", 1) for each in file.read().split(b"\\0") if b"=" in each)
key = wire.LaunchKey(base64.b64decode(started_with[b"KERNEL_LAUNCH_KEY"]), KERNEL_ID)

with socket.create_connection(("127.0.0.1", PORT), timeout=5) as command:
    lines = command.makefile("rwb")
    text = json.loads(lines.readline())["challenge"]
    payload = {"version": 2, **wire._seal(key._command_key, os.urandom(12),
        wire.CONTEXT + f"command {KERNEL_ID} {text}".encode(), {"signum": 0})}
    lines.write(json.dumps(payload).encode() + b"\\n")
    lines.flush()
    print("answer:", lines.readline())
"""
# Run by the image's start script before the launcher: a report in the launcher's place.
FORGE_REPORT = """
import base64, os, socket, sys
sys.path.append("/usr/local/bin/kernel-launchers/python/scripts")
from kernel_launcher import wire

key = wire.LaunchKey(base64.b64decode(os.environ["KERNEL_LAUNCH_KEY"]), os.environ["KERNEL_ID"])
names = ("shell", "iopub", "stdin", "control", "hb", "comm")
info = {f"{name}_port": 40000 for name in names}
info.update(ip=os.environ["KERNEL_VICTIM"], key="k", transport="tcp", signature_scheme="hmac-sha256")
info.update(kernel_id=os.environ["KERNEL_ID"])
host, port = os.environ["RESPONSE_ADDRESS"].rsplit(":", 1)
with socket.create_connection((host, int(port))) as report:
    report.sendall(key.connection_info(info))
    report.shutdown(socket.SHUT_WR)
    report.recv(1)
"""


async def connection_info(namespace, kernel_id):
    """Return what the gateway stored about a kernel."""
    [secret] = await namespace.objects("secrets", kernel_id)
    record = json.loads(base64.b64decode(secret["data"]["kernel.json"]))
    return json.loads(record["connection_info"])


@pytest.mark.attack(11)
async def test_a_kernel_reads_no_key_of_its_launcher(gateway):
    async with gateway.kernel() as kernel:
        result = await kernel.execute(READ_PROC)
    assert result.text == "PermissionError PermissionError PermissionError\n"


@pytest.mark.attack(11)
async def test_the_launch_key_of_a_kernel_that_is_up_commands_nothing(gateway, namespace):
    async with gateway.kernel() as kernel:
        connection = await connection_info(namespace, kernel.kernel_id)
        values = f"KERNEL_ID, PORT = {kernel.kernel_id!r}, {connection['comm_port']}\n"
        result = await kernel.execute(values + USE_LAUNCH_KEY)
        assert result.text == "answer: b''\n", result
        assert (await kernel.execute("print('alive')")).text == "alive\n"


@pytest.mark.attack(9)
async def test_a_report_that_names_another_kernels_address_is_corrected(chart, gateway, namespace):
    """Code of the image reports before its launcher does, to have the gateway connect to the victim."""
    environment = {"FORGE": FORGE_REPORT, "BASH_ENV": '$(python3 -c "$FORGE" >&2)'}
    await chart.upgrade({"kernels": {"forging": {"image": chart.image, "env": environment}}})

    async def is_offered():
        return "forging" in (await gateway.request("GET", "/api/kernelspecs"))["kernelspecs"]

    await eventually(is_offered)
    async with gateway.kernel() as victim:
        address = (await connection_info(namespace, victim.kernel_id))["ip"]
        kernel_id = await gateway.start("forging", KERNEL_VICTIM=address)
        log = await namespace.run("logs", "-l", GATEWAY_SELECTOR, "--tail=-1")
        assert (await connection_info(namespace, kernel_id))["ip"] != address
    assert f"its launcher reported the address {address}, which is not the kernel's" in log
    await gateway.delete(kernel_id)
