"""Answers of hostile and broken gateways, in words; text that is shown; server-sent events."""

import contextlib
import json
import socket

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from gateway_provisioners_client.errors import GatewayRefused, GatewayUnreachable
from gateway_provisioners_client.gateway import connections
from gateway_provisioners_client.gateway.api import GatewayApi
from gateway_provisioners_client.gateway.config import GatewayConfig
from gateway_provisioners_client.gateway.progress import EventParser, ProgressStep, TooLong
from gateway_provisioners_client.gateway.words import clean, in_one_line

TOKEN = "a-token-that-must-not-be-shown"
EVENT = b'data: {"phase": "pulling", "message": "Pulling acme/a:1.", "seconds": 4.5}\n\n'


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN", TOKEN)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@contextlib.asynccontextmanager
async def api_of(handler, **options):
    """Give the API of a server that answers everything with this handler."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as server:
        config = GatewayConfig(str(server.make_url("")).rstrip("/"), **options)
        async with GatewayApi(config) as api:
            yield api


def answering(**fields):
    async def handler(request):
        return web.Response(**fields)

    return handler


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": 401}, "does not accept the token in the variable JUPYTER_GATEWAY_AUTH_TOKEN"),
        ({"status": 404}, "answered 404 Not Found to GET /api/kernelspecs"),
        ({"status": 502, "text": "<html>Bad Gateway</html>"}, "answered 502 Bad Gateway to GET"),
        ({"status": 403, "text": '{"message": "Not yours.", "reason": "Forbidden"}'}, "Not yours."),
        ({"status": 500, "text": '{"message": null}'}, "answered 500 Internal Server Error"),
        ({"status": 500, "text": "[" * 100_000}, "answered 500 Internal Server Error"),
        ({"text": "<html>Log in</html>"}, "answers, but not as a Jupyter gateway does"),
        ({"text": '{"kernelspecs": 5}'}, "answers, but not as a Jupyter gateway does"),
        ({"text": "[" * 100_000}, "answers, but not as a Jupyter gateway does"),
    ],
)
async def test_refusals_in_words(fields, words):
    async with api_of(answering(**fields)) as api:
        with pytest.raises(GatewayRefused) as caught:
            await api.kernelspecs()
    assert words in str(caught.value)
    assert TOKEN not in str(caught.value)


async def test_without_a_token_the_words_say_where_one_belongs(monkeypatch):
    monkeypatch.delenv("JUPYTER_GATEWAY_AUTH_TOKEN")
    async with api_of(answering(status=401)) as api:
        with pytest.raises(GatewayRefused, match=r"wants a token\. Set JUPYTER_GATEWAY_AUTH_TOKEN"):
            await api.kernelspecs()


@pytest.mark.attack(21)
async def test_the_token_does_not_follow_a_redirect():
    seen = []

    async def redirect(request):
        seen.append(request.path)
        raise web.HTTPFound(f"http://{request.host}/elsewhere?token=\x1b")

    async with api_of(redirect) as api:
        with pytest.raises(
            GatewayRefused, match=r"redirects to .*/elsewhere, which is not followed"
        ):
            await api.kernelspecs()
    assert seen == ["/api/kernelspecs"]


@pytest.mark.attack(21)
async def test_a_password_of_netrc_does_not_replace_the_token(monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("default login alice password another-secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    seen = []

    async def look(request):
        seen.append(request.headers["Authorization"])
        return web.json_response([])

    async with api_of(look) as api:
        assert await api.kernels() == []
    assert seen == [f"token {TOKEN}"]


async def test_a_refused_request_is_sent_again_with_another_token_only(tmp_path):
    (tmp_path / "token").write_text("first")
    seen = []

    async def look(request):
        seen.append(request.headers["Authorization"])
        if len(seen) == 1:
            (tmp_path / "token").write_text("second")
        return web.Response(status=401 if len(seen) != 2 else 200, text="[]")

    async with api_of(look, token_file=str(tmp_path / "token")) as api:
        assert await api.kernels() == []
        with pytest.raises(GatewayRefused):
            await api.kernels()
    assert seen == ["token first", "token second", "token second"]


@pytest.mark.attack(22)
async def test_an_endless_answer_is_cut_off():
    async def endless(request):
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b"[" * 65536)
        return response

    async with api_of(endless) as api:
        with pytest.raises(GatewayRefused, match="more than 16777216 bytes"):
            await api.kernels()
        with pytest.raises(GatewayRefused, match="more than 1048576 bytes"):
            await api.logo("/logo-64x64.png")


@pytest.mark.attack(22)
async def test_an_error_of_a_gateway_cannot_write_to_the_terminal():
    message = "\x1b]0;owned\x07\x1b[2JThe image\u202e was not found." + "x" * 20_000
    text = json.dumps({"message": message, "reason": "Image\nPullFailed\x1b[0m"})
    async with api_of(answering(status=500, text=text)) as api:
        with pytest.raises(GatewayRefused) as caught:
            await api.start("custom", "1", {})
    assert str(caught.value).startswith("The image was not found.xxx")
    assert len(str(caught.value)) <= 10_000
    assert caught.value.reason == "Image PullFailed"


@pytest.mark.attack(22)
@pytest.mark.parametrize("kernel_id", [None, 5, "", "../x", "a/b", "x" * 129, "a\nb"])
async def test_ids_of_kernels_that_a_gateway_makes_up(kernel_id):
    async with api_of(answering(text=json.dumps({"id": kernel_id}), status=201)) as api:
        with pytest.raises(GatewayRefused, match="not as a Jupyter gateway does"):
            await api.start("custom", "1", {})


@pytest.mark.attack(22)
@pytest.mark.parametrize("kernel_id", ["../sessions", "..", ".", "a?b", "a%2e", ""])
async def test_an_id_cannot_lead_to_another_path(kernel_id):
    seen = []

    async def look(request):
        seen.append(request.raw_path)

    async with api_of(look) as api:
        assert await api.kernel(kernel_id) is None
        await api.delete(kernel_id)
        with pytest.raises(GatewayRefused):
            await api.websocket(kernel_id, "s")
    assert seen == []


async def test_nothing_answers():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        async with GatewayApi(GatewayConfig(url)) as api:
            with pytest.raises(
                GatewayUnreachable, match=r"Nothing answers at 127\.0\.0\.1:.*refused"
            ):
                await api.kernelspecs()
            with pytest.raises(
                GatewayUnreachable, match=r"Nothing answers at 127\.0\.0\.1:.*refused"
            ):
                await api.websocket("1", "s")


async def test_a_name_that_is_not_known():
    async with GatewayApi(GatewayConfig("http://no-such-host.invalid")) as api:
        with pytest.raises(
            GatewayUnreachable, match=r"The name no-such-host\.invalid is not known"
        ):
            await api.kernelspecs()


async def test_https_where_http_is_spoken():
    async with api_of(answering(text="[]")) as api:
        url = api.config.url.replace("http:", "https:")
        async with GatewayApi(GatewayConfig(url)) as wrong:
            with pytest.raises(GatewayUnreachable, match="does not speak TLS"):
                await wrong.kernels()


async def test_no_answer_in_time():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with GatewayApi(GatewayConfig(url, request_timeout=0.2)) as api:
            with pytest.raises(GatewayUnreachable, match="did not answer in time"):
                await api.kernels()
            with pytest.raises(GatewayUnreachable, match="did not answer in time"):
                await api.websocket("1", "s")


async def test_a_server_that_does_not_know_the_subprotocol():
    async def handler(request):
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        await websocket.receive()
        return websocket

    async with api_of(handler) as api:
        with pytest.raises(GatewayRefused, match=r"does not speak v1\.kernel\.websocket") as caught:
            await api.websocket("1", "s")
    assert caught.value.reason == "NoSubprotocol"


async def test_the_features_that_a_gateway_offers():
    seen = []

    async def handler(request):
        seen.append(request)
        websocket = web.WebSocketResponse(protocols=["v1.kernel.websocket.jupyter.org"])
        websocket.headers["X-Gateway-Features"] = "confirm, other"
        await websocket.prepare(request)
        await websocket.receive()
        return websocket

    async with api_of(handler) as api:
        websocket = await api.websocket("1", "a b&c")
        assert websocket.features == {"confirm", "other"}
        await websocket.close()
        await (await api.websocket("1", "s", confirm=False)).close()
    assert dict(seen[0].query) == {"session_id": "a b&c", "features": "confirm"}
    assert dict(seen[1].query) == {"session_id": "s"}
    assert seen[0].headers["X-Gateway-Client"].startswith("gateway-provisioners-client/")
    assert seen[0].headers["Authorization"] == f"token {TOKEN}"


@pytest.mark.parametrize("status", [401, 403, 404, 500])
async def test_a_websocket_that_is_refused(status):
    async with api_of(answering(status=status)) as api:
        with pytest.raises(GatewayRefused) as caught:
            await api.websocket("1", "s")
    assert caught.value.status == status


async def test_progress_ends_silently_where_there_is_none():
    for fields in ({"status": 404}, {"text": "{}"}, {"status": 429}, {"status": 500}):
        async with api_of(answering(**fields)) as api:
            assert [step async for step in api.progress("1")] == []


async def test_progress_begins_when_the_start_is_known():
    count = 0

    async def handler(request):
        nonlocal count
        count += 1
        ready = b'data: {"phase": "ready", "message": "The kernel is up.", "ready": true}\n\n'
        if count < 3:
            return web.Response(status=404)
        return web.Response(body=EVENT + ready + EVENT, content_type="text/event-stream")

    async with api_of(handler) as api:
        steps = [step async for step in api.progress("1")]
    assert steps == [
        ProgressStep("pulling", "Pulling acme/a:1.", 4.5),
        ProgressStep("ready", "The kernel is up.", ready=True),
    ]


def test_events_arrive_in_pieces():
    parser = EventParser()
    data = EVENT.replace(b"\n", b"\r\n")
    steps = [step for byte in data for step in parser.feed(bytes([byte]))]
    assert steps == [ProgressStep("pulling", "Pulling acme/a:1.", 4.5)]


@pytest.mark.attack(22)
@pytest.mark.parametrize(
    "event",
    [
        b"",
        b": a comment",
        b"data: {",
        b"data: []",
        b"data: " + b"[" * 50_000,
        b"data: x" * 20_000,
        b"\xff",
    ],
)
def test_events_that_no_gateway_sends(event):
    parser = EventParser()
    assert parser.feed(event + b"\n\n") == []
    assert len(parser.feed(EVENT)) == 1


@pytest.mark.attack(22)
def test_fields_of_events_that_no_gateway_sends():
    fields = {"phase": 5, "message": "a\x1b[2Jb", "seconds": "x", "ready": "yes", "reason": None}
    [step] = EventParser().feed(f"data: {json.dumps(fields)}\n\n".encode())
    assert step == ProgressStep("", "ab")
    for seconds in (-1, 1e300, True, [], "NaN"):
        event = f'data: {{"seconds": {json.dumps(seconds)}}}\n\n'.encode()
        assert EventParser().feed(event)[0].seconds in {None, 1.0}


@pytest.mark.attack(22)
def test_an_event_without_an_end():
    parser = EventParser()
    assert parser.feed(b"data: " + b"x" * 60_000) == []
    with pytest.raises(TooLong):
        parser.feed(b"x" * 10_000)


@pytest.mark.attack(22)
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, ""),
        (5, ""),
        ("plain\ttext\nnext", "plain\ttext\nnext"),
        ("a\x1b[31mb\x1b[0mc", "abc"),
        ("a\x1b]8;;http://evil\x1b\\link\x1b]8;;\x07b", "alinkb"),
        ("a\x1b(0b\x1bcd", "a0bd"),
        ("a\x9b31mb\x00\x08c", "a31mbc"),
        ("\u202eevil\u2066\u200b", "evil"),
        ("\ud800x", "x"),
        ("\x1b\x1b[[31mm", "[[31mm"),
        ("\u4e2d\u6587 \U0001f600", "\u4e2d\u6587 \U0001f600"),
    ],
)
def test_text_is_shown_without_what_terminals_obey(text, shown):
    assert clean(text) == shown
    assert "\x1b" not in clean(text)


def test_long_text_is_cut():
    assert clean("x" * 100, 10) == "xxxxxxx..."
    assert in_one_line("a\n b\t c", 10) == "a b c"


@pytest.mark.parametrize(
    ("environment", "url", "options"),
    [
        ({}, "http://gateway.example.com", {}),
        (
            {"HTTP_PROXY": "http://proxy:3128"},
            "http://gateway.example.com",
            {"proxy": "http://proxy:3128"},
        ),
        (
            {"HTTPS_PROXY": "proxy:3128"},
            "https://gateway.example.com",
            {"proxy": "http://proxy:3128"},
        ),
        ({"HTTP_PROXY": "http://proxy:3128"}, "https://gateway.example.com", {}),
        (
            {"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": ".example.com"},
            "http://gateway.example.com:8888",
            {},
        ),
        (
            {"HTTP_PROXY": "http://al%20ice:pw@proxy:3128"},
            "http://gateway.example.com",
            {
                "proxy": "http://proxy:3128",
                "proxy_headers": {"Proxy-Authorization": "Basic YWwgaWNlOnB3"},
            },
        ),
    ],
)
def test_the_proxy_of_the_environment(monkeypatch, environment, url, options):
    for name, value in environment.items():
        monkeypatch.setenv(name.lower(), value)
    assert connections.proxy_options(GatewayConfig(url)) == options
