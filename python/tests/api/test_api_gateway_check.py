"""The program of `helm test`: its output for a gateway that works, and for each failure."""

import asyncio
import contextlib
import logging

import pytest
import pytest_asyncio
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from api.certificates import write_certificate
from api.provisioners import IMAGE_MISSING, Failing
from api.running import TOKEN, running_gateway
from gateway_provisioners.cli.chart.gateway_check import CheckFailed, GatewayClient, check
from gateway_provisioners.gateway.process.health import Check
from gateway_provisioners.handshake.payload import GatewayKey
from gateway_provisioners.handshake.response_server import ResponseServer
from timeouts import within_timeout


def environment(gateway, **changes):
    return {"JUPYTER_GATEWAY_URL": gateway.url, "JUPYTER_GATEWAY_AUTH_TOKEN": TOKEN, **changes}


async def test_each_step_that_works_is_printed(capsys):
    async with running_gateway() as gateway:
        await check(environment(gateway, KERNEL_USERNAME="alice", HOME="/"))
        assert await gateway.client.kernels() == {}
        assert capsys.readouterr().out.splitlines() == [
            f"ok       gateway: {gateway.url} accepts the token and lists local, python3",
            "ok       local: a pod runs it",
            "ok       local: 1 + 1 gives 2",
            "ok       local: its pod is removed",
        ]


@contextlib.asynccontextmanager
async def gateway_with_tls(folder, **options):
    """Run a gateway whose certificate does not name the address at which it is reached."""
    write_certificate(folder, "gateway.example.com")
    files = {"certfile": str(folder / "tls.crt"), "keyfile": str(folder / "tls.key")}
    async with running_gateway(**files, **options) as gateway:
        url = gateway.url.replace("http://127.0.0.1", "https://localhost")
        yield environment(gateway, JUPYTER_GATEWAY_URL=url)


async def test_the_gateways_own_certificate_is_enough(tmp_path, capsys):
    async with gateway_with_tls(tmp_path) as https:
        # In the file of a certificate that another authority issued, the chain follows.
        chain = tmp_path / "chain.crt"
        (tmp_path / "ca").mkdir()
        write_certificate(tmp_path / "ca", "ca.example.com")
        own, issuer = (tmp_path / "tls.crt").read_text(), (tmp_path / "ca/tls.crt").read_text()
        chain.write_text(f"a comment\n{own}{issuer}")
        await check({**https, "GATEWAY_CERTIFICATE": str(chain)})
    assert "1 + 1 gives 2" in capsys.readouterr().out


async def test_a_gateway_that_requires_a_certificate_gets_one(tmp_path, capsys):
    clients = tmp_path / "clients"
    clients.mkdir()
    write_certificate(clients, "helm-test")  # its own authority
    async with gateway_with_tls(tmp_path, client_ca=str(clients / "tls.crt")) as https:
        variables = {**https, "GATEWAY_CERTIFICATE": str(tmp_path / "tls.crt")}
        with pytest.raises(CheckFailed, match="cannot be reached"):
            await check(variables)
        await check({**variables, "CLIENT_CERTIFICATE": str(clients)})
    assert "1 + 1 gives 2" in capsys.readouterr().out


@pytest.mark.parametrize("text", [f"{TOKEN}\nother", f"\n{TOKEN} 2099-01-31\n", f" {TOKEN}\r\n"])
async def test_the_first_of_several_tokens_is_used(gateway, text):
    await check(environment(gateway, JUPYTER_GATEWAY_AUTH_TOKEN=text))


@pytest.mark.parametrize("trusted", ["nothing", "another", "the chain's other certificates"])
async def test_a_server_that_cannot_be_verified_gets_no_token(tmp_path, caplog, trusted):
    caplog.set_level(logging.DEBUG)
    other = tmp_path / "other"
    other.mkdir()
    write_certificate(other, "gateway.example.com")
    file = other / "tls.crt"
    async with gateway_with_tls(tmp_path) as https:
        if trusted == "the chain's other certificates":
            file.write_text(file.read_text() + (tmp_path / "tls.crt").read_text())
        variables = {} if trusted == "nothing" else {"GATEWAY_CERTIFICATE": str(file)}
        words = (
            f"^{https['JUPYTER_GATEWAY_URL']} does not get the token: its certificate cannot be "
        )
        with pytest.raises(CheckFailed, match=words):
            await check({**https, **variables})
    assert "GET /api/kernelspecs" not in caplog.text


@pytest_asyncio.fixture
async def response_server(gateway):
    """A gateway's port where kernels report, as its readiness shows it."""
    server = ResponseServer("127.0.0.1", 0, 0, GatewayKey.generate())
    await server.start()
    gateway.app.health.add("response server", lambda: Check(True, server.response_address))
    yield server
    await server.stop()


async def test_policies_that_are_not_enforced_are_a_warning(gateway, response_server, capsys):
    await check(environment(gateway, NETWORK_POLICIES="wanted"))
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("warning  network: NetworkPolicies are not enforced in this cluster: ")
    assert response_server.response_address in last


async def test_policies_that_are_required_must_be_enforced(gateway, response_server):
    with pytest.raises(CheckFailed, match=r"^NetworkPolicies are not enforced in this cluster: "):
        await check(environment(gateway, NETWORK_POLICIES="required"))
    assert await gateway.client.kernels() == {}


async def test_policies_that_are_enforced_are_reported(gateway, response_server, capsys):
    await response_server.stop()
    await check(environment(gateway, NETWORK_POLICIES="required"))
    last = capsys.readouterr().out.splitlines()[-1]
    address = response_server.response_address
    assert last == (
        f"ok       network: NetworkPolicies are enforced: only kernels can connect to {address}"
    )


async def test_a_kernel_that_does_not_start_fails_with_the_reason(add_provisioner):
    add_provisioner("failing", Failing)
    async with running_gateway(default_kernel_name="failing") as gateway:
        with pytest.raises(CheckFailed) as failure:
            await check(environment(gateway))
    assert str(failure.value) == f"POST /api/kernels: 500 {IMAGE_MISSING}"


async def test_a_kernel_that_does_not_answer_in_time_is_shut_down():
    async with running_gateway() as gateway:
        with pytest.raises(CheckFailed, match=r"^the kernel runs, but did not answer within 0 s$"):
            await check(environment(gateway), timeout=0)
        assert await gateway.client.kernels() == {}


async def test_a_websocket_that_opens_too_late_is_closed():
    requested, accepts = asyncio.Event(), asyncio.Event()
    received = asyncio.get_running_loop().create_future()

    async def accept_late(request):
        requested.set()
        await accepts.wait()
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        received.set_result(await websocket.receive())
        return websocket

    app = web.Application()
    app.router.add_get("/api/kernels/1/channels", accept_late)
    async with TestServer(app) as server:
        client = GatewayClient(str(server.make_url("")), TOKEN)
        opening = asyncio.create_task(client.channels("1"))
        await within_timeout(requested.wait())
        opening.cancel()
        await asyncio.wait([opening])
        accepts.set()
        assert (await within_timeout(received)).type is WSMsgType.CLOSE


async def test_a_wrong_token():
    async with running_gateway() as gateway:
        with pytest.raises(CheckFailed, match=r"^GET /api/kernelspecs: 40[13] "):
            await check(environment(gateway, JUPYTER_GATEWAY_AUTH_TOKEN="wrong"))


async def test_an_unreachable_gateway(unused_tcp_port):
    url = f"http://127.0.0.1:{unused_tcp_port}"
    variables = {"JUPYTER_GATEWAY_URL": url, "JUPYTER_GATEWAY_AUTH_TOKEN": TOKEN}
    with pytest.raises(CheckFailed, match=f"^{url} cannot be reached: "):
        await check(variables)


async def test_token_is_sent_in_the_header_that_the_gateway_reads(capsys):
    async with running_gateway(auth_header="X-Gateway-Token") as gateway:
        await check(environment(gateway, JUPYTER_GATEWAY_AUTH_HEADER_KEY="X-Gateway-Token"))
    assert "1 + 1 gives 2" in capsys.readouterr().out
