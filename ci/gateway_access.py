"""Reach a release's gateway from outside the cluster, as a user does: a forwarded port and its token."""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ci.clusters import Cluster
from ci.commands import CommandError, run

# The longest that a local program may take to listen, and the pause between two tries, in seconds.
STARTUP_SECONDS = 60
ASK_SECONDS = 0.1
# A Jupyter server that is stopped while it works on a request may wait for a thread of AnyIO forever.
STOP_SECONDS = 20


@dataclass(frozen=True)
class Release:
    """An installed release of the chart, and what its objects are called."""

    cluster: Cluster
    namespace: str
    name: str

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl in the release's namespace."""
        place = (f"--kubeconfig={self.cluster.kubeconfig}", f"--namespace={self.namespace}")
        return run(self.cluster.kubectl, *place, *arguments, stdin=stdin)

    def _objects(self, kind: str) -> list[dict[str, Any]]:
        label = f"app.kubernetes.io/instance={self.name}"
        items: list[dict[str, Any]] = json.loads(
            self.kubectl("get", kind, "--selector", label, "--output", "json")
        )["items"]
        return items

    def service(self) -> str:
        """Return the name of the gateway's Service."""
        [service] = self._objects("services")
        name: str = service["metadata"]["name"]
        return name

    def gateway_pod(self) -> str:
        """Return the name of a gateway's pod: not of one that a newer one is about to replace."""
        names: list[str] = [
            pod["metadata"]["name"]
            for pod in self._objects("pods")
            if pod["metadata"]["labels"].get("app.kubernetes.io/component") == "gateway"
            and "deletionTimestamp" not in pod["metadata"]
        ]
        return names[0]

    def token_secret(self) -> str:
        """Return the name of the Secret that holds the gateway's token."""
        [secret] = [item for item in self._objects("secrets") if "token" in item["data"]]
        name: str = secret["metadata"]["name"]
        return name

    def token(self) -> str:
        """Return the token that clients show."""
        encoded = self.kubectl(
            "get", "secret", self.token_secret(), "--output", "jsonpath={.data.token}"
        )
        return base64.b64decode(encoded).decode()


def free_port() -> int:
    """Return a port of the loopback address that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(argv: list[str], ready_url: str, env: dict[str, str] | None = None) -> Iterator[None]:
    """Run a program until the block ends; the block begins when the URL answers."""
    with (
        TemporaryDirectory() as folder,
        (Path(folder) / "log").open("w+") as log,
        subprocess.Popen(argv, stdout=log, stderr=log, env=env) as process,
    ):
        try:
            deadline = time.monotonic() + STARTUP_SECONDS
            while not _answers(ready_url):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise CommandError(
                        f"{Path(argv[0]).name} did not get ready:\n{log.read()[-2000:]}"
                    )
                time.sleep(ASK_SECONDS)
            yield
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - a URL of this module's own
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@contextmanager
def forwarded(release: Release) -> Iterator[str]:
    """Forward a local port to the gateway and yield the URL that it answers at."""
    port = free_port()
    argv = [str(release.cluster.kubectl), "--kubeconfig", str(release.cluster.kubeconfig)]
    argv += [
        "--namespace",
        release.namespace,
        "port-forward",
        f"pod/{release.gateway_pod()}",
        f"{port}:8888",
    ]
    url = f"http://127.0.0.1:{port}"
    with _running(argv, f"{url}/healthz"):
        yield url


# What gateway-provisioners-client adds to a Jupyter server, and to JupyterLab's pages.
SERVER_EXTENSION = "gateway_provisioners_client.server"
LAB_EXTENSION = "gateway-provisioners-client"


@contextmanager
def jupyter_server(
    gateway_url: str = "",
    token: str = "",
    *,
    program: str = "jupyter_server",
    extended: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Run a Jupyter server that starts its kernels at the gateway, as JupyterLab's does; yield its URL.

    Args:
        gateway_url: without it, its kernels are local, and it does not limit the rate of their output.
        program: the Python module of the server: with "jupyterlab" or "notebook" it has their pages.
        extended: whether it uses what gateway-provisioners-client brings; otherwise it is a stock one.
        environment: further variables for it.

    jupyter_server's own client class for scripts (GatewayKernelClient, 2.21) does not show the token when
    it opens a kernel's websocket; its server does. The URL holds a secret random path in place of a password:
    that class could not send one of those either.
    """
    port, path = free_port(), secrets.token_hex(24)
    with TemporaryDirectory() as folder:
        notebooks = Path(folder) / "notebooks"
        notebooks.mkdir()
        config: dict[str, dict[str, Any]] = {
            "ServerApp": {
                "allow_root": True,
                "base_url": f"/{path}/",
                "disable_check_xsrf": True,
                "ip": "127.0.0.1",
                "jpserver_extensions": {SERVER_EXTENSION: extended},
                "open_browser": False,
                "port": port,
                "port_retries": 0,
                "root_dir": str(notebooks),
            },
            "IdentityProvider": {"token": ""},
        }
        if program != "jupyter_server":
            # The pages keep to this machine: no news, no updates, no extensions to install.
            config["LabApp"] = {"extension_manager": "readonly"}
            pages = Path(folder) / "labconfig/page_config.json"
            pages.parent.mkdir()
            announcements = "@jupyterlab/apputils-extension:announcements"
            disabled = {announcements: True, LAB_EXTENSION: not extended}
            pages.write_text(json.dumps({"disabledExtensions": disabled}))
        if gateway_url:
            config["GatewayClient"] = {"url": gateway_url}
        else:
            config["ZMQChannelsWebsocketConnection"] = {"limit_rate": False}
        file = Path(folder) / "jupyter_server_config.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(config))
        env = {
            **os.environ,
            "JUPYTER_CONFIG_DIR": folder,
            "JUPYTER_RUNTIME_DIR": folder,
            "JUPYTER_GATEWAY_AUTH_TOKEN": token,
            **(environment or {}),
        }
        url = f"http://127.0.0.1:{port}/{path}"
        with _running([sys.executable, "-m", program], f"{url}/api", env):
            yield url
