"""`jupyter k8s-spec`: the kernelspec, its folder, and refusals."""

import json
import subprocess
import sys

import pytest

from gateway_provisioners import __version__
from gateway_provisioners.cli import install_files
from gateway_provisioners.cli.specs.kubernetes import K8sSpec

# The documented kernel.json for PAGE_COMMAND, in json's usual indentation.
PAGE_COMMAND = [
    "install",
    *("--image-name", "acme/data-sci-py:2.0"),
    *("--kernel-name", "data_sci_py"),
    *("--display-name", "Data Science 2.0"),
]
PAGE_KERNEL_JSON = """\
{
  "argv": [
    "python",
    "/usr/local/share/jupyter/kernels/data_sci_py/scripts/launch_kubernetes.py",
    "--kernel-id",
    "{kernel_id}",
    "--port-range",
    "{port_range}",
    "--response-address",
    "{response_address}",
    "--public-key",
    "{public_key}",
    "--kernel-class-name",
    "ipykernel.ipkernel.IPythonKernel"
  ],
  "env": {},
  "display_name": "Data Science 2.0",
  "language": "python",
  "interrupt_mode": "signal",
  "metadata": {
    "debugger": true,
    "kernel_provisioner": {
      "provisioner_name": "kubernetes-provisioner",
      "config": {
        "image_name": "acme/data-sci-py:2.0",
        "launch_timeout": 30
      }
    }
  }
}
"""


@pytest.fixture
def kernels(tmp_path):
    return tmp_path / "env" / "share" / "jupyter" / "kernels"


@pytest.fixture
def install(run_cli, tmp_path):
    """Run `install` into a prefix of this test; return (exit code, stderr)."""

    def run(*arguments):
        return run_cli(K8sSpec, ["install", "--prefix", str(tmp_path / "env"), *arguments])

    return run


@pytest.fixture
def kernel_json(install, kernels):
    def run(*arguments, name="k8s_python"):
        code, err = install(*arguments)
        assert code == 0, err
        return json.loads((kernels / name / "kernel.json").read_text())

    return run


def provisioner_config(content):
    return content["metadata"]["kernel_provisioner"]["config"]


def test_documented_command_makes_the_documented_kernel_json(run_cli, monkeypatch):
    """Check content and folder without writing to the system's folder."""
    installed = {}
    monkeypatch.setattr(
        install_files, "install_folder", lambda folder, files: installed.update({folder: files})
    )
    code, err = run_cli(K8sSpec, PAGE_COMMAND)
    folder = "/usr/local/share/jupyter/kernels/data_sci_py"
    assert (code, err) == (0, f"[K8sSpecInstaller] Installed kernelspec data_sci_py in {folder}\n")
    ((place, files),) = installed.items()
    assert str(place) == folder
    assert files["kernel.json"].content.decode() == PAGE_KERNEL_JSON


def test_documented_command_as_a_program(tmp_path):
    """The installed entry point, in its own process, found by `jupyter`."""
    done = subprocess.run(
        [sys.executable, "-m", "jupyter", "k8s-spec", *PAGE_COMMAND, "--prefix", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "")
    written = (tmp_path / "share/jupyter/kernels/data_sci_py/kernel.json").read_text()
    assert written == PAGE_KERNEL_JSON.replace("/usr/local", str(tmp_path))


def test_files_of_a_kernelspec(install, kernels, restrictive_umask):
    code, _ = install()
    assert code == 0
    modes = {
        str(path.relative_to(kernels)): path.stat().st_mode & 0o777 for path in kernels.rglob("*")
    }
    assert modes == {
        "k8s_python": 0o755,
        "k8s_python/kernel.json": 0o644,
        "k8s_python/logo-svg.svg": 0o644,
        "k8s_python/scripts": 0o755,
        "k8s_python/scripts/launch_kubernetes.py": 0o644,
    }


@pytest.mark.parametrize(
    ("language", "name", "display_name", "in_json", "image"),
    [
        ("Python", "k8s_python", "Kubernetes Python", "python", "elyra/kernel-py"),
        ("R", "k8s_r", "Kubernetes R", "R", "elyra/kernel-r"),
        ("scala", "k8s_scala", "Kubernetes Scala", "scala", "elyra/kernel-scala"),
    ],
)
def test_defaults_of_each_language(kernel_json, language, name, display_name, in_json, image):
    content = kernel_json("--language", language, name=name)
    assert (content["display_name"], content["language"]) == (display_name, in_json)
    assert provisioner_config(content) == {
        "image_name": f"{image}:{__version__}",
        "launch_timeout": 30,
    }


@pytest.mark.parametrize("language", ["r", "scala"])
def test_only_python_has_a_debugger_and_a_kernel_class(kernel_json, language):
    content = kernel_json("--language", language, name=f"k8s_{language}")
    assert list(content["metadata"]) == ["kernel_provisioner"]
    assert content["argv"][-2:] == ["--public-key", "{public_key}"]


def test_a_language_that_the_image_adds(kernel_json):
    image = "acme/bash-kernel:1.0"
    content = kernel_json("--language", "Bash", "--image-name", image, name="k8s_bash")
    assert (content["display_name"], content["language"]) == ("Kubernetes Bash", "bash")
    assert list(content["metadata"]) == ["kernel_provisioner"]
    assert content["argv"][-2:] == ["--public-key", "{public_key}"]


def test_options_that_differ_from_the_defaults_are_recorded(kernel_json):
    content = kernel_json(
        *("--authorized-users", "alice", "--authorized-users", "bob"),
        *("--unauthorized-users", "root", "--unauthorized-users", "eve"),
        *("--port-range", "40000..41000", "--launch-timeout", "120"),
        *("--ipykernel-subclass-name", "acme.kernels.Traced", "--spark-init-mode", "lazy"),
        *("--image-name", "registry.acme.example:5000/ds/py@sha256:" + "0a" * 32),
        *("--executor-image-name", "acme/executor:2.0"),
    )
    assert list(provisioner_config(content).items()) == [
        ("image_name", "registry.acme.example:5000/ds/py@sha256:" + "0a" * 32),
        ("executor_image_name", "acme/executor:2.0"),
        ("authorized_users", ["alice", "bob"]),
        ("unauthorized_users", ["root", "eve"]),
        ("port_range", "40000..41000"),
        ("launch_timeout", 120),
    ]
    assert content["argv"][-4:] == [
        *("--spark-context-initialization-mode", "lazy"),
        *("--kernel-class-name", "acme.kernels.Traced"),
    ]


def test_explicit_defaults_make_the_same_kernel_json(kernel_json):
    spelled_out = kernel_json(
        *("--unauthorized-users", "root", "--port-range", "0..0", "--launch-timeout", "30"),
        *("--ipykernel-subclass-name", "ipykernel.ipkernel.IPythonKernel", "--language", "python"),
    )
    assert spelled_out == kernel_json("--replace")


def test_config_file(kernel_json, tmp_path):
    settings = tmp_path / "settings.py"
    settings.write_text("c.K8sSpecInstaller.image_name = 'acme/from-config:1'\n")
    content = kernel_json("--config", str(settings))
    assert provisioner_config(content)["image_name"] == "acme/from-config:1"


def test_jupyter_finds_the_kernel(kernel_json, monkeypatch, tmp_path):
    kernel_json("--kernel-name", "Data_Sci", name="data_sci")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "env/share/jupyter"))
    from jupyter_client.kernelspec import KernelSpecManager

    spec = KernelSpecManager().get_kernel_spec("data_sci")
    assert spec.argv[1] == str(
        tmp_path / "env/share/jupyter/kernels/data_sci/scripts/launch_kubernetes.py"
    )


@pytest.mark.parametrize(
    ("flags", "place"),
    [
        (["--user"], "jupyter_data_dir/kernels"),
        (["--prefix", "env"], "env/share/jupyter/kernels"),
    ],
)
def test_folder_of_the_kernelspec(run_cli, tmp_path, flags, place):
    code, _ = run_cli(K8sSpec, ["install", *flags])
    assert code == 0
    assert (tmp_path / place / "k8s_python" / "kernel.json").is_file()


def test_sys_prefix_is_this_environment(run_cli, monkeypatch):
    installed = []
    monkeypatch.setattr(install_files, "install_folder", lambda folder, _: installed.append(folder))
    code, _ = run_cli(K8sSpec, ["install", "--sys-prefix"])
    assert code == 0
    assert [str(folder) for folder in installed] == [
        f"{sys.prefix}/share/jupyter/kernels/k8s_python"
    ]


def test_warns_when_jupyter_does_not_search_the_folder(install, kernels):
    _, err = install()
    assert f"WARNING | Jupyter does not look for kernels in {kernels} here" in err


# An option, a wrong value, and the message about it.
REFUSALS = [
    ("--kernel-name", "data sci", "'data sci' is not a valid kernelspec name"),
    ("--kernel-name", "data sci", "use lower-case letters, digits and . _ -, as in data_sci."),
    ("--kernel-name", "../../evil", "'../../evil' is not a valid"),
    ("--kernel-name", ".hidden", "'.hidden' is not a valid"),
    ("--display-name", "  ", "'  ' must be non-empty printable text."),
    ("--display-name", "a\nb", r"'a\nb' must be non-empty"),
    (
        "--language",
        "bash",
        "; set --image-name to one with a launcher for 'bash'",
    ),
    (
        "--language",
        "../bash",
        "'../bash' is not a valid language name; use a letter, then up to 31",
    ),
    ("--language", "", "'' is not a valid language name"),
    ("--image-name", "acme/Data:1", "'acme/Data:1' is not a valid image name; use the form"),
    ("--image-name", "acme/data sci", "'acme/data sci' is not a valid image name"),
    ("--image-name", "acme/data:", "'acme/data:' is not a valid image name"),
    ("--image-name", "acme/data@sha256:00", "'acme/data@sha256:00' is not a valid image name"),
    ("--executor-image-name", "https://acme/x", "'https://acme/x' is not a valid image name"),
    ("--launch-timeout", "0", "0 must be a whole number of seconds above 0."),
    ("--launch-timeout", "soon", "'soon' must be a whole number of seconds above 0."),
    ("--port-range", "40000", "'40000' is not of the form <lowest>..<highest>"),
    ("--port-range", "40000..40999", "'40000..40999' is too small; use a range of at least 1000"),
    ("--port-range", "41000..40000", "'41000..40000' is too small"),
    ("--port-range", "1000..3000", "'1000..3000' is outside the allowed range 1024-65535"),
    ("--port-range", "60000..70000", "'60000..70000' is outside the allowed range"),
    ("--ipykernel-subclass-name", "Kernel", "'Kernel' is not the dotted path of a class"),
    ("--ipykernel-subclass-name", "os.system()", "'os.system()' is not the dotted path"),
    ("--spark-init-mode", "often", "'often' must be one of: none, lazy, eager."),
    ("--authorized-users", "alice,bob", "'alice,bob' is not a valid user name; repeat the option"),
    ("--authorized-users", "root", "'root' is also in --unauthorized-users;"),
    ("--unauthorized-users", "", "'' is not a valid user name"),
    ("--config", "gone.py", "there is no file gone.py."),
]


def refused(install, kernels, *arguments):
    """Check that nothing was written, and return the line with the reason."""
    code, err = install(*arguments)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert not kernels.exists()
    return err.removeprefix("[K8sSpecInstaller] ERROR | ")


@pytest.mark.parametrize(("option", "value", "reason"), REFUSALS)
def test_refuses_wrong_values_before_writing(install, kernels, option, value, reason):
    line = refused(install, kernels, option, value)
    assert line.startswith(f"{option}: ")
    assert reason in line


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--user"], "--user and --prefix (or --sys-prefix) exclude each other."),
        (["--image", "acme/x"], "Unknown option --image; --help lists the options."),
        (["data_sci"], "Unexpected argument 'data_sci'; --help lists the options."),
        (
            ["--language=R", "--ipykernel-subclass-name=a.B"],
            "--ipykernel-subclass-name: only Python kernels use ipykernel; remove the option.",
        ),
    ],
)
def test_refuses_conflicting_options(install, kernels, arguments, reason):
    assert refused(install, kernels, *arguments) == reason + "\n"


def test_reports_every_problem_at_once(install):
    code, err = install("--language", "perl", "--port-range", "1..2", "--launch-timeout", "-1")
    assert code == 2
    options = [line.split(" | ")[1].split(":")[0] for line in err.splitlines()]
    assert options == ["--language", "--launch-timeout", "--port-range"]


def test_existing_kernelspec_needs_replace(install, kernels):
    assert install("--display-name", "First")[0] == 0
    code, err = install("--display-name", "Second")
    assert code == 2
    assert (
        f"There is already a kernelspec at {kernels}/k8s_python; use --replace to replace it."
        in err
    )
    assert "First" in (kernels / "k8s_python/kernel.json").read_text()


def test_replace_leaves_nothing_of_the_old_kernelspec(install, kernels):
    assert install("--display-name", "First")[0] == 0
    (kernels / "k8s_python/kernel.js").write_text("of the old one")
    assert install("--display-name", "Second", "--replace")[0] == 0
    assert "Second" in (kernels / "k8s_python/kernel.json").read_text()
    assert not (kernels / "k8s_python/kernel.js").exists()
    assert [path.name for path in kernels.iterdir()] == ["k8s_python"]


def test_no_permission_is_one_line(install, tmp_path):
    (tmp_path / "env").write_text("a file where the folder should be")
    code, err = install()
    assert code == 1
    assert err.startswith(f"[K8sSpecInstaller] ERROR | Cannot write {tmp_path}/env/share/")
    assert len(err.splitlines()) == 1
