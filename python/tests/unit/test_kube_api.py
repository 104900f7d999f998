"""The client library's errors as ClusterError, watches, and what a request goes through."""

import asyncio
import json
import socket
import ssl
from contextlib import asynccontextmanager

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio import client
from kubernetes.aio.config import incluster_config

from api.certificates import write_certificate
from gateway_provisioners.errors import ClusterError, ConfigurationError
from gateway_provisioners.kube import connection, credentials, exec_plugin
from gateway_provisioners.kube.api import KubeApi
from gateway_provisioners.kube.connection import Connection
from gateway_provisioners.kube.credentials import Access, load_access
from gateway_provisioners.model.pod.api_refusal import creation_failure
from gateway_provisioners.provisioners.kubernetes_services import KubernetesServices

NO_PODS = {"items": [], "metadata": {"resourceVersion": "1"}}


@pytest.fixture
async def api():
    configuration = client.Configuration(host="http://127.0.0.1:1")
    api = KubeApi(Connection(Access(configuration), load_access))
    yield api
    await api.close()


async def test_a_pod_that_the_library_refuses_is_reported_as_invalid(api):
    container = {"name": "kernel", "ports": "s3cret", "stdin": "s3cret"}
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [container]}}
    with pytest.raises(ClusterError) as refusal:
        await api.create_pod("kernels", pod)
    error = refusal.value
    assert str(error) == (
        "spec.containers.0.ports: Input should be a valid list; "
        "spec.containers.0.stdin: Input should be a valid boolean"
    )
    failure = creation_failure(status=error.status, api_reason=error.api_reason, message=str(error))
    assert failure.reason == "InvalidPod"


async def test_a_server_that_does_not_exist(api):
    with pytest.raises(ClusterError) as refusal:
        await api.create_pod("kernels", {"spec": {"containers": []}})
    assert refusal.value.status == 0


@pytest.mark.parametrize(
    ("server", "hosts"),
    [
        ("https://10.96.0.1:443", ["10.96.0.1"]),
        ("https://[fd00::1]", ["fd00::1"]),
        ("https://abc.eks.example.com/path", ["abc.eks.example.com"]),
        # A tunnel or a cluster in containers of this machine: its pods are elsewhere.
        ("https://127.0.0.1:6443", []),
        ("https://localhost:6443", []),
    ],
)
async def test_kernels_report_on_the_way_to_the_api_server(server, hosts):
    access = Access(client.Configuration(host=server))
    api = KubeApi(Connection(access, load_access))
    services = KubernetesServices()
    services._api = api
    try:
        assert await services.hosts_near_kernels() == hosts
    finally:
        await api.close()


class Clock:
    """A clock that the test sets; far from the time of the process's start."""

    now = 10_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


class FakeApi:
    """An API server with HTTPS that takes some tokens only, and remembers those that it was shown."""

    def __init__(self, folder):
        self.folder = folder
        self.tokens = {"first"}
        self.shown = []

    async def answer(self, request):
        token = request.headers.get("Authorization", "").partition(" ")[2]
        self.shown.append(token)
        if token not in self.tokens:
            return web.json_response({"reason": "Unauthorized", "message": "who?"}, status=401)
        if "watch" not in request.query:
            return web.json_response(NO_PODS)
        return await self.watch(request)

    async def watch(self, request):
        return web.Response(text=json.dumps({"type": "ADDED", "object": {"token": self.shown[-1]}}))

    @property
    def cluster(self):
        server = f"https://127.0.0.1:{self.port}"
        return {"server": server, "certificate-authority": str(self.folder / "tls.crt")}


@asynccontextmanager
async def running(fake):
    write_certificate(fake.folder, "kubernetes.default.svc")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(fake.folder / "tls.crt", fake.folder / "tls.key")
    app = web.Application()
    app.router.add_get("/{path:.*}", fake.answer)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=tls)
    fake.port = server.port
    try:
        yield fake
    finally:
        await server.close()


@pytest.fixture
async def fake(tmp_path):
    async with running(FakeApi(tmp_path)) as fake:
        yield fake


def write_kubeconfig(file, cluster, user, context="here"):
    content = {
        "current-context": context,
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": context, "user": user}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
    }
    file.write_text(yaml.safe_dump(content))


@pytest.fixture
def connect(tmp_path, monkeypatch, clock):
    """Connect by a kubeconfig with this user."""
    opened = []
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))

    async def connect(fake, user):
        write_kubeconfig(tmp_path / "kubeconfig", fake.cluster, user)
        opened.append(await KubeApi.connect(clock))
        return opened[-1].collection("Pod", "kernels")

    yield connect
    for api in opened:
        asyncio.get_event_loop().run_until_complete(api.close())


# Watches


async def test_a_watch_that_is_silent_is_not_a_failure(fake, connect, monkeypatch):
    """The API server sends no bookmark before the resource version grows."""
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 3)
    monkeypatch.setattr(connection, "WATCH_SECONDS", 30)
    seen = asyncio.Event()

    async def silent(request):
        assert request.query["timeoutSeconds"] == "30"
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(connection.REQUEST_SECONDS + 0.5)
        seen.set()
        return response

    fake.watch = silent
    pods = await connect(fake, {"token": "first"})
    assert [change async for change in pods.changes("1")] == []
    assert seen.is_set()


async def test_a_watch_that_the_server_does_not_end_is_broken(fake, connect, monkeypatch):
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(connection, "WATCH_SECONDS", 0)

    async def endless(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()

    fake.watch = endless
    pods = await connect(fake, {"token": "first"})
    with pytest.raises(ClusterError, match="no answer in time"):
        await anext(pods.changes("1"))


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ({"type": "ERROR", "object": {"code": 410, "message": "too old"}}, 410, "too old"),
        ("<html>Blocked</html>", 0, "not JSON"),
        (["a"], 0, "not a watch"),
    ],
)
async def test_lines_of_a_watch_that_are_errors(fake, connect, line, status, words):
    async def watch(request):
        return web.Response(text=line if isinstance(line, str) else json.dumps(line))

    fake.watch = watch
    pods = await connect(fake, {"token": "first"})
    with pytest.raises(ClusterError, match=words) as error:
        await anext(pods.changes("1"))
    assert error.value.status == status


async def test_connections_are_probed_by_tcp():
    new = connection._new_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1)))
    with new:
        assert new.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        option = {
            name: getattr(socket, name) for name in dir(socket) if name.startswith("TCP_KEEP")
        }
        idle, interval, count = (
            new.getsockopt(socket.IPPROTO_TCP, option[f"TCP_KEEP{name}"])
            for name in ("IDLE", "INTVL", "CNT")
        )
        assert idle + interval * count == 90


# Credentials


async def test_renewed_token_of_the_service_account_is_used(fake, tmp_path, monkeypatch, clock):
    """The kubelet renews it before its hour is over, in the file that the chart mounts."""
    token = tmp_path / "token"
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(fake.port))
    # A proxy is never asked for the API of the own cluster.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "10.96.0.0/12")
    monkeypatch.setattr(connection, "_PAUSE_SECONDS", 0)
    assert incluster_config.SERVICE_TOKEN_FILENAME.startswith(
        "/var/run/secrets/kubernetes.io/serviceaccount/"
    )
    for module in (incluster_config, credentials):
        monkeypatch.setattr(module, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "tls.crt"))
    token.write_text("first")
    api = await KubeApi.connect(clock)
    pods = api.collection("Pod", "kernels", label_selector="a=b")
    await pods.list()
    token.write_text("second")
    fake.tokens = {"first", "second"}
    clock.now += credentials.FILE_SECONDS
    await pods.list()
    token.unlink()
    clock.now += credentials.FILE_SECONDS
    await pods.list()
    await api.close()
    assert fake.shown == ["first", "second", "second"]


PLUGIN = """#!/bin/sh
echo run >> {folder}/runs
cat {folder}/credential
"""


class Plugin:
    """A credential plugin: a script that prints what the test sets."""

    API = "client.authentication.k8s.io/v1"

    def __init__(self, folder):
        self.folder = folder
        self.script = folder / "plugin"
        self.write(PLUGIN.format(folder=folder))

    def write(self, script):
        self.script.write_text(script)
        self.script.chmod(0o755)

    def print(self, expires="2100-01-01T00:00:00Z", **status):
        credential = {"apiVersion": self.API, "kind": "ExecCredential", "status": status}
        status["expirationTimestamp"] = expires
        (self.folder / "credential").write_text(json.dumps(credential))

    @property
    def user(self):
        # Relative to the kubeconfig.
        return {"exec": {"apiVersion": self.API, "command": "./plugin", "args": None, "env": None}}

    @property
    def runs(self):
        return len((self.folder / "runs").read_text().split())


@pytest.fixture
def plugin(tmp_path):
    plugin = Plugin(tmp_path)
    plugin.print(token="first")
    return plugin


async def test_a_refused_token_of_a_plugin_is_renewed_once_for_all(fake, connect, plugin, clock):
    pods = await connect(fake, plugin.user)
    await pods.list()
    plugin.print(token="second")
    fake.tokens = {"second"}
    clock.now += 600
    await asyncio.gather(*(pods.list() for _ in range(8)))
    assert plugin.runs == 2
    assert fake.shown.count("second") == 8
    assert [change async for change in pods.changes("1")] == [("ADDED", {"token": "second"})]


async def test_a_watch_that_is_opened_with_a_refused_token(fake, connect, plugin, clock):
    pods = await connect(fake, plugin.user)
    plugin.print(token="second")
    fake.tokens = {"second"}
    clock.now += 600
    assert [change async for change in pods.changes("1")] == [("ADDED", {"token": "second"})]


async def test_a_token_is_renewed_before_it_expires(fake, connect, plugin, clock, monkeypatch):
    monkeypatch.setattr(credentials.time, "time", lambda: 4102444800.0 - 600)  # 2100-01-01
    pods = await connect(fake, plugin.user)
    plugin.print(token="second")
    fake.tokens = {"first", "second"}
    clock.now += 600 - credentials.EARLY_SECONDS - 1
    await pods.list()
    clock.now += 1
    await pods.list()
    assert fake.shown == ["first", "second"]


async def test_a_token_that_is_refused_again_is_an_error(fake, connect, plugin, clock):
    pods = await connect(fake, plugin.user)
    fake.tokens = set()
    clock.now += 600
    with pytest.raises(ClusterError) as refused:
        await pods.list()
    assert (refused.value.status, str(refused.value)) == (401, "who?")
    assert plugin.runs == 2


FAILURES = {
    "echo s3cret-output; echo 'Token expired: run aws sso login.' >&2; exit 3": (
        "ended with exit code 3: Token expired: run aws sso login. Run it by hand to see why."
    ),
    "echo eyJhbGciOiJSUzI1NiIsImtpZCI6IjEyMzQ1Njc4.s3cret >&2; exit 1": (
        "ended with exit code 1: ***. Run it by hand to see why."
    ),
    "echo s3cret": "did not print an ExecCredential as JSON. Run it by hand to see why.",
    'echo \'{"apiVersion": "v0", "status": {"token": "s3cret"}}\'': (
        "did not print an ExecCredential of client.authentication.k8s.io/v1. Run it by hand to see why."
    ),
    'echo \'{"apiVersion": "client.authentication.k8s.io/v1", "status": {}}\'': (
        "printed neither a token nor a certificate with its key. Run it by hand to see why."
    ),
}


@pytest.mark.parametrize("script", FAILURES)
async def test_a_plugin_that_fails(fake, connect, plugin, clock, script, caplog):
    pods = await connect(fake, plugin.user)
    words = await failure_of_plugin(fake, pods, plugin, clock, script)
    assert words == f"The kubeconfig's credential plugin './plugin' {FAILURES[script]}"
    assert "s3cret" not in caplog.text + words


async def test_a_plugin_that_never_ends(fake, connect, plugin, clock, monkeypatch):
    pods = await connect(fake, plugin.user)
    defaults = {**exec_plugin.run.__kwdefaults__, "timeout": 0.5}
    monkeypatch.setattr(exec_plugin.run, "__kwdefaults__", defaults)
    words = await failure_of_plugin(fake, pods, plugin, clock, "sleep 60")
    assert "did not end within 0.5 s: it must not ask for input. Run it by hand" in words


async def failure_of_plugin(fake, pods, plugin, clock, script):
    """Return the error of a request for which the plugin has to run again, as this script."""
    plugin.write(f"#!/bin/sh\n{script}\n")
    fake.tokens = set()
    clock.now += 600
    with pytest.raises(ClusterError) as failed:
        await pods.list()
    return str(failed.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"command": "./missing"}, "cannot be run: No such file or directory"),
        ({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "which must be one of"),
        ({"interactiveMode": "Always"}, "needs a terminal"),
        ({"env": [{"name": "A"}]}, r"`exec` is malformed: env\.0\.value: Field required\."),
    ],
)
async def test_a_plugin_that_can_never_work(fake, connect, plugin, change, words):
    with pytest.raises(ConfigurationError, match=words):
        await connect(fake, {"exec": {**plugin.user["exec"], **change}})


async def test_a_token_in_a_file_is_read_again(fake, connect, tmp_path, clock):
    (tmp_path / "its-token").write_text("first\n")
    pods = await connect(fake, {"tokenFile": "its-token"})
    await pods.list()
    (tmp_path / "its-token").write_text("second\n")
    fake.tokens = {"first", "second"}
    clock.now += credentials.FILE_SECONDS
    await pods.list()
    assert fake.shown == ["first", "second"]


async def test_a_certificate_that_is_renewed_gets_new_connections(fake, connect, plugin, clock):
    folders = [fake.folder / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        write_certificate(folder, "alice")
    certificates = [
        {
            "clientCertificateData": (folder / "tls.crt").read_text(),
            "clientKeyData": (folder / "tls.key").read_text(),
        }
        for folder in folders
    ]
    fake.tokens = {""}
    plugin.print(**certificates[0])
    pods = await connect(fake, plugin.user)
    await pods.list()
    api_client = pods._connection.api_client
    before = api_client.rest_client
    plugin.print(**certificates[1])
    fake.tokens = set()
    clock.now += 600
    with pytest.raises(ClusterError):
        await pods.list()
    assert api_client.rest_client is not before


async def test_files_of_kubeconfig_are_merged_and_the_first_wins(
    fake, connect, tmp_path, monkeypatch
):
    await connect(fake, {"token": "first"})
    other, empty = tmp_path / "other", tmp_path / "empty"
    write_kubeconfig(other, {"server": "https://127.0.0.1:1"}, {"token": "x"}, context="there")
    empty.write_text("")
    files = [tmp_path / "missing", tmp_path / "kubeconfig", other]
    monkeypatch.setenv("KUBECONFIG", ":".join(map(str, files)))
    assert (await load_access()).configuration.host == fake.cluster["server"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no usable kubeconfig"),
        ("", "no usable kubeconfig"),
        ("a: [s3cret", "it is not valid YAML in line 1 of"),
        ("- s3cret", "no usable kubeconfig"),
    ],
)
async def test_kubeconfigs_that_cannot_be_used(tmp_path, monkeypatch, content, words):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    file = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(file))
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=words) as refused:
        await KubeApi.connect()
    assert "s3cret" not in str(refused.value)


# Proxies


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 407 No\r\n\r\n"])
async def test_a_kubeconfig_uses_the_proxy_of_the_environment(fake, connect, monkeypatch, answer):
    asked = asyncio.get_running_loop().create_future()

    async def proxy(reader, writer):
        if not asked.done():
            asked.set_result(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(proxy, "127.0.0.1") as server:
        url = f"http://alice:s3cret@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        fake.port, fake.tokens = 443, set()
        monkeypatch.setattr(FakeApi, "cluster", {"server": "https://api.corp.test"})
        monkeypatch.setenv("HTTPS_PROXY", url)
        pods = await connect(fake, {"token": "first"})
        with pytest.raises(ClusterError) as failed:
            await pods.list()
        assert "s3cret" not in str(failed.value)
        request = (await asked).decode()
    assert request.startswith("CONNECT api.corp.test:443 HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic " in request
    assert "first" not in request
