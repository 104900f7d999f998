"""`jupyter image-bootstrap`: output, files in the image, and refusals."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_provisioners.cli import install_files
from gateway_provisioners.cli.image.bootstrap import ImageBootstrap

# Word for word from the documentation that users of Gateway Provisioners know.
PAGE_OUTPUT = """\
[ImageBootstrapInstaller] Kernel-launcher files have been copied to {target}/kernel-launchers \
for the following languages: ['python', 'r'].
[ImageBootstrapInstaller] bootstrap-kernel.sh has been copied to {target}.
[ImageBootstrapInstaller] The CMD entry in the Dockerfile should be updated to: \
CMD {target}/bootstrap-kernel.sh
"""


@pytest.fixture
def launchers(tmp_path):
    """A package folder with launchers for python and r, and files that no image needs."""
    folder = tmp_path / "launchers"
    for name, content in {
        "bootstrap-kernel.sh": "#!/bin/bash\n",
        "python/scripts/launch_ipykernel.py": "print()\n",
        "python/scripts/kernel/part.py": "pass\n",
        "python/README.md": "words\n",
        "python/scripts/__pycache__/launch_ipykernel.pyc": "bytes\n",
        "python/scripts/tests/test_it.py": "pass\n",
        "python/scripts/.mypy_cache/3.10/cache.json": "{}",
        "r/scripts/launch_IRkernel.R": "quit()\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.fixture
def install(launchers, tmp_path, run_cli):
    """Run the command in this process; return (exit code, stderr)."""
    target = tmp_path / "bin"

    def run(*arguments, source=launchers):
        return run_cli(
            ImageBootstrap,
            [
                "install",
                f"--ImageBootstrapInstaller.source={source}",
                f"--target={target}",
                *arguments,
            ],
        )

    run.target = target
    return run


def tree(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_output_is_the_documented_one(install):
    code, err = install("--languages", "python", "--languages", "r")
    assert (code, err) == (0, PAGE_OUTPUT.format(target=install.target))


def test_default_target_is_usr_local_bin(launchers, run_cli, monkeypatch):
    written = []
    for writer in ("install_folder", "install_file"):
        monkeypatch.setattr(install_files, writer, lambda path, _: written.append(str(path)))
    arguments = ["install", f"--ImageBootstrapInstaller.source={launchers}"]
    code, err = run_cli(ImageBootstrap, arguments)
    assert (code, err) == (0, PAGE_OUTPUT.format(target="/usr/local/bin"))
    assert written == [
        "/usr/local/bin/kernel-launchers/python",
        "/usr/local/bin/kernel-launchers/R",
        "/usr/local/bin/bootstrap-kernel.sh",
    ]


def test_installs_the_folders_that_existing_dockerfiles_expect(install):
    assert install()[0] == 0
    assert tree(install.target) == {
        "bootstrap-kernel.sh": "#!/bin/bash\n",
        "kernel-launchers/python/scripts/launch_ipykernel.py": "print()\n",
        "kernel-launchers/python/scripts/kernel/part.py": "pass\n",
        "kernel-launchers/R/scripts/launch_IRkernel.R": "quit()\n",
    }


def test_any_user_may_read_and_run_what_is_installed(install, restrictive_umask):
    assert install()[0] == 0
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in install.target.rglob("*")}
    assert modes["bootstrap-kernel.sh"] == 0o755
    assert modes["launch_ipykernel.py"] == 0o644
    assert {modes[name] for name in ("kernel-launchers", "python", "scripts", "kernel")} == {0o755}


def test_second_install_replaces_the_first(install):
    assert install()[0] == 0
    stale = install.target / "kernel-launchers/python/scripts/of_an_older_release.py"
    stale.write_text("")
    assert install("--languages", "Python")[0] == 0
    assert not stale.exists()
    assert (install.target / "kernel-launchers/R/scripts/launch_IRkernel.R").exists()


def test_scala_is_a_jar_without_its_sources(install, launchers):
    for name in ("lib/toree-launcher.jar", "lib/.toree-launcher.inputs", "pom.xml", "target/a.jar"):
        path = launchers / "scala" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("bytes\n")
    assert install("--languages", "scala", "--launchers-only")[0] == 0
    assert set(tree(install.target)) == {"kernel-launchers/scala/lib/toree-launcher.jar"}


def test_launchers_only(install):
    code, err = install("--languages", "python", "--launchers-only")
    assert code == 0
    assert len(err.splitlines()) == 1
    assert set(tree(install.target)) == {
        "kernel-launchers/python/scripts/launch_ipykernel.py",
        "kernel-launchers/python/scripts/kernel/part.py",
    }


def test_dry_run_writes_nothing(install):
    code, err = install("--dry-run")
    assert code == 0
    assert f"would be copied to {install.target}" in err
    assert not install.target.exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["--languages", "perl"],
            (
                "'perl' is not supported; use python, r, scala."
                " A launcher of your own belongs in kernel-launchers/perl/launch."
            ),
        ),
        (
            ["--bootstrap-only", "--languages", "python"],
            "--bootstrap-only excludes --launchers-only",
        ),
        (["--bootstrap-only", "--launchers-only"], "--bootstrap-only excludes --launchers-only"),
        (
            ["--languages", "scala"],
            "it has launchers for python, r. In a checkout, python -m ci.scala_launcher builds it.",
        ),
        (["--languages", "python", "r"], "Unexpected argument 'r'"),
        (["--language", "python"], "Unknown option --language;"),
        (["--languages"], "--languages: expected one argument"),
        (["--config", "missing.py"], "--config: there is no file missing.py."),
    ],
)
def test_refuses_wrong_options_before_writing(install, arguments, reason):
    code, err = install(*arguments)
    assert code == 2
    assert reason in err
    assert len(err.splitlines()) == 1
    assert not install.target.exists()


def test_bootstrap_only_is_for_images_with_their_own_launchers(install):
    own = install.target / "kernel-launchers/perl/launch"
    own.parent.mkdir(parents=True)
    own.write_text("#!/usr/bin/perl\n")
    code, err = install("--bootstrap-only")
    assert (code, err.splitlines()) == (
        0,
        PAGE_OUTPUT.format(target=install.target).splitlines()[1:],
    )
    assert set(tree(install.target)) == {"bootstrap-kernel.sh", "kernel-launchers/perl/launch"}


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_unwritable_target_is_one_line_before_anything_is_written(install, options):
    install.target.write_text("a file where the folder should be")
    code, err = install(*options)
    assert code == 1
    assert err == (
        f"[ImageBootstrapInstaller] ERROR | Cannot write {install.target}: {install.target} is not a folder."
        " Choose another folder, or do this as a user who may write there.\n"
    )


@pytest.mark.parametrize("language", ["python", "r"])
def test_a_missing_runtime_is_refused_only_if_it_is_required(
    install, language, monkeypatch, tmp_path
):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    code, err = install("--languages", language, "--require-runtime")
    program = {"python": "python3", "r": "Rscript"}[language]
    assert code == 1
    assert f"Nothing was installed. {language}: {program} is not in PATH: install" in err
    assert len(err.splitlines()) == 1
    assert not install.target.exists()
    assert install("--languages", language)[0] == 0


def test_an_installed_runtime_does_not_change_the_output(install, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    code, err = install("--languages", "python", "--require-runtime")
    assert (code, err) == (0, PAGE_OUTPUT.format(target=install.target).replace(", 'r'", ""))


def test_package_without_bootstrap_script_writes_nothing(install, launchers):
    (launchers / "bootstrap-kernel.sh").unlink()
    code, err = install()
    assert code == 1
    assert "no bootstrap-kernel.sh in" in err
    assert not install.target.exists()


def test_no_or_wrong_subcommand(run_cli):
    for arguments in ([], ["remove"]):
        code, err = run_cli(ImageBootstrap, arguments)
        assert code == 2
        assert "use: jupyter image-bootstrap install | check" in err


def test_as_a_program(launchers, tmp_path):
    """The installed entry point, in its own process, found by `jupyter`."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "jupyter", "image-bootstrap", "install"),
            *("--languages", "python", "--languages", "r", "--target", str(tmp_path / "bin")),
            f"--ImageBootstrapInstaller.source={launchers}",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == PAGE_OUTPUT.format(target=tmp_path / "bin")
