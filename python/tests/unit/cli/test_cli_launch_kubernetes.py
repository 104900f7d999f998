"""A kernelspec's launch script, run by hand or by a customised launch script."""

import json
import os
import subprocess
import sys

import pytest

from gateway_provisioners.cli.launch import kubernetes as launch_kubernetes
from gateway_provisioners.cli.specs.kubernetes import K8sSpec
from gateway_provisioners.errors import ClusterError

KERNEL_ID = "6f1b2c9e-0000-4000-8000-3c4d5e6f7a8b"
# As in the argv of kernel.json, with the places filled in.
ARGUMENTS = [
    *("--kernel-id", KERNEL_ID),
    *("--port-range", "0..0"),
    *("--response-address", "192.0.2.7:8877"),
    *("--public-key", "TUlJQklqQU5CZ2txaGtpRzl3MEI="),
    *("--kernel-class-name", "ipykernel.ipkernel.IPythonKernel"),
]


@pytest.fixture(autouse=True)
def no_kernel_variables(monkeypatch):
    for name in os.environ:
        if name.startswith(("KERNEL_", "GP_")):
            monkeypatch.delenv(name)


@pytest.fixture
def kernelspec(run_cli, tmp_path):
    """An installed kernelspec's folder."""
    code, err = run_cli(
        K8sSpec,
        [
            *("install", "--prefix", str(tmp_path)),
            *("--image-name", "acme/data-sci-py:2.0", "--kernel-name", "data_sci_py"),
        ],
    )
    assert code == 0, err
    return tmp_path / "share/jupyter/kernels/data_sci_py"


@pytest.fixture
def change_config(kernelspec):
    """Edit the kernelspec's provisioner config."""

    def change(**config):
        path = kernelspec / "kernel.json"
        content = json.loads(path.read_text())
        content["metadata"]["kernel_provisioner"]["config"].update(config)
        path.write_text(json.dumps(content))

    return change


@pytest.fixture
def dry_run(kernelspec, capsys):
    """The pod that would be created."""

    def run(*arguments):
        code = launch_kubernetes.main([*ARGUMENTS, "--dry-run", *arguments], kernelspec=kernelspec)
        out, err = capsys.readouterr()
        assert (code, err) == (0, "")
        return json.loads(out)

    return run


def variables(pod):
    return {item["name"]: item for item in pod["spec"]["containers"][0]["env"]}


class FakeApi:
    """Records requests to the cluster in order; refuses Secrets with the given message."""

    def __init__(self, refuse=""):
        self.calls = []
        self.refuse = refuse

    async def create_pod(self, namespace, manifest):
        self.calls.append(("create pod", namespace, manifest))
        return {**manifest, "metadata": {**manifest["metadata"], "uid": "uid-of-the-pod"}}

    async def create_secret(self, namespace, manifest):
        self.calls.append(("create secret", namespace, manifest))
        if self.refuse:
            raise ClusterError(self.refuse, status=403, api_reason="Forbidden")

    async def patch_pod(self, namespace, name, patch, **_):
        self.calls.append(("patch pod", namespace, patch))

    async def delete_pod(self, namespace, name, **_):
        self.calls.append(("delete pod", namespace, name))

    def collection(self, *_, **__):
        return None

    async def close(self):
        self.calls.append(("close",))


@pytest.fixture
def fake_api(monkeypatch):
    api = FakeApi()

    async def connect():
        return api

    monkeypatch.setattr(launch_kubernetes.KubeApi, "connect", connect)
    return api


def test_creates_the_pod_then_its_secret_then_opens_its_gate(
    kernelspec, fake_api, monkeypatch, capsys
):
    monkeypatch.setenv("KERNEL_USERNAME", "alice")
    monkeypatch.setenv("KERNEL_NAMESPACE", "team-a")
    monkeypatch.setenv("KERNEL_LAUNCH_KEY", "bGF1bmNoIGtleQ==")
    monkeypatch.setenv("KERNEL_TOKEN", "of the user")
    assert launch_kubernetes.main(ARGUMENTS, kernelspec=kernelspec) == 0
    name = f"alice-{KERNEL_ID}-1"
    assert capsys.readouterr().out == (
        f"[launch_kubernetes] Created pod {name} in namespace team-a.\n"
    )
    (_, _, pod), (_, _, secret), (_, _, patch) = fake_api.calls[:3]
    assert [call[:2] for call in fake_api.calls] == [
        ("create pod", "team-a"),
        ("create secret", "team-a"),
        ("patch pod", "team-a"),
        ("close",),
    ]
    assert pod["metadata"]["name"] == name
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "uid-of-the-pod"
    assert set(secret["data"]) == {"env.KERNEL_LAUNCH_KEY", "env.KERNEL_TOKEN"}
    assert "bGF1bmNoIGtleQ==" not in json.dumps(pod)
    assert "of the user" not in json.dumps(pod)
    assert patch[-1] == {"op": "remove", "path": "/spec/schedulingGates/0"}


def test_a_refusal_of_the_cluster_leaves_no_pod(kernelspec, fake_api, capsys):
    fake_api.refuse = 'secrets is forbidden: User "bob" cannot create resource "secrets"'
    assert launch_kubernetes.main(ARGUMENTS, kernelspec=kernelspec) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("[launch_kubernetes] ERROR | ")
    assert len(err.splitlines()) == 1
    assert [call[0] for call in fake_api.calls] == [
        *("create pod", "create secret", "delete pod", "close")
    ]


def test_container_gets_what_the_launcher_needs(dry_run):
    pod = dry_run()
    container = pod["spec"]["containers"][0]
    assert container["image"] == "acme/data-sci-py:2.0"
    assert {name: item["value"] for name, item in variables(pod).items()} == {
        "KERNEL_ID": KERNEL_ID,
        "KERNEL_NAME": "data_sci_py",
        "KERNEL_LANGUAGE": "python",
        "KERNEL_USERNAME": "jovyan",
        "KERNEL_NAMESPACE": "default",
        "KERNEL_SPARK_CONTEXT_INIT_MODE": "none",
        "KERNEL_TRANSPORT_ENCRYPTION": "auto",
        "KERNEL_CLASS_NAME": "ipykernel.ipkernel.IPythonKernel",
        "RESPONSE_ADDRESS": "192.0.2.7:8877",
        "PUBLIC_KEY": "TUlJQklqQU5CZ2txaGtpRzl3MEI=",
        "PORT_RANGE": "0..0",
    }


@pytest.mark.parametrize("prefix", ["RemoteProcessProxy.", "RemoteProvisioner."])
def test_options_as_enterprise_gateway_spells_them(kernelspec, capsys, prefix):
    arguments = [
        argument.replace("--", f"--{prefix}") if argument.startswith("--") else argument
        for argument in ARGUMENTS
    ]
    assert launch_kubernetes.main([*arguments, "--dry-run"], kernelspec=kernelspec) == 0
    assert variables(json.loads(capsys.readouterr().out))["KERNEL_ID"]["value"] == KERNEL_ID


def test_no_other_variable_of_the_caller_reaches_the_pod(dry_run, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the caller")
    pod = dry_run()
    assert "AWS_SECRET_ACCESS_KEY" not in json.dumps(pod)
    assert "PATH" not in variables(pod)


def test_callers_kernel_settings(dry_run, monkeypatch):
    for name, value in {
        "KERNEL_NAMESPACE": "team-a",
        "KERNEL_POD_NAME": "my-pod",
        "KERNEL_SERVICE_ACCOUNT_NAME": "spark",
        "KERNEL_UID": "1234",
        "KERNEL_GID": "5678",
        "KERNEL_IMAGE": "acme/other:3",
        "KERNEL_CPUS": "2",
        "KERNEL_MEMORY_LIMIT": "4Gi",
        "KERNEL_LANGUAGE": "not this",
    }.items():
        monkeypatch.setenv(name, value)
    pod = dry_run("--spark-context-initialization-mode", "lazy")
    assert (pod["metadata"]["name"], pod["metadata"]["namespace"]) == ("my-pod", "team-a")
    spec, container = pod["spec"], pod["spec"]["containers"][0]
    assert spec["serviceAccountName"] == "spark"
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsGroup"]) == (
        1234,
        5678,
    )
    assert container["image"] == "acme/other:3"
    assert container["resources"] == {"requests": {"cpu": "2"}, "limits": {"memory": "4Gi"}}
    assert variables(pod)["KERNEL_SPARK_CONTEXT_INIT_MODE"]["value"] == "lazy"
    assert variables(pod)["KERNEL_LANGUAGE"]["value"] == "python"


def test_the_spark_mode_can_come_from_the_kernelspec(dry_run, kernelspec, monkeypatch):
    path = kernelspec / "kernel.json"
    content = json.loads(path.read_text())
    content["env"]["KERNEL_SPARK_CONTEXT_INIT_MODE"] = "lazy"
    path.write_text(json.dumps(content))

    def mode():
        return variables(dry_run())["KERNEL_SPARK_CONTEXT_INIT_MODE"]["value"]

    assert mode() == "lazy"
    monkeypatch.setenv("KERNEL_SPARK_CONTEXT_INIT_MODE", "eager")
    assert mode() == "eager"


def test_kernelspecs_config(dry_run, change_config):
    change_config(
        executor_image_name="acme/executor:1",
        image_pull_secrets=["registry"],
        node_selector={"disk": "ssd"},
        pod_template={"spec": {"priorityClassName": "low"}},
    )
    pod = dry_run()
    assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert pod["spec"]["priorityClassName"] == "low"


def test_client_values_are_data(dry_run, monkeypatch):
    hostile = 'x"}, "hostPID": true, {{ 7 * 7 }} ${PATH} $(id)\n- hostPID: true'
    plain = dry_run()
    for name in ("KERNEL_USERNAME", "KERNEL_NOTE"):
        monkeypatch.setenv(name, hostile)
    pod = dry_run()
    assert pod["spec"].keys() == plain["spec"].keys()
    assert pod["metadata"]["annotations"]["gateway-provisioners/username"] == hostile
    assert "valueFrom" in variables(pod)["KERNEL_NOTE"]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("KERNEL_VOLUMES", "[]", "KERNEL_VOLUMES is not supported; put them in"),
        ("KERNEL_UID", "0 or so", "KERNEL_UID='0 or so' is not a valid id; use a decimal number"),
        ("KERNEL_CPUS", "many", "KERNEL_CPUS"),
    ],
)
def test_refuses_what_it_cannot_do(kernelspec, fake_api, monkeypatch, capsys, name, value, reason):
    monkeypatch.setenv(name, value)
    assert launch_kubernetes.main(ARGUMENTS, kernelspec=kernelspec) == 1
    err = capsys.readouterr().err
    assert err.startswith("[launch_kubernetes] ERROR | ")
    assert reason in err
    assert fake_api.calls == []


def test_broken_kernelspec(kernelspec, capsys, change_config):
    change_config(port_range="all of them")
    assert launch_kubernetes.main(ARGUMENTS, kernelspec=kernelspec) == 1
    (kernelspec / "kernel.json").write_text("{}")
    assert launch_kubernetes.main(ARGUMENTS, kernelspec=kernelspec) == 1
    (kernelspec / "kernel.json").unlink()
    assert launch_kubernetes.main(ARGUMENTS, kernelspec=kernelspec) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all("is not a valid kernelspec of the kubernetes-provisioner" in line for line in lines)


@pytest.mark.parametrize(
    "changes", [{"language": 5}, {"env": []}, {"env": "A=b"}, {"env": {"A": 1}}, {"metadata": []}]
)
def test_kernelspec_with_fields_of_other_types(kernelspec, capsys, changes):
    file = kernelspec / "kernel.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    assert launch_kubernetes.main(ARGUMENTS, kernelspec=kernelspec) == 1
    assert "is not a valid kernelspec" in capsys.readouterr().err


def test_deeply_nested_kernelspec(kernelspec, capsys):
    (kernelspec / "kernel.json").write_text("[" * 100_000)
    assert launch_kubernetes.main(ARGUMENTS, kernelspec=kernelspec) == 1
    assert "is not a valid kernelspec" in capsys.readouterr().err


def test_kernelspec_without_an_image(kernelspec, capsys, change_config):
    change_config(image_name="")
    assert launch_kubernetes.main(ARGUMENTS, kernelspec=kernelspec) == 1
    assert "KERNEL_IMAGE in the environment" in capsys.readouterr().err


def test_argv_of_kernel_json_runs(kernelspec, tmp_path):
    """Run the command of kernel.json, filled in as by jupyter_client, in its own process."""
    argv = json.loads((kernelspec / "kernel.json").read_text())["argv"]
    filled = {"kernel_id": KERNEL_ID, "port_range": "0..0", "response_address": "192.0.2.7:1"}
    command = [part.format(public_key="TUlJQg==", **filled) for part in argv]
    done = subprocess.run(
        [sys.executable, *command[1:], "--dry-run"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["spec"]["containers"][0]["image"] == "acme/data-sci-py:2.0"
