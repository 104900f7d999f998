"""The first cell of a kernel program whose kernel is slow to start."""

from __future__ import annotations

import asyncio

import pytest
from jupyter_client.manager import AsyncKernelManager

from api.local_clients import environment, write_spec
from api.provisioners import Pulling, Slow
from timeouts import within_timeout


@pytest.fixture
def slow(add_provisioner, monkeypatch):
    """The kernel `slow`, which starts when `go_on` is set."""
    add_provisioner("slow", Pulling)
    for name in ("launching", "go_on"):
        monkeypatch.setattr(Slow, name, asyncio.Event(), raising=False)
    monkeypatch.setattr(Slow, "abandoned", False, raising=False)
    return Slow


async def test_the_first_cell_shows_the_steps_of_a_slow_start(gateway, slow, tmp_path):
    manager = AsyncKernelManager(
        kernel_name="remote", kernel_spec_manager=write_spec(tmp_path, gateway.url, "slow")
    )
    await manager.start_kernel(env=environment(tmp_path))
    client = manager.client()
    client.start_channels()
    try:
        await within_timeout(slow.launching.wait())
        cell = client.execute("print('done')")
        lines = await _text(client, cell)
        assert lines.startswith("The node is pulling the image 'acme/x:1'.")
        slow.go_on.set()
        while "done\n" not in lines:
            lines += await _text(client, cell)
        assert "The kernel is up after" in lines
        assert lines.count("The node is pulling") == 1
    finally:
        slow.go_on.set()
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


async def _text(client, cell):
    while True:
        message = await within_timeout(client.get_iopub_msg(timeout=None))
        is_of_cell = message["parent_header"].get("msg_id") == cell
        if is_of_cell and message["msg_type"] == "stream":
            return message["content"]["text"]
