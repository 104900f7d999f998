"""Fixtures of the API tests: real HTTP and websocket clients, real kernels on this host."""

from __future__ import annotations

import json
import sys
from importlib.metadata import EntryPoint

import pytest
import pytest_asyncio
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from api.running import running_gateway

LOCAL_ARGV = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]


def kernel_json(provisioner="local-provisioner", **changes):
    """A kernelspec whose kernels run on this host."""
    spec = {
        "argv": LOCAL_ARGV,
        "display_name": "Local",
        "language": "python",
        "metadata": {"kernel_provisioner": {"provisioner_name": provisioner}},
    }
    return {**spec, **changes}


@pytest.fixture(autouse=True)
def jupyter_dirs(tmp_path, monkeypatch):
    """Directories of this test's own; returns the one for kernelspecs, where there is one: `local`."""
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    kernels = tmp_path / "JUPYTER_DATA_DIR" / "kernels"
    put_kernelspec(kernels, "local", kernel_json())
    return kernels


def put_kernelspec(kernels, name, spec):
    """Put a kernelspec on disk."""
    (kernels / name).mkdir(parents=True)
    (kernels / name / "kernel.json").write_text(json.dumps(spec))


@pytest.fixture
def add_kernelspec(jupyter_dirs):
    """Put a kernelspec on disk that differs from `local` in what is given."""
    return lambda name, **changes: put_kernelspec(jupyter_dirs, name, kernel_json(**changes))


@pytest.fixture
def add_provisioner(jupyter_dirs, monkeypatch):
    """Register a provisioner of the test's and give it a kernelspec of the same name."""

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
