"""Kernels on a Docker engine are found again by the gateway that comes after the one that started them."""

import contextlib
import datetime as dt
import json
import signal
import stat

import aiohttp
import pytest
from gateway_host import TOKEN, GatewayHost
from kernel_host import EVERY_ENGINE

from ci.gateway_client import Gateway, Refused
from timeouts import eventually, within_timeout

# As many as there are calls that change something; see crash_at.py.
STEPS = {
    "docker-provisioner": {"start": 4, "restart": 7, "shutdown": 2},
    "docker-swarm-provisioner": {"start": 3, "restart": 7, "shutdown": 3},
}
BUSY_LOOP = "print('begun', flush=True)\nwhile True: pass"


@pytest.fixture(params=EVERY_ENGINE)
def host(request, hosts):
    return hosts(*EVERY_ENGINE[request.param])


@pytest.fixture
def gateway(host, tmp_path, unused_tcp_port_factory):
    port, health_port = unused_tcp_port_factory(), unused_tcp_port_factory()
    return GatewayHost(host, tmp_path / "gateway", port, health_port)


def steps():
    for provisioner, operations in STEPS.items():
        for operation, count in operations.items():
            moments = [(1, "before"), *((number, "after") for number in range(1, count + 1))]
            yield from ((provisioner, operation, *moment) for moment in moments)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
async def test_a_kernel_goes_on_without_its_gateway(host, gateway, signum):
    async with gateway.running() as client:
        kernel_id = await client.start("test", GREETING="hello")
        async with client.channels(kernel_id) as kernel:
            assert (await kernel.execute("x = 41")).status == "ok"
        before = (await client.kernels())[kernel_id]
        await gateway.end(signum)
    assert len(host.containers()) == 1
    [record] = gateway.state.glob("*.json")
    assert stat.S_IMODE(gateway.state.stat().st_mode) == 0o700
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    async with gateway.running() as client:
        after = (await client.kernels())[kernel_id]
        assert after["name"] == before["name"]
        async with client.channels(kernel_id) as kernel:
            assert (await kernel.execute("print(x + 1)")).text == "42\n"
            result = await kernel.execute(BUSY_LOOP, on_busy=lambda: client.interrupt(kernel_id))
            assert result.error == "KeyboardInterrupt"
            assert (await kernel.execute("print(x)")).text == "41\n"
        await client.restart(kernel_id)
        async with client.channels(kernel_id) as kernel:
            code = "import os; print(globals().get('x'), os.environ['GREETING'])"
            assert (await kernel.execute(code)).text == "None hello\n"
        [record] = gateway.state.glob("*.json")
        await client.delete(kernel_id)
        assert await client.kernels() == {}
        assert list(gateway.state.glob("*.json")) == []
        host.wait_gone()
    assert TOKEN not in gateway.log.read_text()
    assert "Traceback" not in gateway.log.read_text()


async def test_the_next_gateway_knows_start_and_last_use_of_a_kernel(host, gateway):
    def stored():
        [path] = gateway.state.glob("*.json")
        return json.loads(path.read_text())

    async with gateway.running() as client:
        kernel_id = await client.start("test")
        started = stored()["started"]
        assert started
        await client.restart(kernel_id)
        async with client.channels(kernel_id) as kernel:
            await kernel.execute("x = 1")
        await gateway.end(signal.SIGTERM)
    before = stored()
    assert before["started"] == started
    async with gateway.running() as client:
        reported = (await client.kernels())[kernel_id]["last_activity"]
        assert dt.datetime.fromisoformat(
            reported.replace("Z", "+00:00")
        ) == dt.datetime.fromisoformat(before["last_activity"])
        await client.delete(kernel_id)
        host.wait_gone()


async def test_a_kernel_that_died_meanwhile_is_started_anew(host, gateway):
    async with gateway.running() as client:
        kernel_id = await client.start("test")
        await gateway.end(signal.SIGTERM)
    [container] = host.containers()
    host.engine.cli("kill", container["Id"])
    async with gateway.running() as client:
        assert await alive(client, kernel_id) == "None"
        await client.delete(kernel_id)
        host.wait_gone()


async def test_gone_kernels_are_forgotten_and_orphans_removed(host, gateway):
    async with gateway.running() as client:
        gone, orphan = [await client.start("test") for _ in range(2)]
        await gateway.end(signal.SIGTERM)
    records = gateway.state.glob("*.json")
    names = {json.loads(path.read_text())["record"]["kernel_id"]: path for path in records}
    remove = ("service", "rm") if host.is_swarm else ("rm", "--force")
    host.engine.cli(*remove, names[gone].stem)
    names[orphan].write_text("{")
    async with gateway.running() as client:
        assert await client.kernels() == {}
        host.wait_gone()
    assert list(gateway.state.glob("*.json")) == [names[orphan]]


async def test_without_a_state_folder_kernels_end_with_their_gateway(host, gateway):
    async with gateway.running(GP_STATE_DIR="") as client:
        await client.start("test")
        await gateway.end(signal.SIGTERM)
    host.wait_gone()


async def test_a_second_gateway_is_refused(gateway):
    async with gateway.running():
        second = await gateway.spawn(KG_PORT="0")
        assert await second.wait() != 0
    assert "another gateway uses the folder" in gateway.log.read_text()


async def alive(client, kernel_id):
    """Wait until a kernel answers; return the value of x."""

    async def answers():
        with contextlib.suppress(Refused, aiohttp.ClientError, ConnectionError):
            async with client.channels(kernel_id) as kernel:
                return (await kernel.execute("print(globals().get('x'))")).text.strip()

    return await eventually(answers)


@pytest.mark.parametrize(
    ("host", "operation", "number", "moment"), list(steps()), indirect=["host"]
)
async def test_a_gateway_that_is_killed_at_a_step_leaves_nothing_half_done(
    host, gateway, operation, number, moment
):
    kernel_id = None
    with contextlib.suppress(aiohttp.ClientError, ConnectionError):
        async with gateway.running() as client:
            gateway.crash_at.write_text(f"{operation} {number} {moment}")
            kernel_id = await client.start("test")
            async with client.channels(kernel_id) as kernel:
                await kernel.execute("x = 1")
            await (client.restart if operation == "restart" else client.delete)(kernel_id)
            # The last steps come after the answer.
            await within_timeout(gateway.process.wait())
    assert not gateway.crash_at.exists()
    last = number == STEPS[host.provisioner][operation]
    async with gateway.running() as client:
        kernels = await client.kernels()
        if operation == "start":
            # After the last step it is a kernel like any other; only its client has not been notified.
            assert bool(kernels) == last
            kernel_id = next(iter(kernels), None)
        elif operation == "restart" or moment == "before":
            # Until something was done to the kernel, it has its variables, unless it was asked to end.
            value = await alive(client, kernel_id)
            if operation == "shutdown" and number == 1:
                assert value in (
                    "1",
                    "None",
                )  # the request to end may die with the gateway that sent it
            else:
                assert value == ("1" if operation == "restart" and number == 1 else "None")
        else:
            assert kernels == {}
            kernel_id = None
        if kernel_id:
            await client.delete(kernel_id)
        host.wait_gone()
        assert list(gateway.state.glob("*.json")) == []


async def test_the_next_gateway_knows_whose_a_kernel_is(host, gateway, tmp_path):
    people = tmp_path / "people"
    people.mkdir()
    tokens = {name: f"the-token-of-{name}-on-docker" for name in ("alice", "bob", "carol")}
    for name, token in tokens.items():
        (people / name).write_text(token)
    methods = json.dumps({"people": {"type": "token", "tokensFolder": str(people)}})

    def user(name, client):
        return Gateway(client.url, tokens[name])

    async with gateway.running(GP_AUTH_METHODS=methods) as client, user("alice", client) as alice:
        kernel_id = await alice.start("test")
        body = {"share": {"users": {"bob": "read"}}}
        await alice.request("PATCH", f"/api/kernels/{kernel_id}", body)
        await gateway.end(signal.SIGKILL)
    for restarts in (True, False):  # the record of a restart is a new one
        async with gateway.running(GP_AUTH_METHODS=methods) as client:
            async with user("bob", client) as bob, user("carol", client) as carol:
                assert (await bob.kernels())[kernel_id]["owner"] == "alice"
                assert await carol.kernels() == {}
            async with user("alice", client) as alice:
                shown = await alice.request("GET", f"/api/kernels/{kernel_id}")
                assert shown["share"] == {"users": {"bob": "read"}, "groups": {}}
                if restarts:
                    await alice.restart(kernel_id)
                    await gateway.end(signal.SIGKILL)
                else:
                    await alice.delete(kernel_id)
                    host.wait_gone()


async def test_quotas_count_what_the_gateway_before_started(host, gateway):
    quotas = json.dumps({"eachUser": {"cpus": 1, "memory": "1Gi"}})
    asked = {"KERNEL_CPUS_LIMIT": "600m", "KERNEL_MEMORY_LIMIT": "512Mi"}
    async with gateway.running(GP_QUOTAS=quotas) as client:
        kernel_id = await client.start("test", **asked)
        with pytest.raises(Refused, match="neither a limit nor a request for CPUs"):
            await client.start("test")
        await gateway.end(signal.SIGKILL)
    async with gateway.running(GP_QUOTAS=quotas) as client:
        with pytest.raises(Refused, match=r"1 kernel uses 0\.6 CPUs, and this") as refused:
            await client.start("test", **asked)
        assert (refused.value.status, refused.value.reason) == (403, "TooManyResources")
        small = {**asked, "KERNEL_CPUS_LIMIT": "100m", "KERNEL_MEMORY_LIMIT": "768Mi"}
        with pytest.raises(Refused, match="1 kernel uses 512Mi of memory"):
            await client.start("test", **small)
        others = await client.start("test", **asked, KERNEL_USERNAME="bob")
        await client.restart(kernel_id)
        await client.delete(kernel_id)
        again = await client.start("test", **asked)
        for each in (others, again):
            await client.delete(each)
        host.wait_gone()
