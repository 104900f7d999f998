"""Kernels in what images, kernelspecs and clusters bring: they work, or one line says why not."""

import asyncio
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from bootstrapped import SYSTEM, Failed, as_another_user, kernel_of
from launched import LAUNCHERS, run, value

VENVS = {
    # Without cryptography, which ipykernel does not need.
    "only ipykernel": ["ipykernel>=7.3"],
    "ipykernel 6": ["ipykernel==6.29.5"],
    "ipykernel 5": ["ipykernel==5.5.6", "ipython<8"],
}


@pytest.fixture
def image(tmp_path):
    """An image's /usr/local/bin, and a home."""
    directory = tmp_path / "usr local" / "bin"
    directory.mkdir(parents=True)
    shutil.copy(LAUNCHERS / "bootstrap-kernel.sh", directory)
    (tmp_path / "home").mkdir()
    return directory


async def works(image, server, wrapper=(), **variables):
    """Check that a kernel starts, computes and ends on SIGTERM; gives its log."""
    given = {"HOME": str(image.parents[1] / "home"), **variables}
    async with kernel_of(image, server, wrapper, **given) as kernel:
        assert (await value(kernel.client, "6 * 7")).startswith("42")  # PYTHONVERBOSE adds to it
        kernel.process.terminate()
        assert await kernel.exit_code() == 143, kernel.log()
        return kernel.log()


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
        {"PYTHONOPTIMIZE": "2", "PYTHONBREAKPOINT": "0", "PYTHONHASHSEED": "0"},
        {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LANG": "C", "LC_ALL": "C"},
        {"PYTHONWARNINGS": "error"},
        {"PYTHONINSPECT": "1", "PYTHONSTARTUP": "/nonexistent"},
        {"PYTHONVERBOSE": "1", "PYTHONPROFILEIMPORTTIME": "1"},
        {"PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "1", "PYTHONMALLOC": "debug"},
        {"PYTHONIOENCODING": "ascii", "TZ": "Nowhere/Nothing", "LC_ALL": "tr_TR.UTF-8"},
        {"LD_PRELOAD": "/nonexistent.so", "LD_LIBRARY_PATH": "/nonexistent"},
        {"TMPDIR": "/nonexistent"},
    ],
    ids=lambda variables: next(iter(variables)),
)
async def test_variables_that_change_programs(image, server, variables):
    await works(image, server, **variables)


@pytest.mark.parametrize("limit", ["umask 077", "ulimit -n 128", "ulimit -c 0"])
async def test_limits_of_the_process(image, server, limit):
    await works(image, server, ("bash", "-c", f'{limit}; exec "$@"', "bash"))


@pytest.mark.parametrize(
    ("variables", "limit", "code", "said"),
    [
        (
            {"PYTHONHOME": "/nonexistent"},
            ":",
            69,
            "bootstrap-kernel: PYTHONHOME is '/nonexistent', which holds no Python: remove the variable",
        ),
        (
            {},
            "ulimit -n 16",
            69,
            "launch_ipykernel: the launcher cannot be loaded: [Errno 24] Too many",
        ),
        ({}, "umask 777", 70, "launch_ipykernel: the kernel could not be started: PermissionError"),
    ],
)
async def test_what_does_not_work_is_said_in_one_line(image, server, variables, limit, code, said):
    with pytest.raises(Failed) as failed:
        await works(image, server, (*UNPRIVILEGED, f'{limit}; exec "$@"', "bash"), **variables)
    exit_code, log = failed.value.args
    assert (exit_code, log.splitlines()[-1][: len(said)]) == (code, said)


# Without the rights of root, to which permissions do not apply.
UNPRIVILEGED = ("unshare", "--user", "--map-user=1000", "bash", "-c")


@pytest.mark.parametrize("safe", ["", "1"])
async def test_safe_path_keeps_the_notebooks_folder_out(image, server, safe):
    """PYTHONSAFEPATH, which hardened images set."""
    home = str(image.parents[1] / "home")
    (image / "beside.py").touch()  # in the kernel's folder
    async with kernel_of(image, server, HOME=home, PYTHONSAFEPATH=safe) as kernel:
        content, _ = await run(kernel.client, "import beside")
        assert content["status"] == ("error" if safe else "ok")
        path = await value(kernel.client, "__import__('sys').path")
        assert "kernel-launchers" not in path
        assert ("''" in path) == (not safe)
        content, _ = await run(kernel.client, "import kernel_launcher.kernel")
        assert content["status"] == "ok"  # loaded already, before the path was closed


async def test_modules_named_as_the_launchers_own(image, server, tmp_path):
    modules = tmp_path / "modules"
    for name in ("kernel_launcher", "wire", "ports", "relay"):
        (modules / name).mkdir(parents=True)
        (modules / name / "__init__.py").write_text("raise RuntimeError('the wrong one')")
    await works(image, server, PYTHONPATH=str(modules))


async def test_packages_that_a_cell_installs_for_its_user(image, server, tmp_path):
    """The environment is another user's, and the user's own folder does not exist yet."""
    passwd = tmp_path / "passwd"
    passwd.write_text("root:x:0:0::/root:/bin/sh\n")
    passwd.chmod(0o444)
    home = tmp_path / "home"
    venv = tmp_path / "venv"
    make_venv(venv, ["ipykernel>=7.3", "pip"], "--system-site-packages")
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as files:
        files.writestr("tiny.py", "")
        files.writestr(
            "tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
        )
        files.writestr(
            "tiny-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        files.writestr("tiny-1.0.dist-info/RECORD", "")
    [packages] = venv.glob("lib/python3*/site-packages")
    packages.chmod(0o555)
    async with kernel_of(
        image, server, as_another_user(passwd), path=f"{venv}/bin:{SYSTEM}", HOME=str(home)
    ) as kernel:
        path = await value(kernel.client, "__import__('sys').path")
        users = f"{home}/.local/lib/{packages.parent.name}/site-packages"
        assert path.index(users) < path.index(str(packages))
        content, _ = await run(kernel.client, f"%pip install --quiet --no-index {wheel}")
        assert content["status"] == "ok", kernel.log()
        assert await value(kernel.client, "__import__('tiny').__file__") == f"{users}/tiny.py"
        assert await value(kernel.client, "__import__('getpass').getuser()") == "user1000970000"


READ_ONLY = """
for place in / /tmp /var/tmp; do ! mountpoint -q $place || mount -o bind,remount,ro $place || exit; done
mount -t tmpfs tmpfs /mnt && exec unshare --user --map-user=1000970000 -- "$@"
"""


async def test_a_read_only_root_filesystem(image, server):
    """With a folder for temporary files, and no account."""
    wrapper = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", READ_ONLY, "sh")
    async with kernel_of(image, server, wrapper, HOME="/", TMPDIR="/mnt") as kernel:
        assert (
            await value(kernel.client, "__import__('os').environ['HOME']") == "/mnt/home-1000970000"
        )
        content, _ = await run(kernel.client, "open('file', 'w')")
        assert (content["ename"], content["evalue"][:10]) == ("OSError", "[Errno 30]")
        content, _ = await run(
            kernel.client, "import pathlib; (pathlib.Path.home() / '.cache/x').mkdir(parents=True)"
        )
        assert content["status"] == "ok"


async def test_a_read_only_root_filesystem_without_temporary_files(image, server):
    wrapper = READ_ONLY.replace("mount -t tmpfs tmpfs /mnt &&", "")
    command = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", wrapper, "sh")
    with pytest.raises(Failed) as failed:
        await works(image, server, command, HOME="/")
    code, log = failed.value.args
    assert code == 70
    assert "bootstrap-kernel: HOME is '/', which cannot be written to, and neither can /tmp" in log
    assert log.splitlines()[-1].startswith(
        "launch_ipykernel: no directory can be made for the connection file"
    )


@pytest.mark.parametrize(
    "name",
    ["only ipykernel", *(pytest.param(f"ipykernel {n}", marks=pytest.mark.slow) for n in (5, 6))],
)
async def test_a_start_command_that_activates_an_environment(image, server, tmp_path, name):
    venv = tmp_path / "venv"
    make_venv(venv, VENVS[name])
    activate = f'source "{venv}/bin/activate" && exec "$@"'
    home = str(tmp_path / "home")
    wrapper = ("bash", "-c", activate, "bash")
    async with kernel_of(image, server, wrapper, path=SYSTEM, HOME=home) as kernel:
        assert await value(kernel.client, "__import__('sys').prefix") == str(venv)
        content, _ = await run(kernel.client, "import cryptography")
        assert content["ename"] == "ModuleNotFoundError"
        kernel.process.terminate()
        assert await kernel.exit_code() == 143


def make_venv(folder, packages, *options):
    uv = Path(sys.executable).parent / "uv"
    for command in (
        ["venv", "--quiet", "--python", sys.executable, *options, folder],
        ["pip", "install", "--quiet", "--python", folder / "bin/python", *packages],
    ):
        subprocess.run([uv, *command], check=True, timeout=300)


async def test_a_python_that_is_too_old_says_so(image, tmp_path):
    """Only its version is another one."""
    older = (
        "import runpy, sys; sys.version_info = (3, 9, 1, 'final', 0);"
        " runpy.run_path(sys.argv[1], run_name='__main__')"
    )
    script = LAUNCHERS / "python/scripts/launch_ipykernel.py"
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", older, script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        69,
        "launch_ipykernel: the launcher cannot be loaded: it needs Python 3.10 or later, and this is 3.9\n",
    )
