"""Operations: health, metrics, changing kernelspecs, and stopping the gateway."""

import asyncio
import contextlib
import json

import aiohttp
import pytest
from traitlets import TraitError

from api.conftest import kernel_json
from api.provisioners import Failing, Lasting, Slow
from api.running import TOKEN, running_gateway
from api.test_api_attacks_clients import connect
from ci.gateway_client import Refused
from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.process.health import Check
from gateway_provisioners.gateway.websocket import outbox
from timeouts import eventually


class ConfigMaps:
    """A fake watch of a ConfigMap."""

    def __init__(self, **data):
        self.objects = {}
        self.synced = False
        self._listeners = []
        if data:
            self.change(**data)

    def subscribe(self, listener):
        self._listeners.append(listener)
        return lambda: None

    def change(self, **data):
        self.synced = True
        self.objects = {"specs": {"metadata": {"name": "specs"}, "data": data}}
        for listener in self._listeners:
            listener("MODIFIED", self.objects["specs"])


async def kernelspecs_of(gateway):
    return (await gateway.client.request("GET", "/api/kernelspecs"))["kernelspecs"]


async def readiness_of(gateway):
    """Return the status and the checks; to clients without the token the details are not shown."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{gateway.probes.url}/readyz") as response:
            status, probed = response.status, await response.json()
        headers = {"Authorization": f"token {TOKEN}"}
        async with session.get(f"{gateway.url}/readyz", headers=headers) as response:
            assert response.status == status
            known = await response.json()
    checks = known["checks"].items()
    assert probed["checks"] == {name: {"ok": check["ok"]} for name, check in checks}
    assert probed["ok"] == known["ok"] == (status == 200)
    return status, known


async def test_an_added_kernelspec_is_listed_at_once(gateway):
    source = ConfigMaps()
    gateway.app.kernel_spec_manager.follow(source)
    before = await kernelspecs_of(gateway)
    assert "local" in before
    source.change(**{"data_sci_py.json": json.dumps(kernel_json(display_name="Data Science 2.0"))})
    specs = await kernelspecs_of(gateway)
    assert specs["data_sci_py"]["spec"]["display_name"] == "Data Science 2.0"
    assert specs["data_sci_py"]["resources"] == {
        "logo-svg": "/kernelspecs/data_sci_py/logo-svg.svg"
    }
    one = await gateway.client.request("GET", "/api/kernelspecs/data_sci_py")
    assert one == specs["data_sci_py"]
    async with gateway.client.kernel("data_sci_py") as channels:
        assert (await channels.execute("print(1)")).text == "1\n"
        source.change()
        assert await kernelspecs_of(gateway) == before
        # Its kernels go on, and can be restarted.
        await gateway.client.restart(channels.kernel_id)
        # Anew: a local kernel keeps its ports, and a connection that stays may miss its first output.
        async with gateway.client.channels(channels.kernel_id) as anew:
            assert (await anew.execute("print(2)")).text == "2\n"


async def test_readiness_names_the_part_that_is_not_ready(gateway, caplog):
    assert (await readiness_of(gateway))[0] == 200
    state = Check(ok=False, detail="the watch of pods is broken")
    gateway.app.health.add("pods", lambda: state)
    status, body = await readiness_of(gateway)
    assert status == 503
    assert body["checks"]["pods"] == {"ok": False, "detail": "the watch of pods is broken"}
    assert body["checks"]["kernelspecs"]["ok"]
    state = Check(ok=True)
    assert (await readiness_of(gateway))[0] == 200
    assert caplog.text.count("Not ready: pods: the watch of pods is broken") == 1
    assert caplog.text.count("Ready again: pods") == 1


async def test_readiness_waits_for_the_kernelspecs(gateway):
    source = ConfigMaps()
    gateway.app.kernel_spec_manager.follow(source)
    assert (await readiness_of(gateway))[0] == 503
    source.change(**{"broken.json": "{"})
    status, body = await readiness_of(gateway)
    assert status == 200
    assert "broken.json" in body["checks"]["kernelspecs"]["detail"]


async def test_metrics_count_starts_failures_and_running_kernels(add_provisioner):
    add_provisioner("failing", Failing)
    async with running_gateway() as gateway:
        for name in ("local", "local", "failing", "no-such-kernel"):
            with contextlib.suppress(Refused):
                await gateway.client.start(name)
        metrics = await gateway.probes.request("GET", "/metrics")
    lines = set(metrics.splitlines())
    assert {
        'gateway_provisioners_kernel_starts_total{kernel="local"} 2.0',
        'gateway_provisioners_kernel_starts_total{kernel="failing"} 1.0',
        'gateway_provisioners_kernel_start_failures_total{kernel="failing",reason="ImagePull"} 1.0',
        'gateway_provisioners_kernel_start_seconds_count{kernel="local"} 2.0',
        'gateway_provisioners_running_kernels{kernel="local"} 2.0',
    } <= lines
    assert "no-such-kernel" not in metrics


async def test_metrics_count_dropped_messages_and_clients_sent_away(monkeypatch):
    monkeypatch.setenv("GP_OUTPUT_MESSAGES_PER_SECOND", "1")
    monkeypatch.setattr(outbox, "STALLED_SECONDS", 0.1)
    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("local")
        async with gateway.client.channels(kernel_id) as channels:
            await channels.execute("for n in range(20): print(n, flush=True)")
        malformed = await connect(gateway, kernel_id)
        await malformed._websocket.send_str("garbage")
        slow = await connect(gateway, kernel_id, "slow")
        slow.stop_reading()
        await slow.ask("'x' * 20_000_000")

        async def counted():
            metrics = await gateway.probes.request("GET", "/metrics")
            return all(f'{{kernel="local",reason="{reason}"}} ' in metrics for reason in reasons)

        reasons = ("rate", "malformed", "slow")
        await eventually(counted)


async def test_idle_kernels_are_culled(monkeypatch):
    monkeypatch.setenv("GP_CULL_IDLE_TIMEOUT", "3600")
    monkeypatch.setenv("GP_CULL_INTERVAL", "1")
    async with running_gateway() as gateway:
        await gateway.client.start("local")
        async with gateway.client.kernel("local") as connected:
            # Not before the client is connected, however long that takes.
            gateway.app.kernel_manager.cull_idle_timeout = 1
            while len(await gateway.client.kernels()) > 1:  # noqa: ASYNC110 - what clients can do
                await asyncio.sleep(0.1)
            assert set(await gateway.client.kernels()) == {connected.kernel_id}


async def test_stopping_ends_local_kernels_and_disconnects_clients():
    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("local")
        process = gateway.app.kernel_manager.get_kernel(kernel_id).provisioner.process
        url = f"{gateway.url}/api/kernels/{kernel_id}/channels"
        async with gateway.client._session.ws_connect(url) as websocket:
            gateway.app.request_stop()
            message = await websocket.receive()
            while message.type is aiohttp.WSMsgType.TEXT:
                message = await websocket.receive()
            assert message.type is aiohttp.WSMsgType.CLOSE
            assert message.data == aiohttp.WSCloseCode.GOING_AWAY
    assert process.poll() is not None


async def test_stopping_leaves_kernels_that_outlive_the_gateway(add_provisioner):
    add_provisioner("lasting", Lasting)
    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("lasting")
        provisioner = gateway.app.kernel_manager.get_kernel(kernel_id).provisioner
        gateway.app.request_stop()
        await gateway.stopped
        assert provisioner.process.poll() is None
        await provisioner.kill()
        await provisioner.wait()


@pytest.mark.parametrize("ended", [True, False])
async def test_clients_of_a_released_kernel_learn_whether_it_ended(add_provisioner, ended):
    add_provisioner("lasting", Lasting)
    async with running_gateway() as gateway:
        kernel_id = await gateway.client.start("lasting")
        manager = gateway.app.kernel_manager
        provisioner = manager.get_kernel(kernel_id).provisioner
        url = f"{gateway.url}/api/kernels/{kernel_id}/channels"
        states = []
        try:
            async with gateway.client._session.ws_connect(url) as websocket:
                await manager.release(kernel_id, ended=ended)
                while (message := await websocket.receive()).type is aiohttp.WSMsgType.TEXT:
                    states.append(message.json()["content"].get("execution_state"))
        finally:
            await provisioner.kill()
            await provisioner.wait()
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert ("dead" in states) is ended
        assert (message.data == aiohttp.WSCloseCode.GOING_AWAY) is not ended
        assert kernel_id not in await gateway.client.kernels()


async def test_a_start_that_is_under_way_may_finish(add_provisioner):
    add_provisioner("slow", Slow)
    Slow.launching, Slow.go_on, Slow.abandoned = asyncio.Event(), asyncio.Event(), False
    async with running_gateway(drain_seconds=60) as gateway:
        starting = asyncio.create_task(gateway.client.start("slow"))
        await Slow.launching.wait()
        gateway.app.request_stop()
        Slow.go_on.set()
        await starting
    assert not Slow.abandoned


async def test_a_start_that_takes_too_long_is_abandoned(add_provisioner):
    add_provisioner("slow", Slow)
    Slow.launching, Slow.go_on, Slow.abandoned = asyncio.Event(), asyncio.Event(), False
    async with running_gateway(drain_seconds=0) as gateway:
        starting = asyncio.create_task(gateway.client.start("slow"))
        await Slow.launching.wait()
        gateway.app.request_stop()
        with pytest.raises(Refused) as refused:
            await starting
        assert (refused.value.status, refused.value.reason) == (503, "GatewayStopping")
    assert Slow.abandoned


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"KG_MAX_KERNELS": "many"}, "KG_MAX_KERNELS='many'"),
        ({"KG_PORT_RETRIES": "some"}, "KG_PORT_RETRIES='some'"),
        ({"GP_CULL_INTERVAL": "0"}, "GP_CULL_INTERVAL='0'"),
        ({"GP_CULL_CONNECTED": "maybe"}, "GP_CULL_CONNECTED='maybe'"),
        ({"GP_DRAIN_SECONDS": "-1"}, "GP_DRAIN_SECONDS='-1'"),
        ({"KG_LIST_KERNELS": "perhaps"}, "KG_LIST_KERNELS='perhaps'"),
        ({"GP_ENGINE": "podman"}, "GP_ENGINE='podman' is not supported"),
        ({"GP_LAUNCH_TIMEOUT": "soon"}, "GP_LAUNCH_TIMEOUT='soon'"),
        ({"KG_SEED_URI": "a.ipynb"}, "KG_SEED_URI is not supported"),
        ({"KG_ENV_PROCESS_WHITELIST": "PATH"}, "KG_ENV_PROCESS_WHITELIST is not supported"),
        ({"KG_API": "kernel_gateway.notebook_http"}, "KG_API"),
    ],
)
async def test_an_invalid_setting_stops_the_start(monkeypatch, environment, words):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises((ConfigurationError, TraitError), match=words):
        async with running_gateway():
            pass


async def test_empty_variables_count_as_unset(monkeypatch):
    for name in (
        *("KG_PORT", "KG_PORT_RETRIES", "KG_MAX_KERNELS", "KG_PRESPAWN_COUNT", "KG_API"),
        *("KG_WS_PING_INTERVAL_SECS", "GP_CULL_INTERVAL", "GP_CLIENT_ENVS", "GP_LOG_LEVEL"),
    ):
        monkeypatch.setenv(name, "")
    async with running_gateway() as gateway:
        await gateway.client.start("local")
