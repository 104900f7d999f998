"""The launch script that a kernelspec's folder has in place of ours: when it counts, and what it gets."""

import json
import os
import sys
from importlib import resources

import pytest
from jupyter_client.kernelspec import KernelSpec
from tornado import web
from traitlets import TraitError
from traitlets.config import LoggingConfigurable

from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.gateway.kernels.kernelspecs import (
    GatewayKernelSpecManager,
    runs_beside_gateway,
)
from gateway_provisioners.gateway.kernels.manager import GatewayKernelManager
from gateway_provisioners.model.ownership import Ownership
from gateway_provisioners.provisioners.kubernetes import KubernetesProvisioner
from gateway_provisioners.provisioners.launch_script import (
    KernelspecPrograms,
    replaced_script,
    run_launch_script,
)

ID = "6ff4ba43-1e43-4f9e-b1a0-6ab9e4aa9e36"


class Source:
    """The ConfigMap of the chart."""

    synced = True

    def __init__(self, data):
        self.objects = {"specs": {"data": data}}

    def subscribe(self, _listener):
        return lambda: None


@pytest.fixture
def folder(tmp_path):
    """A volume's folder `python3`, with a kernelspec and a launch script of its own."""
    folder = tmp_path / "kernels" / "python3"
    (folder / "scripts").mkdir(parents=True)
    (folder / "scripts" / "launch_kubernetes.py").write_text("raise SystemExit('mine')")
    (folder / "kernel.json").write_text(kernel_json(folder))
    return folder


def kernel_json(folder):
    return json.dumps(
        {
            "argv": ["python", str(folder / "scripts" / "launch_kubernetes.py")],
            "display_name": "Python",
            "language": "python",
            "metadata": {
                "kernel_provisioner": {
                    "provisioner_name": "kubernetes-provisioner",
                    "config": {"image_name": "acme/py:1"},
                }
            },
        }
    )


@pytest.fixture
def specs(folder):
    return GatewayKernelSpecManager(kernel_dirs=[str(folder.parent)])


def provisioner(spec):
    return KubernetesProvisioner(
        kernel_id=ID, kernel_spec=spec, parent=LoggingConfigurable(), image_name="acme/py:1"
    )


def forbid(monkeypatch):
    monkeypatch.setenv("GP_LAUNCH_SCRIPTS", "False")
    monkeypatch.setenv("GP_NAMESPACE", "kernels")


@pytest.mark.attack(14)
@pytest.mark.parametrize("allowed", ["True", "False"])
async def test_a_chart_kernel_has_no_launch_script(specs, folder, monkeypatch, allowed):
    monkeypatch.setenv("GP_NAMESPACE", "kernels")
    monkeypatch.setenv("GP_LAUNCH_SCRIPTS", allowed)
    specs.follow(Source({"python3.json": kernel_json(folder)}))
    spec = specs.get_kernel_spec("python3")
    assert replaced_script(spec) is None
    kernel = provisioner(spec)
    await kernel.pre_launch(env={})
    assert not kernel._has_own_script


@pytest.mark.attack(14)
async def test_an_adopted_chart_kernel_has_no_launch_script(specs, folder, monkeypatch):
    specs.follow(Source({"python3.json": kernel_json(folder)}))
    stored = specs.get_kernel_spec("python3").to_dict()
    kernels = GatewayKernelManager(kernel_spec_manager=specs)
    adopted = []

    async def adopt(_kernel, _kernel_id, kernel_spec, *_):
        adopted.append(kernel_spec)
        raise LaunchFailed("Stop", "The test has seen enough.")

    monkeypatch.setattr("gateway_provisioners.gateway.kernels.kernel.GatewayKernel.adopt", adopt)
    for name in ("python3", "other"):
        with pytest.raises(LaunchFailed):
            await kernels.adopt(
                kernel_id=ID,
                kernel_name=name,
                kernel_spec=KernelSpec(resource_dir="", **stored),
                env={},
                last_activity="",
                started="",
                ownership=Ownership(),
                restore=None,
            )
    of_chart, of_folder = adopted
    assert replaced_script(of_chart) is None
    assert replaced_script(of_folder) == folder / "scripts" / "launch_kubernetes.py"


async def test_a_replaced_script_is_refused_without_the_setting(specs, folder, monkeypatch):
    forbid(monkeypatch)
    with pytest.raises(web.HTTPError) as caught:
        await provisioner(specs.get_kernel_spec("python3")).pre_launch(env={})
    cause = caught.value.__cause__
    assert isinstance(cause, LaunchFailed)
    assert cause.reason == "LaunchScript"
    assert str(folder / "scripts" / "launch_kubernetes.py") in str(cause)
    assert "kernelspecs.launchScripts: true" in str(cause)
    assert "GP_LAUNCH_SCRIPTS" in str(cause)


async def test_a_replaced_script_is_run_outside_of_the_chart(specs, monkeypatch):
    monkeypatch.setenv("GP_NAMESPACE", "kernels")
    kernel = provisioner(specs.get_kernel_spec("python3"))
    await kernel.pre_launch(env={})
    assert kernel._has_own_script


async def test_our_own_script_is_no_program_of_the_kernelspec(specs, folder, monkeypatch):
    forbid(monkeypatch)
    ours = resources.files("gateway_provisioners").joinpath("_kernelspecs/launch_kubernetes.py")
    (folder / "scripts" / "launch_kubernetes.py").write_bytes(ours.read_bytes())
    kernel = provisioner(specs.get_kernel_spec("python3"))
    await kernel.pre_launch(env={})
    assert not kernel._has_own_script


async def test_a_kernelspec_cannot_allow_its_own_script(specs, monkeypatch):
    forbid(monkeypatch)
    config = {"KernelspecPrograms": {"launch_scripts": True}}
    with pytest.raises(TraitError, match="config"):
        KubernetesProvisioner(
            kernel_id=ID,
            kernel_spec=specs.get_kernel_spec("python3"),
            parent=LoggingConfigurable(),
            config=config,
        )


@pytest.mark.parametrize(
    ("metadata", "beside"),
    [
        ({}, True),
        ({"kernel_provisioner": {}}, True),
        ({"kernel_provisioner": {"provisioner_name": "local-provisioner"}}, True),
        ({"kernel_provisioner": {"provisioner_name": "kubernetes-provisioner"}}, False),
        ({"kernel_provisioner": {"provisioner_name": "docker-provisioner"}}, False),
    ],
)
def test_which_kernels_run_beside_the_gateway(metadata, beside):
    assert runs_beside_gateway(KernelSpec(argv=["sh"], metadata=metadata)) is beside


def test_a_program_is_allowed_by_default():
    KernelspecPrograms().check("Anything")


async def test_a_script_gets_no_more_than_access_to_the_cluster(tmp_path, monkeypatch):
    monkeypatch.setenv("KG_AUTH_TOKEN", "t0ken")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    script = tmp_path / "show.py"
    script.write_text("import json, os, sys; sys.exit(json.dumps(dict(os.environ)))")
    with pytest.raises(LaunchFailed) as caught:
        await run_launch_script([sys.executable, str(script)], {}, {"KERNEL_ID": ID})
    assert "t0ken" not in str(caught.value)
    shown = json.loads(str(caught.value).rpartition("\n")[2])
    assert {**shown, "LC_CTYPE": ""} == {
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "KERNEL_ID": ID,
        "LC_CTYPE": "",
    } | {name: os.environ[name] for name in ("KUBERNETES_SERVICE_PORT",) if name in os.environ}
