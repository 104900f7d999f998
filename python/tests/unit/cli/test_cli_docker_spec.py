"""`jupyter docker-spec`: its differences from `jupyter k8s-spec`, which has all other tests."""

import json
import re
from pathlib import Path

import pytest

from gateway_provisioners.cli.launch import docker as launch_docker
from gateway_provisioners.cli.specs.docker import DockerSpec

PAGE = (Path(__file__).parents[4] / "docs/docker.md").read_text()
SYSTEM = "/usr/local/share/jupyter/kernels"


@pytest.fixture
def install(run_cli, tmp_path):
    """Run `install` into a prefix of this test; return the folder of kernelspecs."""

    def run(*arguments):
        command = ["install", "--prefix", str(tmp_path), *arguments]
        code, err = run_cli(DockerSpec, command)
        assert code == 0, err
        return tmp_path / "share/jupyter/kernels"

    return run


def test_the_pages_command_makes_the_pages_kernel_json(install):
    assert "jupyter docker-spec install --image-name acme/data-sci-py:2.0" in PAGE
    kernels = install(
        *("--image-name", "acme/data-sci-py:2.0", "--kernel-name", "data_sci_py"),
        *("--display-name", "Data Science 2.0"),
    )
    [shown] = re.findall(r"^```json\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    written = (kernels / "data_sci_py/kernel.json").read_text()
    assert written.replace(str(kernels), SYSTEM) == shown
    assert (kernels / "data_sci_py/scripts/launch_docker.py").is_file()


def test_default_names_contain_docker(install):
    content = json.loads((install("--language", "R") / "docker_r/kernel.json").read_text())
    assert content["display_name"] == "Docker R"
    assert provisioner_of(content) == "docker-provisioner"


def test_swarm_is_another_provisioner(install):
    content = json.loads((install("--swarm") / "docker_python/kernel.json").read_text())
    assert provisioner_of(content) == "docker-swarm-provisioner"


def provisioner_of(content):
    return content["metadata"]["kernel_provisioner"]["provisioner_name"]


def test_the_launch_script_refuses_a_folder_without_its_kernelspec(tmp_path, capsys):
    arguments = ["--kernel-id", "a", "--response-address", "192.0.2.7:8877", "--public-key", "none"]
    assert launch_docker.main(arguments, kernelspec=tmp_path) == 1
    error = capsys.readouterr().err
    assert error.startswith(
        f"[launch_docker] ERROR | {tmp_path}/kernel.json is not a valid kernelspec of"
    )
    assert "docker-provisioner" in error


def test_volumes_of_the_caller_belong_in_the_kernelspec(install, monkeypatch, capsys):
    monkeypatch.setenv("KERNEL_VOLUMES", "[]")
    arguments = ["--kernel-id", "a", "--response-address", "192.0.2.7:8877", "--public-key", "none"]
    assert launch_docker.main(arguments, kernelspec=install() / "docker_python") == 1
    assert "put them in the kernelspec's volumes" in capsys.readouterr().err
