"""`jupyter image-bootstrap check`, as a Dockerfile runs it: with real files, kernels and faults."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from bootstrapped import as_another_user
from launched import LAUNCHERS, environment

from gateway_provisioners.cli.image import inspection
from timeouts import TIMEOUT_SECONDS

PROGRAMS = Path(sys.executable).parent
FORTY_LINES = next(
    block
    for block in re.findall(
        r"^```python\n(.*?)^```$",
        (LAUNCHERS.parent / "docs/write-a-launcher.md").read_text(),
        flags=re.MULTILINE | re.DOTALL,
    )
    if block.startswith("#!")
)


# Its ports are free until the kernel binds them, whatever other processes do.
OWN_NETWORK = (
    "unshare",
    "--net",
    *(() if os.geteuid() == 0 else ("--user", "--map-root-user")),
    *("sh", "-c", 'ip link set lo up && exec "$@"', "sh"),
)


def run(*command, path=PROGRAMS, **variables):
    search = f"{path}{os.pathsep}/usr/bin{os.pathsep}/bin"
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
        env={**environment(**variables), "PATH": search},
    )


class Image:
    """An image's /usr/local/bin."""

    def __init__(self, folder):
        self.folder = folder
        self.launchers = folder / "kernel-launchers"
        self.bootstrap = folder / "bootstrap-kernel.sh"

    def own_launcher(self, language, text):
        path = self.launchers / language / "launch"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def check(self, *options, path=PROGRAMS, wrapper=(), **variables):
        """The exit code, and every line as its level, what it is about, and its text."""
        command = ("image-bootstrap", "check", "--target", str(self.folder), *options)
        jupyter = (sys.executable, "-m", "jupyter", *command)
        done = run(*OWN_NETWORK, *wrapper, *jupyter, path=path, **variables)
        found = re.findall(r"^(ok|warning|PROBLEM) +([^:]+): (.*)$", done.stdout, re.MULTILINE)
        return done.returncode, found, done.stdout + done.stderr

    def problems(self, *options, path=PROGRAMS):
        code, found, output = self.check(*options, path=path)
        problems = [(about, text) for level, about, text in found if level == "PROBLEM"]
        assert code == bool(problems), output
        return problems, output


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image") / "bin"
    command = ("image-bootstrap", "install", "--languages", "python", "--target", str(folder))
    assert run(sys.executable, "-m", "jupyter", *command).returncode == 0
    return folder


@pytest.fixture
def image(installed, tmp_path):
    """An image after `image-bootstrap install`, for one test to modify."""
    return Image(Path(shutil.copytree(installed, tmp_path / "bin")))


def test_an_image_that_works(image):
    code, found, output = image.check()
    assert code == 0, output
    assert output.endswith("Kernels can run here: python.\n")
    texts = [text for level, about, text in found if about == "python kernel" and level == "ok"]
    assert texts == [
        "it reported, in version 2 of the protocol",
        "its channels are encrypted",
        "its six ports can be reached and are within PORT_RANGE",
        "`1 + 1` is 2",
        "an endless loop can be interrupted",
        "it ends when it is asked to, with exit code 0",
    ]
    [runtime] = [text for _, about, text in found if about == "python runtime"]
    assert re.search(r"is Python 3\.\d+\.\d+ with ipykernel \d+\.\S+; its channels can be", runtime)


def test_no_start_checks_files_and_programs_only(image):
    code, found, _ = image.check("--no-start")
    assert code == 0
    assert not [about for _, about, _ in found if about == "python kernel"]


def test_a_build_in_which_root_is_the_only_user(image):
    """As rootless builders make it that have no range of user ids."""
    wrapper = ("unshare", "--user", "--map-root-user")
    code, found, output = image.check("--no-start", wrapper=wrapper)
    assert code == 0, output
    [account] = [text for _, about, text in found if about == "account"]
    assert account.startswith("this build has no other users than root")


def test_an_image_without_an_account_and_a_home_for_its_user(image, tmp_path):
    passwd = tmp_path / "passwd"
    passwd.write_text("root:x:0:0::/root:/bin/sh\n")
    passwd.chmod(0o444)
    # Not pytest's: sockets have short paths.
    with tempfile.TemporaryDirectory() as temporary:
        places = {"HOME": "/", "TMPDIR": temporary}
        code, found, output = image.check(wrapper=as_another_user(passwd), **places)
    assert code == 0, output
    warnings = [(about, text) for level, about, text in found if level == "warning"]
    assert [(about, text.partition(":")[0]) for about, text in warnings] == [
        ("account", "1000970000 has none"),
        ("home", "/ cannot be written to by 1000970000"),
        ("python kernel", f"HOME is {temporary}/home-1000970000, because '/' cannot be written to"),
        ("python kernel", "user 1000970000 has no account in this image"),
    ]
    passwd.chmod(0o664)
    _, found, _ = image.check("--no-start", wrapper=as_another_user(passwd), HOME=str(tmp_path))
    assert (
        "ok",
        "account",
        "1000970000 has none; bootstrap-kernel.sh adds one to /etc/passwd",
    ) in found
    assert ("ok", "home", f"{tmp_path} can be written to by 1000970000:0") in found


def test_variables_that_change_every_python(image):
    _, found, _ = image.check("--no-start", PYTHONWARNINGS="error", LD_PRELOAD="/usr/lib/libc.so.6")
    warned = [text.partition(":")[0] for _, about, text in found if about == "environment"]
    assert warned == ["PYTHONWARNINGS=error", "LD_PRELOAD=/usr/lib/libc.so.6"]


def test_an_image_without_bash(image, monkeypatch):
    monkeypatch.setattr(inspection, "BASH", "/nonexistent/bash")
    [finding] = inspection.bash()
    assert str(finding).startswith(
        "PROBLEM  bash: bootstrap-kernel.sh needs /nonexistent/bash, which is"
    )


def test_an_empty_image(tmp_path):
    problems, output = Image(tmp_path).problems()
    assert problems == [
        (
            "bootstrap-kernel.sh",
            f"there is no {tmp_path}/bootstrap-kernel.sh: RUN jupyter image-bootstrap install",
        ),
        (
            "launchers",
            (
                f"{tmp_path}/kernel-launchers has no launcher:"
                " for Python, RUN jupyter image-bootstrap install --languages python"
            ),
        ),
    ]
    assert output.endswith("2 problems: kernels cannot run in this image as it is.\n")


def test_a_script_that_is_not_executable(image):
    image.bootstrap.chmod(0o644)
    advice = f"{image.bootstrap} is not executable: chmod 0755 {image.bootstrap}"
    assert image.problems()[0] == [("bootstrap-kernel.sh", advice)]


def test_a_difference_from_the_package_is_a_warning(image):
    image.bootstrap.write_text(image.bootstrap.read_text() + "# changed\n")
    script = image.launchers / "python/scripts/launch_ipykernel.py"
    script.write_text(script.read_text() + "# changed\n")
    code, found, _ = image.check()
    assert code == 0
    warnings = {about: text for level, about, text in found if level == "warning"}
    for about in ("bootstrap-kernel.sh", "python launcher"):
        assert "is not the one of gateway_provisioners" in warnings[about]
        assert warnings[about].endswith(", unless it is your own")


def test_a_language_without_launcher_and_runtime(image, tmp_path):
    problems, _ = image.problems("--languages", "r")
    assert problems[0] == (
        "r launcher",
        f"there is no launcher in {image.launchers}: RUN jupyter image-bootstrap install --languages r",
    )
    assert problems[1][0] == "r runtime"
    problems, _ = image.problems("--languages", "cobol")
    assert problems == [
        (
            "cobol launcher",
            (
                f"there is no launcher in {image.launchers}:"
                f" docs/write-a-launcher.md explains how to write {image.launchers}/cobol/launch"
            ),
        )
    ]


def test_a_launcher_that_only_its_owner_can_read(image):
    script = image.launchers / "python/scripts/kernel_launcher/wire.py"
    script.chmod(0o600)
    advice = (
        f"users other than its owner cannot read {script}: chmod -R a+rX {image.launchers}/python"
    )
    assert image.problems()[0] == [("python launcher", advice)]


def test_a_python_without_ipykernel(image, tmp_path):
    programs = tmp_path / "programs"
    programs.mkdir()
    python = programs / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    [(about, text)] = image.problems(path=programs)[0]
    assert about == "python runtime"
    assert text == (
        f"ipykernel cannot be imported by {python} (ModuleNotFoundError: No module named 'ipykernel'):"
        f" {python} -m pip install ipykernel"
    )


def test_a_launcher_that_fails_is_reported_with_its_output(image):
    words = "echo $KERNEL_LAUNCH_KEY; echo the punched cards are wet >&2"
    image.own_launcher("cobol", f"#!/bin/sh\n{words}\nexit 69\n")
    [(about, text)], output = image.problems("--languages", "cobol")
    assert about == "cobol kernel"
    assert text.startswith("it ended with exit code 69 before it reported")
    assert "| (KERNEL_LAUNCH_KEY)\n" in output
    assert "| the punched cards are wet\n" in output


def test_a_launcher_that_never_reports(image):
    image.own_launcher("cobol", "#!/bin/sh\nexec sleep 600\n")
    [(_, text)], _ = image.problems("--languages", "cobol", "--timeout", "1")
    assert text == "it did not report within 1 seconds. It printed nothing."


def test_a_launcher_of_version_1_that_ignores_the_port_range(image):
    """The forty lines of docs/write-a-launcher.md."""
    image.own_launcher("forty-lines", FORTY_LINES)
    code, found, output = image.check("--languages", "forty-lines")
    assert code == 0, output
    kernel = [(level, text) for level, about, text in found if about == "forty-lines kernel"]
    assert [text.partition(":")[0] for level, text in kernel if level == "warning"] == [
        "it reported, in version 1 of the protocol",
        "its channels are not encrypted",
        "PORT_RANGE was 20000..29999; it opened " + re.search(r"it opened (.*)", str(output))[1],
    ]
    assert [text for level, text in kernel if level == "ok"] == [
        "it answers on its channels",
        "it survives an interrupt",
        "it ends when it is asked to, with exit code 0",
    ]


def test_a_launcher_that_reports_a_port_where_nothing_listens(image):
    wrong = FORTY_LINES.replace('"kernel_id": os.', '"comm_port": 9, "kernel_id": os.')
    image.own_launcher("deaf", wrong)
    [(about, text)], _ = image.problems("--languages", "deaf")
    assert about == "deaf kernel"
    assert text.startswith("it reported comm_port 9, but nothing listens there")


def test_the_pages_launcher_ends_with_a_kernel_that_does_not_start(image):
    image.own_launcher("broken", FORTY_LINES.replace("ipykernel_launcher", "no_such_module"))
    [(about, text)], _ = image.problems("--languages", "broken")
    assert about == "broken kernel"
    assert text.startswith("it ended with exit code 1 before it reported")


def test_a_launcher_that_reports_another_key_than_the_kernels(image):
    wrong = FORTY_LINES.replace("sendall(report(info,", 'sendall(report({**info, "key": "0" * 64},')
    image.own_launcher("stranger", wrong)
    [(_, text)], _ = image.problems("--languages", "stranger", "--timeout", "3")
    assert text == "it reported, but does not answer a kernel_info_request on its channels."


def test_a_launcher_that_forwards_no_signal(image):
    deaf = FORTY_LINES.replace("os.killpg(kernel.pid, json.", "print(json.")
    (image.launchers / "python/scripts/launch_ipykernel.py").write_text(deaf)
    [(_, text)], _ = image.problems("--languages", "python", "--timeout", "3")
    assert text.startswith("an interrupt does not stop running code.")


def test_a_launcher_that_prints_a_key(image):
    script = image.launchers / "python/scripts/launch_ipykernel.py"
    image.own_launcher(
        "chatty",
        # Without a fresh key, the launch key is good for commands.
        '#!/bin/sh\nunset KERNEL_GATEWAY_FEATURES\necho "my key is $KERNEL_LAUNCH_KEY"\n'
        f'exec python {script} --kernel-id "$KERNEL_ID" --response-address "$RESPONSE_ADDRESS"'
        ' --public-key "$PUBLIC_KEY" --port-range "$PORT_RANGE"\n',
    )
    [(about, text)], output = image.problems("--languages", "chatty")
    assert about == "chatty kernel"
    assert text.startswith("its log contains a key of the kernel")
    assert "my key is" not in output


def test_an_invalid_language_name(image):
    code, _, output = image.check("--languages", "../python")
    assert code == 2
    assert "--languages: '../python' is not a valid language name." in output
