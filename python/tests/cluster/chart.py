"""A release of the chart, driven through pyhelm3."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess

import pyhelm3

from ci.gateway_client import Gateway
from ci.paths import ROOT
from timeouts import TIMEOUT_SECONDS, eventually

CHART = ROOT / "charts" / "gateway-provisioners"
# A node counts as lost, and takes no pods, for a while after its API server or its kubelet has been away.
SLOW_NODE_VALUES = {"launchTimeout": 120, "unschedulableGraceSeconds": 120}
GATEWAY_SELECTOR = "app.kubernetes.io/component=gateway"


class TlsGateway(Gateway):
    """A client that trusts a gateway's certificate, and has a port-forward for each of its connections.

    kubectl's port-forward ends with the first connection that its pod resets, and a TLS client that closes a
    connection which the server has closed already is answered with a reset.
    """

    def __init__(self, kubectl, namespace, target, token, context):
        super().__init__("", token, ssl=context)
        self._forward = lambda: kubectl.port_forward(namespace, target, 8888)

    @contextlib.asynccontextmanager
    async def forwarded(self):
        """Have `url` lead to the gateway, for one connection."""
        async with self._forward() as port:
            before, self.url = self.url, f"https://127.0.0.1:{port}"
            try:
                yield
            finally:
                self.url = before

    async def request(self, method, path, body=None):
        async with self.forwarded():
            return await super().request(method, path, body)

    @contextlib.asynccontextmanager
    async def channels(self, kernel_id):
        async with self.forwarded(), super().channels(kernel_id) as channels:
            yield channels


class Chart:
    """One release in one namespace."""

    def __init__(self, *, helm, kubectl, namespace, path, release, image):
        self._command = pyhelm3.Command(
            executable=str(helm),
            kubeconfig=kubectl.kubeconfig,
            default_timeout=f"{TIMEOUT_SECONDS}s",
        )
        self._helm = pyhelm3.Client(self._command, executable=str(helm))
        self._path = path
        self._namespace = namespace
        self.release = release
        self.image = image
        self.ssl = None
        """The TLS context of its clients, where the gateway itself speaks TLS."""
        self._values = {}

    @property
    def fullname(self):
        return f"{self.release}-gateway-provisioners"

    async def install(self, values):
        self._values = values
        await self._apply(values)

    async def upgrade(self, values, *, timeout=TIMEOUT_SECONDS):
        """Change some values on top of those of the installation; undone by the next call."""
        await self._apply(_merged(self._values, values), timeout=timeout)

    async def upgrade_to(self, path, values=None):
        """Upgrade to the chart at `path`, with the values of the installation or others."""
        self._path = path
        await self._apply(values or self._values)

    async def _apply(self, values, *, timeout=TIMEOUT_SECONDS):
        chart = await self._helm.get_chart(self._path)
        await self._helm.install_or_upgrade_release(
            self.release,
            chart,
            values,
            namespace=self._namespace.name,
            wait=True,
            timeout=f"{timeout}s",
        )

    async def rollback(self):
        """Undo the last upgrade."""
        await self._command.rollback(self.release, None, namespace=self._namespace.name, wait=True)

    async def test(self):
        """Run `helm test`; return the phase of its pod."""
        command = ["test", self.release, "--namespace", self._namespace.name]
        output = await self._command.run([*command, f"--timeout={TIMEOUT_SECONDS}s"])
        [phase] = re.findall(r"^Phase: +(\w+)$", output.decode(), re.MULTILINE)
        return phase

    async def uninstall(self):
        await self._helm.uninstall_release(self.release, namespace=self._namespace.name, wait=True)

    def diagnostics(self):
        """Yield titles and texts for a failed test: the gateway's log, pods and events."""
        kubectl = self._namespace.kubectl
        base = [
            kubectl.executable,
            f"--kubeconfig={kubectl.kubeconfig}",
            f"--namespace={self._namespace.name}",
        ]
        commands = {
            "gateway's log": ["logs", f"deployment/{self.fullname}", "--tail=100"],
            "pods": ["get", "pods", "--output=wide"],
            "events": ["get", "events", "--sort-by=.lastTimestamp"],
        }
        for title, command in commands.items():
            done = subprocess.run([*base, *command], capture_output=True, text=True, check=False)
            yield title, (done.stdout + done.stderr)[-8000:]

    async def token(self):
        secrets = json.loads(
            await self._namespace.run(
                "get", "secrets", "-l", f"app.kubernetes.io/instance={self.release}", "-o", "json"
            )
        )
        [data] = [item["data"] for item in secrets["items"] if "token" in item["data"]]
        return base64.b64decode(data["token"]).decode()

    async def wait_rolled_out(self):
        """Return when the gateways are those of the newest values, all ready, and no others."""
        target = f"deployment/{self.fullname}"
        await self._namespace.run("rollout", "status", target, f"--timeout={TIMEOUT_SECONDS}s")
        # That goes by what was last counted; a pod that was deleted a moment ago may be in it.
        replicas = int(
            await self._namespace.run("get", target, "--output=jsonpath={.spec.replicas}")
        )

        async def are_ready():
            pods = await self.gateway_pods()
            its_own = [pod for pod in pods if "ownerReferences" in pod["metadata"]]
            return len(its_own) == replicas and all(map(_is_ready, its_own))

        await eventually(are_ready)

    async def service_url(self):
        """Return the URL of the release's Service, for a host that can reach it."""
        address = await self._namespace.run(
            "get", "service", self.fullname, "--output=jsonpath={.spec.clusterIP}"
        )
        return f"http://{address}:8888"

    async def gateway_pods(self):
        """The gateways' pods that are not about to end."""
        pods = await self._namespace.run("get", "pods", "-l", GATEWAY_SELECTOR, "-o", "json")
        return [
            pod for pod in json.loads(pods)["items"] if "deletionTimestamp" not in pod["metadata"]
        ]

    @contextlib.asynccontextmanager
    async def probes(self):
        """A client of the port for probes of one of the release's gateways."""
        [pod, *_] = await self.gateway_pods()
        async with Gateway(f"http://{pod['status']['podIP']}:8889", "") as probes:
            yield probes

    @contextlib.asynccontextmanager
    async def gateway(self, target=None):
        """A client of the release's gateway, or of the one in the pod `target`."""
        if target is None:
            await self.wait_rolled_out()
            target = f"pod/{(await self.gateway_pods())[0]['metadata']['name']}"
        place = (self._namespace.kubectl, self._namespace.name, target)
        if self.ssl:
            async with TlsGateway(*place, await self.token(), self.ssl) as gateway:
                yield gateway
            return
        kubectl, *pod = place
        async with (
            kubectl.port_forward(*pod, 8888) as port,
            Gateway(f"http://127.0.0.1:{port}", await self.token()) as gateway,
        ):
            yield gateway

    @contextlib.asynccontextmanager
    async def gateways(self):
        """A client of each of the release's gateways."""
        await self.wait_rolled_out()
        async with contextlib.AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(self.gateway(f"pod/{pod['metadata']['name']}"))
                for pod in await self.gateway_pods()
            ]


def _is_ready(pod):
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _merged(base, changes):
    merged = dict(base)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = (
            _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
        )
    return merged
