"""TLS of the gateway, and certificates that are renewed while it runs."""

import asyncio
import contextlib
import ssl

import aiohttp
import pytest

from api.certificates import write_certificate
from api.running import TOKEN, running_gateway
from ci.gateway_client import Gateway
from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.http import crowd
from gateway_provisioners.gateway.websocket.connection import GatewayWebsocketConnection
from timeouts import within_timeout


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "tls"
    folder.mkdir()
    write_certificate(folder, "gateway.example.com")
    return folder


def serving(files, **traits):
    return running_gateway(
        certfile=str(files / "tls.crt"), keyfile=str(files / "tls.key"), **traits
    )


def trusting(files):
    """Return a client's context that trusts the current certificate."""
    return ssl.create_default_context(cafile=files / "tls.crt")


async def health(running, context):
    """Request /healthz on a new connection; return the status."""
    url = running.url.replace("http:", "https:")
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/healthz", ssl=context) as response,
    ):
        return response.status


async def test_only_tls_is_served(files):
    async with serving(files) as running:
        assert await health(running, trusting(files)) == 200
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"{running.url}/healthz")


async def test_tls_below_1_2_is_refused(files):
    async with serving(files) as running:
        old = trusting(files)
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(aiohttp.ClientError):
            await health(running, old)


async def test_a_kernel_is_used_over_tls(files):
    async with serving(files) as running:
        url = running.url.replace("http:", "https:")
        async with (
            Gateway(url, TOKEN, ssl=trusting(files)) as client,
            client.kernel("local") as channels,
        ):
            assert (await channels.execute("print(6 * 7)")).text == "42\n"


async def test_silent_connections_make_room_before_their_handshake(files):
    async with serving(files) as running, contextlib.AsyncExitStack() as stack:
        for _ in range(crowd.MAX_CONNECTIONS + 100):
            _, writer = await asyncio.open_connection("127.0.0.1", running.app.port)
            stack.callback(writer.close)
        assert await health(running, trusting(files)) == 200


@pytest.mark.parametrize(("token", "expected"), [("", 401), (TOKEN, 413)])
async def test_refusal_of_a_large_body_arrives_over_tls(files, token, expected):
    async with serving(files) as running:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", running.app.port, ssl=trusting(files)
        )
        head = f"POST /api/kernels HTTP/1.1\r\nHost: x\r\nAuthorization: token {token}\r\n"
        writer.write(f"{head}Content-Length: 20000000\r\n\r\n".encode())
        answer = await within_timeout(reader.readuntil(b"}"))
        assert int(answer.split()[1]) == expected
        writer.close()
        await within_timeout(reader.read())


async def test_a_renewed_certificate_is_shown_to_the_next_client(files):
    async with serving(files) as running:
        before = trusting(files)
        assert await health(running, before) == 200
        write_certificate(files, "gateway.example.com")
        assert await health(running, trusting(files)) == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await health(running, before)


async def test_a_failed_renewal_keeps_the_previous_certificate(files, caplog):
    async with serving(files) as running:
        context = trusting(files)
        (files / "tls.crt").write_text("no certificate")
        assert await health(running, context) == 200
        assert (
            f"{files / 'tls.crt'} cannot be used; keeping the previous certificate" in caplog.text
        )
        assert await health(running, context) == 200
        write_certificate(files, "gateway.example.com")
        assert await health(running, trusting(files)) == 200


async def test_client_certificates_can_be_required(files, tmp_path):
    clients = tmp_path / "clients"
    clients.mkdir()
    write_certificate(clients, "client.example.com")
    async with serving(files, client_ca=str(clients / "tls.crt")) as running:
        known = trusting(files)
        known.load_cert_chain(clients / "tls.crt", clients / "tls.key")
        assert await health(running, known) == 200
        with pytest.raises(aiohttp.ClientError):
            await health(running, trusting(files))


@pytest.mark.parametrize("broken", ["tls.crt", "tls.key"])
async def test_unusable_files_are_named_at_the_start(files, broken):
    (files / broken).write_text("hunter2")
    with pytest.raises(
        ConfigurationError, match=r"tls\.crt, .*tls\.key\) cannot be used"
    ) as refused:
        async with serving(files):
            pass
    assert "hunter2" not in str(refused.value)


async def test_the_certificate_of_an_open_websocket_is_known(files, tmp_path):
    """The credential is checked again, and the request's connection does not have it any longer."""
    (tmp_path / "client").mkdir()
    write_certificate(tmp_path / "client", "proxy.example.com")
    context = trusting(files)
    context.load_cert_chain(tmp_path / "client/tls.crt", tmp_path / "client/tls.key")
    async with serving(files, client_ca=str(tmp_path / "client/tls.crt")) as running:
        url = running.url.replace("http:", "https:")
        async with (
            Gateway(url, TOKEN, ssl=context) as client,
            client.kernel("local") as channels,
        ):
            kernel = running.app.kernel_manager.get_kernel(channels.kernel_id)
            (connection,) = GatewayWebsocketConnection.of_kernel(kernel)
            credential = connection.websocket_handler._credential
            assert "proxy.example.com" in credential.certificate_names
