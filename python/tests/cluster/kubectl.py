"""The cluster as an operator sees it: kubectl, and what the tests ask of a namespace."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re

from timeouts import TIMEOUT_SECONDS


class Kubectl:
    """kubectl on one cluster."""

    def __init__(self, executable, kubeconfig):
        self.executable = str(executable)
        self.kubeconfig = str(kubeconfig)

    async def __call__(self, *arguments, stdin=None):
        process = await asyncio.create_subprocess_exec(
            self.executable,
            f"--kubeconfig={self.kubeconfig}",
            *arguments,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate(stdin.encode() if stdin else None)
        if process.returncode:
            msg = f"kubectl {' '.join(arguments)}: {errors.decode().strip()}"
            raise RuntimeError(msg)
        return output.decode()

    async def get(self, *arguments):
        return json.loads(await self("get", *arguments, "-o", "json"))

    async def apply(self, *objects):
        await self(
            "apply",
            "-f",
            "-",
            stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}),
        )

    @contextlib.asynccontextmanager
    async def port_forward(self, namespace, target, port):
        """A port of this host that leads to `target`."""
        process = await asyncio.create_subprocess_exec(
            self.executable,
            f"--kubeconfig={self.kubeconfig}",
            f"--namespace={namespace}",
            "port-forward",
            target,
            f":{port}",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            line = (await process.stdout.readline()).decode()
            match = re.match(r"Forwarding from 127\.0\.0\.1:(\d+)", line)
            if match is None:
                msg = f"port-forward to {target}: {line} {(await process.stderr.read()).decode()}"
                raise RuntimeError(msg)
            yield int(match[1])
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.communicate()


class Namespace:
    """A namespace of the tests' own, in which Pod Security `restricted`, or another level, is enforced."""

    def __init__(self, kubectl, name, *, security="restricted"):
        self.kubectl = kubectl
        self.name = name
        self._security = security

    async def create(self):
        labels = {"pod-security.kubernetes.io/enforce": self._security}
        await self.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": self.name, "labels": labels},
            }
        )
        await self.run(
            "wait", "--for=create", "serviceaccount/default", f"--timeout={TIMEOUT_SECONDS}s"
        )

    async def delete(self):
        await self.kubectl("delete", "namespace", self.name, "--ignore-not-found", "--wait=true")

    async def run(self, *arguments, stdin=None):
        return await self.kubectl(f"--namespace={self.name}", *arguments, stdin=stdin)

    async def objects(self, kind, kernel_id=None):
        selector = f"kernel_id={kernel_id}" if kernel_id else "kernel_id"
        answer = json.loads(await self.run("get", kind, "-l", selector, "-o", "json"))
        return answer["items"]

    async def names(self, kind, kernel_id=None):
        return [item["metadata"]["name"] for item in await self.objects(kind, kernel_id)]

    async def wait_gone(self, kernel_id):
        """Return when neither pod nor Secret of the kernel is left."""
        await self._wait_deleted(f"kernel_id={kernel_id}")

    async def wait_no_kernels(self):
        await self._wait_deleted("kernel_id")

    async def _wait_deleted(self, selector):
        for kind in ("pods", "secrets"):
            await self.run(
                "wait", "--for=delete", kind, "-l", selector, f"--timeout={TIMEOUT_SECONDS}s"
            )

    @contextlib.asynccontextmanager
    async def quota(self, hard):
        """A ResourceQuota that is in force."""
        await self.run(
            "apply",
            "-f",
            "-",
            stdin=json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "ResourceQuota",
                    "metadata": {"name": "small"},
                    "spec": {"hard": hard},
                }
            ),
        )
        try:
            await self.run(
                "wait",
                "--for=jsonpath={.status.hard}",
                "resourcequota/small",
                f"--timeout={TIMEOUT_SECONDS}s",
            )
            yield
        finally:
            await self.run("delete", "resourcequota", "small")

    @contextlib.asynccontextmanager
    async def without_role(self):
        """A namespace without the gateway's RoleBinding."""
        bindings = json.loads(await self.run("get", "rolebindings", "-o", "json"))
        for item in bindings["items"]:
            await self.run("delete", "rolebinding", item["metadata"]["name"])
            for field in ("uid", "resourceVersion", "creationTimestamp", "managedFields"):
                item["metadata"].pop(field, None)
        try:
            yield
        finally:
            await self.run("apply", "-f", "-", stdin=json.dumps(bindings))
