"""Fixtures of the API tests: real HTTP and websocket clients, real kernels on this machine."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from importlib.metadata import EntryPoint

import pytest
import pytest_asyncio
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from api.running import running_gateway

LOCAL_ARGV = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]


def kernel_json(provisioner="local-provisioner", **changes):
    """Return a kernelspec whose kernels run on this machine."""
    spec = {
        "argv": LOCAL_ARGV,
        "display_name": "Local",
        "language": "python",
        "metadata": {"kernel_provisioner": {"provisioner_name": provisioner}},
    }
    return {**spec, **changes}


@pytest.fixture(autouse=True)
def jupyter_dirs(tmp_path, monkeypatch):
    """Use directories of this test's own; return the one for kernelspecs, which has one: `local`."""
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # kernels that are killed leave their sockets
    kernels = tmp_path / "JUPYTER_DATA_DIR" / "kernels"
    put_kernelspec(kernels, "local", kernel_json())
    return kernels


def put_kernelspec(kernels, name, spec):
    """Write a kernelspec to disk."""
    (kernels / name).mkdir(parents=True)
    (kernels / name / "kernel.json").write_text(json.dumps(spec))


@pytest.fixture
def port_of_process():
    """Return a function that returns a port, another one each time, that no other process takes meanwhile.

    A free port of those for outgoing connections may be taken before it is used.
    """
    first = 10_000 + os.getpid() % 2_500 * 8
    return partial(next, iter(range(first, first + 8)))


@pytest.fixture
def add_kernelspec(jupyter_dirs):
    """Return a function that writes a kernelspec: `local` with changes."""
    return lambda name, **changes: put_kernelspec(jupyter_dirs, name, kernel_json(**changes))


@pytest.fixture
def add_provisioner(jupyter_dirs, monkeypatch):
    """Return a function that registers a provisioner and a kernelspec of the same name."""

    def add(name, provisioner_class, **spec):
        module = provisioner_class.__module__
        entry_point = EntryPoint(
            name, f"{module}:{provisioner_class.__qualname__}", KernelProvisionerFactory.GROUP_NAME
        )
        monkeypatch.setitem(KernelProvisionerFactory.provisioners, name, entry_point)
        put_kernelspec(jupyter_dirs, name, kernel_json(name, **spec))

    return add


@pytest_asyncio.fixture
async def gateway():
    """A gateway with default settings."""
    async with running_gateway() as running:
        yield running
