"""A release of the chart, driven through pyhelm3."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess

import pyhelm3
from gateway_client import Gateway
from kubectl import PATIENCE_SECONDS


class Chart:
    """One release in one namespace."""

    def __init__(self, *, helm, kubectl, namespace, path, release, image):
        self._helm = pyhelm3.Client(
            executable=str(helm),
            kubeconfig=kubectl.kubeconfig,
            default_timeout=f"{PATIENCE_SECONDS}s",
        )
        self._path = path
        self._namespace = namespace
        self.release = release
        self.image = image
        self._values = {}

    @property
    def fullname(self):
        return f"{self.release}-gateway-provisioners"

    async def install(self, values):
        self._values = values
        await self._apply(values)

    async def upgrade(self, values):
        """Change some values on top of those of the installation; undone by the next call."""
        await self._apply(_merged(self._values, values))

    async def _apply(self, values):
        chart = await self._helm.get_chart(self._path)
        await self._helm.install_or_upgrade_release(
            self.release, chart, values, namespace=self._namespace.name, wait=True
        )

    async def uninstall(self):
        await self._helm.uninstall_release(self.release, namespace=self._namespace.name, wait=True)

    def diagnostics(self):
        """Titles and texts that tell what happened: the gateway's log, pods and events."""
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

    @contextlib.asynccontextmanager
    async def gateway(self):
        """A client of the release's gateway."""
        target = f"deployment/{self.fullname}"
        # Helm may return while the old pod still ends.
        await self._namespace.run("rollout", "status", target, f"--timeout={PATIENCE_SECONDS}s")
        async with (
            self._namespace.kubectl.port_forward(self._namespace.name, target, 8888) as port,
            Gateway(f"http://127.0.0.1:{port}", await self.token()) as gateway,
        ):
            yield gateway


def _merged(base, changes):
    merged = dict(base)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = (
            _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
        )
    return merged
