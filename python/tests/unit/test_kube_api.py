"""The client library's errors as ClusterError, and its token. Nothing leaves this machine."""

import ssl
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio import client
from kubernetes.aio.config import incluster_config

from api.certificates import write_certificate
from gateway_provisioners.errors import ClusterError
from gateway_provisioners.kube import api as kube_api
from gateway_provisioners.kube.api import KubeApi
from gateway_provisioners.model.pod.api_refusal import creation_failure
from gateway_provisioners.provisioners.kubernetes_services import KubernetesServices


@pytest.fixture
async def api():
    api = KubeApi(client.ApiClient(client.Configuration(host="http://127.0.0.1:1")))
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
    api = KubeApi(client.ApiClient(client.Configuration(host=server)))
    services = KubernetesServices()
    services._api = api
    try:
        assert await services.hosts_near_kernels() == hosts
    finally:
        await api.close()


class Clock(datetime):
    """The client library's clock, which the test sets."""

    time = datetime(2026, 1, 1, tzinfo=timezone.utc)

    @classmethod
    def now(cls):
        return cls.time


async def test_renewed_token_of_the_service_account_is_used(tmp_path, monkeypatch):
    """The kubelet renews it before its hour is over, in the file that the chart mounts."""
    write_certificate(tmp_path, "kubernetes.default.svc")
    token = tmp_path / "token"
    seen = []

    async def answer(request):
        seen.append(request.headers["Authorization"].lower())
        return web.json_response({"items": [], "metadata": {"resourceVersion": "1"}})

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=tls)
    try:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
        assert incluster_config.SERVICE_TOKEN_FILENAME.startswith(
            "/var/run/secrets/kubernetes.io/serviceaccount/"
        )
        for module in (incluster_config, kube_api):
            monkeypatch.setattr(module, "SERVICE_TOKEN_FILENAME", str(token))
        monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "tls.crt"))
        clock = SimpleNamespace(datetime=Clock, timedelta=timedelta)
        monkeypatch.setattr(incluster_config, "datetime", clock)
        token.write_text("first")
        api = await KubeApi.connect()
        pods = api.collection("Pod", "kernels", label_selector="a=b")
        await pods.list()
        token.write_text("second")
        Clock.time += timedelta(minutes=2)
        await pods.list()
        await api.close()
    finally:
        await server.close()
    assert seen == ["bearer first", "bearer second"]
