"""docs/custom-kernel-images.md: its commands print and write the text that the page shows."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_provisioners import __version__

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs/custom-kernel-images.md").read_text()
SYSTEM = "/usr/local/share/jupyter/kernels"


def blocks(language):
    """The fenced blocks of one kind, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def commands(program, *kinds):
    """The command lines of the blocks that call `program`, lines joined and RUN taken off."""
    text = "\n".join("".join(blocks(kind)) for kind in kinds).replace("\\\n", " ")
    lines = [re.sub(r"^(RUN|\$) ", "", line) for line in text.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith(program)]


@pytest.fixture
def run(tmp_path):
    """Run a command of the page with this environment's programs; return (code, stdout, stderr)."""

    def run_command(command):
        programs = Path(sys.executable).parent
        done = subprocess.run(
            [programs / command[0], *command[1:]],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)},
        )
        return done.returncode, done.stdout, done.stderr

    return run_command


def test_bootstrap_command_prints_what_the_page_shows(run, tmp_path):
    (command,) = commands("jupyter image-bootstrap install", "dockerfile")
    (shown,) = blocks("text")
    code, out, err = run([*command, "--target", str(tmp_path / "bin")])
    assert (code, out) == (0, "")
    assert err.replace(str(tmp_path / "bin"), "/usr/local/bin") == shown
    for path in re.findall(r"/usr/local/bin/([\w.-]+)", "".join(blocks("dockerfile"))):
        assert (tmp_path / "bin" / path).exists()


def test_kernelspec_command_makes_the_kernel_json_of_the_page(run, tmp_path):
    (command,) = commands("jupyter k8s-spec", "shell")
    (shown,) = blocks("json")
    code, _, err = run([*command, "--prefix", str(tmp_path)])
    assert code == 0, err
    kernels = f"{tmp_path}/share/jupyter/kernels"
    written = Path(kernels, "data_sci_py/kernel.json").read_text()
    assert written.replace(kernels, SYSTEM) == shown


def test_refusals_are_those_of_the_page(run, tmp_path):
    (command,) = commands("jupyter k8s-spec", "console")
    (shown,) = [block for block in blocks("console") if "k8s-spec" in block]
    code, _, err = run([*command, "--prefix", str(tmp_path)])
    assert code == 2
    assert err == "".join(shown.splitlines(keepends=True)[1:])


def test_launch_script_by_hand(run, tmp_path):
    (install,) = commands("jupyter k8s-spec", "shell")
    assert run([*install, "--prefix", str(tmp_path)])[0] == 0
    (command,) = commands("python", "shell")
    kernels = f"{tmp_path}/share/jupyter/kernels"
    code, out, err = run([part.replace(SYSTEM, kernels) for part in command])
    assert (code, err) == (0, "")
    assert json.loads(out)["spec"]["containers"][0]["image"] == "acme/data-sci-py:2.0"


def test_bootstrap_script_without_parameters(run):
    (shown,) = [block for block in blocks("console") if "docker run" in block]
    code, _, err = run(["/bin/bash", str(ROOT / "launchers/bootstrap-kernel.sh")])
    assert code == 64
    assert err == shown.splitlines(keepends=True)[1]


def test_settings_that_the_page_names_exist():
    from gateway_provisioners.provisioners.launch_traits import KubernetesLaunchTraits

    (sentence,) = re.findall(
        r"Settings without an option are edited in `config`:(.*?)\.\s", PAGE, re.DOTALL
    )
    names = re.findall(r"`(\w+)`", sentence)
    assert names
    assert set(names) <= set(KubernetesLaunchTraits.class_trait_names())


def test_page_is_of_this_version_and_has_no_broken_links():
    assert set(re.findall(r"elyra/kernel-py:(\S+)", PAGE)) == {__version__}
    for link in re.findall(r"\]\((\.\./[^)#]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link


def test_the_example_on_docker_stacks_has_the_lines_of_the_page():
    (shown,) = [block for block in blocks("dockerfile") if "image-bootstrap install" in block]
    example = (ROOT / "examples/from-docker-stacks/Dockerfile").read_text()
    assert shown.strip() in example


def test_the_check_command_prints_what_the_page_shows(run, tmp_path):
    (shown,) = [block for block in blocks("console") if "image-bootstrap check" in block]
    command, *lines = shown.splitlines()
    target = str(tmp_path / "bin")
    install = ["jupyter", "image-bootstrap", "install", "--languages", "python", "--target", target]
    assert run(install)[0] == 0
    arguments = [*shlex.split(command.removeprefix("$ ")), "--no-start", "--target", target]
    code, out, _ = run(arguments)
    assert code == 0
    levels_and_subjects = r"^((?:ok|warning|PROBLEM) +[^:]+):"
    printed = re.findall(levels_and_subjects, out, re.MULTILINE)
    # For root, a line about each user that kernels run as.
    assert list(dict.fromkeys(line.split(maxsplit=1)[1] for line in printed)) == [
        re.match(levels_and_subjects, line)[1].split(maxsplit=1)[1] for line in lines[:-1]
    ]
    for line in lines[:1] + lines[5:6]:
        assert line.replace("/usr/local/bin", target) in out


def test_example_image_is_the_one_of_the_page():
    def instructions(text):
        return [line for line in text.splitlines() if line and not line.startswith(("#", "ARG"))]

    example = (ROOT / "examples/data-sci-py/Dockerfile").read_text()
    shown = blocks("dockerfile")[0].replace(f":{__version__}", ":${VERSION}")
    assert instructions(shown) == instructions(example)
