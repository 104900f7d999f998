"""Kernels that are shut down because they are idle, or have reached their maximum lifetime."""

import json
from datetime import timedelta

import aiohttp
import pytest

from api.running import running_gateway
from ci.gateway_client import Gateway, Refused
from gateway_provisioners.gateway.kernels.peers import NoPeers
from message_words import unwrapped

IDLE = "The kernel was not in use for 60 seconds (cull_idle_timeout)."


class RecordingPeers(NoPeers):
    """Records announcements to the other gateways; one of them is the leader if the test says so."""

    def __init__(self, *, is_leader=True, connected=0):
        self.started = {}
        self.activity = {}
        self._is_leader = is_leader
        self._connected = connected

    def is_leader(self):
        return self._is_leader

    def connections_elsewhere(self, kernel_id):
        return self._connected

    def announce_started(self, kernel_id, started):
        self.started[kernel_id] = started

    def announce_activity(self, kernel_id, last_activity):
        self.activity[kernel_id] = last_activity


@pytest.fixture
def add_limited(add_kernelspec):
    def add(name, **limits):
        provisioner = {"kernel_provisioner": {"provisioner_name": "local-provisioner"}}
        add_kernelspec(name, metadata={**provisioner, **limits})

    return add


def aged(gateway, kernel_id, seconds):
    """Make a kernel that much older, and idle for that long."""
    manager = gateway.app.kernel_manager
    manager.stop_watching_activity(kernel_id)  # late messages of its start would count as activity
    kernel = manager.get_kernel(kernel_id)
    kernel.started -= timedelta(seconds=seconds)
    kernel.last_activity -= timedelta(seconds=seconds)
    return kernel


async def test_a_kernels_greeting_does_not_count_as_activity(gateway):
    manager = gateway.app.kernel_manager
    greetings = ["iopub_welcome", None, "status", "kernel_info_reply"]
    assert not any(map(manager.track_message_type, greetings))
    assert manager.track_message_type("execute_request")


async def culled(gateway):
    """Cull; return the kernels that are left, and the counts of those that are not."""
    await gateway.app.kernel_manager.culler.cull()
    metrics = await gateway.probes.request("GET", "/metrics")
    prefix = "gateway_provisioners_kernels_culled_total"
    counts = {line.removeprefix(prefix) for line in metrics.splitlines() if line.startswith(prefix)}
    return set(await gateway.client.kernels()), counts


async def test_a_kernel_has_an_idle_timeout_of_its_own(add_limited, monkeypatch):
    monkeypatch.setenv("GP_CULL_IDLE_TIMEOUT", "3600")
    add_limited("soon", cull_idle_timeout=60)
    add_limited("never", cull_idle_timeout=0)
    async with running_gateway() as gateway:
        soon, never, plain = [
            await gateway.client.start(name) for name in ("soon", "never", "local")
        ]
        for kernel_id, seconds in {soon: 61, never: 10**6, plain: 3590}.items():
            aged(gateway, kernel_id, seconds)
        left, counts = await culled(gateway)
        assert left == {never, plain}
        aged(gateway, plain, 60)
        left, counts = await culled(gateway)
        assert left == {never}
        assert counts == {'{cause="idle",kernel="soon"} 1.0', '{cause="idle",kernel="local"} 1.0'}


async def test_a_kernels_idle_timeout_needs_no_global_one(add_limited):
    add_limited("soon", cull_idle_timeout=60)
    async with running_gateway() as gateway:
        soon, plain = await gateway.client.start("soon"), await gateway.client.start("local")
        aged(gateway, soon, 61)
        aged(gateway, plain, 10**6)
        assert (await culled(gateway))[0] == {plain}
        assert gateway.app.kernel_manager.culler._timer.is_running()


async def test_a_kernel_with_a_client_at_another_gateway_is_not_idle(add_limited):
    add_limited("soon", cull_idle_timeout=60)
    async with running_gateway() as gateway:
        soon = await gateway.client.start("soon")
        aged(gateway, soon, 61)
        gateway.app.kernel_manager.peers = RecordingPeers(connected=1)
        assert (await culled(gateway))[0] == {soon}
        gateway.app.kernel_manager.peers = RecordingPeers()
        assert (await culled(gateway))[0] == set()


async def test_a_busy_kernel_is_shut_down_at_its_max_lifetime(add_limited, caplog):
    add_limited("short", max_lifetime=3600)
    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("short")
        async with gateway.client.channels(kernel_id) as channels:
            code = {"code": "import time; print('busy'); time.sleep(600)", "silent": False}
            await channels.send("shell", "execute_request", code)
            while (await channels.receive())["header"]["msg_type"] != "stream":
                pass
            kernel = aged(gateway, kernel_id, 3601)
            process = kernel.provisioner.process
            left, counts = await culled(gateway)
            assert left == set()
            assert counts == {'{cause="lifetime",kernel="short"} 1.0'}
            assert process.poll() is not None
            received = []
            while (message := await channels._websocket.receive()).type is aiohttp.WSMsgType.TEXT:
                received.append(message.json()["content"])
            assert {"execution_state": "dead"} in received
            why = "The kernel has reached its maximum lifetime of 60 minutes (max_lifetime)."
            errors = {content["evalue"] for content in received if "evalue" in content}
            assert f"{why} It is being shut down." in errors
    assert f"Kernel {kernel_id} (short) is shut down. {why}" in caplog.messages


async def test_a_restart_does_not_extend_the_lifetime(add_limited):
    add_limited("short", max_lifetime=3600)
    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("short")
        aged(gateway, kernel_id, 3500)
        await gateway.client.restart(kernel_id)
        gateway.app.kernel_manager.peers = others = RecordingPeers()
        assert (await culled(gateway))[0] == {kernel_id}
        kernel = aged(gateway, kernel_id, 101)
        assert others.started == {kernel_id: (kernel.started + timedelta(seconds=101)).isoformat()}
        assert (await culled(gateway))[0] == set()


async def test_only_the_leader_culls(add_limited):
    add_limited("short", max_lifetime=60, cull_idle_timeout=60)
    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("short")
        aged(gateway, kernel_id, 61)
        gateway.app.kernel_manager.peers = others = RecordingPeers(is_leader=False)
        assert (await culled(gateway))[0] == {kernel_id}
        assert not others.started
        assert not others.activity


async def test_an_invalid_limit_does_not_protect_other_kernels(add_limited, caplog):
    add_limited("broken", max_lifetime="a day")
    add_limited("short", max_lifetime=60)
    async with running_gateway() as gateway:
        broken, short = await gateway.client.start("broken"), await gateway.client.start("short")
        aged(gateway, short, 61)
        assert (await culled(gateway))[0] == {broken}
    assert f"Kernel {broken} cannot be culled: ValueError" in caplog.text


async def test_clients_get_notice_once_before_the_end_of_a_lifetime(add_limited):
    add_limited("short", max_lifetime=36_000)
    async with running_gateway() as gateway:
        culler = gateway.app.kernel_manager.culler
        async with gateway.client.kernel("short") as channels:
            kernel = gateway.app.kernel_manager.get_kernel(channels.kernel_id)
            said = []
            kernel.announce = said.append
            aged(gateway, channels.kernel_id, 36_000 - 700)
            await culler.cull()
            assert said == []
            aged(gateway, channels.kernel_id, 110)
            await culler.cull()
            await culler.cull()
            (notice,) = said
            assert notice.startswith("This kernel is to be shut down in 9.")
            assert "it may run for 10 hours (max_lifetime)" in notice
            aged(gateway, channels.kernel_id, 1)
            await culler.cull()
            assert len(said) == 2


async def test_clients_get_notice_before_an_idle_kernel_is_culled(add_limited, monkeypatch):
    add_limited("soon", cull_idle_timeout=3600)
    monkeypatch.setenv("GP_CULL_INTERVAL", "60")
    for connected, notices in ("true", 1), ("false", 0):
        monkeypatch.setenv("GP_CULL_CONNECTED", connected)
        async with running_gateway() as gateway, gateway.client.kernel("soon") as channels:
            kernel = aged(gateway, channels.kernel_id, 3550)
            said = []
            kernel.announce = said.append
            await gateway.app.kernel_manager.culler.cull()
            assert len(said) == notices
            assert all("Run a cell to keep it" in notice for notice in said)


async def test_gateways_that_do_not_cull_give_notice_as_well(add_limited):
    add_limited("short", max_lifetime=3600)
    async with running_gateway() as gateway:
        gateway.app.kernel_manager.peers = RecordingPeers(is_leader=False)
        async with gateway.client.kernel("short") as channels:
            kernel = aged(gateway, channels.kernel_id, 3500)
            said = []
            kernel.announce = said.append
            await gateway.app.kernel_manager.culler.cull()
            assert len(said) == 1


async def test_a_notice_waits_for_a_client(add_limited):
    add_limited("short", max_lifetime=3600)
    async with running_gateway() as gateway:
        culler = gateway.app.kernel_manager.culler
        kernel_id = await gateway.client.start("short")
        aged(gateway, kernel_id, 3500)
        await culler.cull()
        async with gateway.client.channels(kernel_id) as channels:
            await culler.cull()
            message = await channels.receive()
            while message["header"]["msg_type"] != "stream":
                message = await channels.receive()
            assert message["content"]["text"].startswith("This kernel is to be shut down in ")
            assert not message["parent_header"]


async def test_connected_clients_learn_why_an_idle_kernel_was_culled(add_limited, monkeypatch):
    monkeypatch.setenv("GP_CULL_CONNECTED", "true")
    add_limited("soon", cull_idle_timeout=60)
    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("soon")
        async with gateway.client.channels(kernel_id) as channels:
            aged(gateway, kernel_id, 61)
            assert (await culled(gateway))[0] == set()
            received = []
            while (message := await channels._websocket.receive()).type is aiohttp.WSMsgType.TEXT:
                received.append(message.json()["content"])
        said = [content["text"] for content in received if "text" in content]
        assert f"{IDLE} It is being shut down.\n" in said
        assert {"execution_state": "dead"} in received


async def message_about(gateway, kernel_id, token=""):
    async with Gateway(gateway.url, token or gateway.app.auth_token) as client:
        with pytest.raises(Refused) as refused:
            await client.request("GET", f"/api/kernels/{kernel_id}")
    assert refused.value.status == 404
    return unwrapped(refused.value.message)


async def test_only_the_owner_learns_why_a_kernel_is_gone(add_limited, tmp_path, monkeypatch):
    add_limited("soon", cull_idle_timeout=60)
    tokens = {name: f"the-token-of-{name}-which-is-long" for name in ("alice", "bob")}
    for name, token in tokens.items():
        (tmp_path / "people" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "people" / name).write_text(token)
    people = {"type": "token", "tokensFolder": str(tmp_path / "people")}
    monkeypatch.setenv("GP_AUTH_METHODS", json.dumps({"people": people}))
    async with running_gateway() as gateway:
        async with Gateway(gateway.url, tokens["alice"]) as alice:
            kernel_id = await alice.start("soon")
            deleted = await alice.start("local")
            await alice.delete(deleted)
        aged(gateway, kernel_id, 61)
        await gateway.app.kernel_manager.culler.cull()
        missing = f"Kernel does not exist: {kernel_id}"
        why = f"{IDLE} It was shut down. {missing}"
        assert await message_about(gateway, kernel_id, tokens["alice"]) == why
        assert await message_about(gateway, kernel_id) == why  # an administrator
        assert await message_about(gateway, kernel_id, tokens["bob"]) == missing
        about_deleted = await message_about(gateway, deleted, tokens["alice"])
        assert about_deleted.startswith("A client shut the kernel down. ")


async def test_a_kernel_culled_by_another_gateway_is_announced(add_limited):
    add_limited("soon", cull_idle_timeout=60)
    async with running_gateway() as gateway:
        manager = gateway.app.kernel_manager
        manager.peers = RecordingPeers(is_leader=False)
        ended = {}
        for seconds in 61, 0:
            kernel_id = await gateway.client.start("soon")
            kernel = aged(gateway, kernel_id, seconds)
            await manager.release(kernel_id, ended=True)
            await kernel.shutdown_kernel(now=True)
            ended[seconds] = await message_about(gateway, kernel_id)
        assert ended[61].startswith(f"{IDLE} It was shut down.")
        assert ended[0].startswith("The kernel was shut down through another gateway.")
