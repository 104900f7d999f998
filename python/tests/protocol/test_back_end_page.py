"""The back end of docs/write-a-back-end.md, exactly as it is printed there."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import KernelProvisionerFactory
from launched import LAUNCHERS, client_of, run, start_busy, value
from tornado import web

PAGE = (LAUNCHERS.parent / "docs/write-a-back-end.md").read_text()


@pytest.fixture
def back_end(tmp_path, monkeypatch):
    """The page's code as an installed package."""
    name = "back_end_of_the_page"
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    entry_point = importlib.metadata.EntryPoint(
        "process-provisioner",
        f"{name}:ProcessProvisioner",
        "jupyter_client.kernel_provisioners",
    )
    factory = KernelProvisionerFactory.instance()
    monkeypatch.setitem(factory.provisioners, entry_point.name, entry_point)
    monkeypatch.setenv("GP_RESPONSE_IP", "127.0.0.1")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    yield
    sys.modules.pop(name, None)


@pytest.fixture
def manager(back_end, tmp_path):
    image = tmp_path / "image"
    program = Path(sys.executable).with_name("jupyter-image-bootstrap")
    subprocess.run([program, "install", "--languages=python", f"--target={image}"], check=True)

    def make(image_name=str(image)):
        config = {"provisioner_name": "process-provisioner", "config": {"image_name": image_name}}
        spec = {
            "argv": [],
            "display_name": "test",
            "language": "python",
            "metadata": {"kernel_provisioner": config},
        }
        (tmp_path / "specs" / "test").mkdir(parents=True, exist_ok=True)
        (tmp_path / "specs" / "test" / "kernel.json").write_text(json.dumps(spec))
        specs = KernelSpecManager(kernel_dirs=[str(tmp_path / "specs")])
        return AsyncKernelManager(kernel_name="test", kernel_spec_manager=specs)

    return make


async def test_a_kernel_runs_is_interrupted_restarted_and_ended(manager):
    kernel = manager()
    await kernel.start_kernel()
    try:
        first = kernel.provisioner._workload._process
        async with client_of(kernel.get_connection_info()) as client:
            await run(client, "kept = 6 * 7")
            busy = await start_busy(client, "busy()\nwhile True: pass")
            await kernel.interrupt_kernel()
            assert (await busy)[0]["ename"] == "KeyboardInterrupt"
            assert await value(client, "kept") == "42"
        await kernel.restart_kernel()
        assert await first.wait() is not None
        second = kernel.provisioner._workload._process
        async with client_of(kernel.get_connection_info()) as client:
            assert (await run(client, "kept"))[0]["ename"] == "NameError"
    finally:
        await kernel.shutdown_kernel()
    assert await second.wait() is not None


async def test_a_failed_start_gives_the_cause(manager, tmp_path):
    with pytest.raises(web.HTTPError) as refusal:
        await manager(str(tmp_path / "nowhere")).start_kernel()
    assert "cannot be started" in refusal.value.log_message
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "bootstrap-kernel.sh").write_text("#!/bin/sh\necho no luck\nexit 3\n")
    (broken / "bootstrap-kernel.sh").chmod(0o755)
    with pytest.raises(web.HTTPError) as refusal:
        await manager(str(broken)).start_kernel()
    assert "exited with code 3" in refusal.value.log_message
    assert "\nThe last lines of its log:\nno luck\nKernel " in refusal.value.log_message
