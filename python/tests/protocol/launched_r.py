"""The R launcher under test, in a container of the image that ships it: this machine has no R."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import uuid
from pathlib import Path

from launched import KERNEL_ID, Launched

from timeouts import eventually

LAUNCHER = "/usr/local/bin/kernel-launchers/R/scripts/launch_IRkernel.R"
BOOTSTRAP = "tini -s -g -- /usr/local/bin/bootstrap-kernel.sh"


class ContainerOfR:
    """A container of elyra/kernel-r.

    Args:
        command: runs the bash script that is its last argument in the container.
        folder: shared with it; all users can write to it.
    """

    def __init__(self, command, folder):
        self._command = command
        self._folder = folder

    @contextlib.contextmanager
    def launched(self, response_address, public_key, *, setup="", arguments=None, **variables):
        """Start a kernel as the image does, after `setup`; with `arguments` only the launcher, by them."""
        if arguments is None:
            variables |= {
                "KERNEL_LANGUAGE": "r",
                "KERNEL_ID": KERNEL_ID,
                "RESPONSE_ADDRESS": response_address,
                "PUBLIC_KEY": public_key,
            }
            command = BOOTSTRAP
        else:
            given = ("--kernel-id", KERNEL_ID, "--response-address", response_address)
            given += ("--public-key", public_key, *arguments)
            command = f"Rscript {LAUNCHER} {shlex.join(given)}"
        variables = {"RESPONSE_ATTEMPTS": "2", **variables}
        folder = self._folder / uuid.uuid4().hex
        folder.mkdir()
        log, pid_file, script = folder / "log", folder / "pid", folder / "script"
        # In a file, since it has secrets: every user of this machine can see command lines.
        exports = "".join(f"export {name}={shlex.quote(v)}\n" for name, v in variables.items())
        script.write_text(
            f"exec >{log} 2>&1 </dev/null\n{exports}{setup}\n"
            f"echo $$ >{pid_file}.new; mv {pid_file}.new {pid_file}\nexec {command}\n"
        )
        folder.chmod(0o777)
        engine_log = folder / "engine-log"
        with engine_log.open("wb") as engine:
            process = subprocess.Popen(
                [*self._command, f". {script}"],
                stdin=subprocess.DEVNULL,
                stdout=engine,
                stderr=engine,
                start_new_session=True,
            )
        started = LaunchedInContainer(process, log, engine_log, pid_file)
        try:
            yield started
        finally:
            started.kill()
            process.wait()

    def share(self, path):
        """Have a copy of a file or folder of ours in the container; returns its path there."""
        copy = self._folder / path.name
        if path.is_dir():
            shutil.copytree(path, copy, dirs_exist_ok=True)
        else:
            shutil.copy(path, copy)
        return copy

    def rscript(self, script, *arguments):
        """Run an R script of ours to its end; returns what it printed."""
        words = shlex.join(["Rscript", str(self.share(script)), *map(str, arguments)])
        done = subprocess.run([*self._command, words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


class LaunchedInContainer(Launched):
    """A launcher in the container; `process` is the engine's client, `pid` the container's first process."""

    def __init__(self, process, log, engine_log, pid_file):
        super().__init__(process, log)
        self._engine_log = engine_log
        self._pid_file = pid_file

    def log(self):
        """Return what the launcher has printed, or the engine where no container began."""
        return (self.stderr if self.stderr.exists() else self._engine_log).read_text()

    @property
    def pid(self):
        return int(self._pid_file.read_text())

    def terminate(self):
        """As an engine stops a container."""
        os.kill(self.pid, signal.SIGTERM)

    def kill(self):
        """Kill the container's processes; once more does no harm."""
        if self.process.poll() is not None:
            return
        all_of_them = [self.process.pid, *([self.pid] if self._pid_file.exists() else [])]
        for pid in all_of_them:
            all_of_them += children(pid)
        for pid in all_of_them:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def children(pid):
    found = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, thread.read_text().split())
    return found


async def signals_handled(pid):
    """Return when a process has handled the signals that it was sent, and waits for more work."""

    async def done():
        return is_waiting_without_signals(pid)

    await eventually(done)


def is_waiting_without_signals(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    pending = [int(status[name], 16) for name in ("SigPnd", "ShdPnd")]
    return status["State"].strip().startswith("S") and not any(pending)
