"""The process that supervises the kernel and answers the gateway.

It is not the kernel: code that holds the interpreter, fills the memory or crashes cannot keep the
gateway's commands from being carried out. It may be PID 1 of its container, which inherits orphaned
processes and has no default signal handling: it reaps, passes signals on, and ends with the
kernel's exit code.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import selectors
import shutil
import signal
import sys
import tempfile
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kernel_launcher import kernel, ports
from kernel_launcher.errors import LAUNCH_FAILED, NO_RUNTIME, LaunchError
from kernel_launcher.options import FRESH_KEY, Options, parse
from kernel_launcher.usage import read_usage

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from kernel_launcher.commands import CommandListener
    from kernel_launcher.relay import Relay
    from kernel_launcher.wire import GatewayKey, LaunchKey

PR_SET_DUMPABLE = 4  # linux/prctl.h
LONGEST_SOCKET_PATH = 107  # unix(7): sun_path has 108 bytes, and the last one is 0
PASSED_ON = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


def main(arguments: Sequence[str]) -> int:
    """Launch a kernel and stay until it ends.

    Returns:
        The kernel's exit code (128 + n for one that signal n ended), or one of errors.py.
    """
    try:
        return _launch(parse(arguments, os.environ))
    except LaunchError as error:
        _say(str(error))
        return error.exit_code


def _launch(options: Options) -> int:
    with_relay = options.launch_key is not None
    if with_relay:
        _load_zmq()
    comm_socket = ports.bind(options.port_range)
    reserved = ports.reserve(options.port_range, len(kernel.CHANNELS) + with_relay)
    try:
        directory = tempfile.mkdtemp(prefix="kernel-")
    except OSError as error:
        message = f"no directory can be made for the connection file: {error.strerror}"
        raise LaunchError(LAUNCH_FAILED, message) from error
    try:
        address = _behind_relay(directory) if with_relay else _public(reserved)
    except LaunchError:
        shutil.rmtree(directory)
        raise
    ready, kernel_ready = os.pipe()
    supervisor_pid = os.getpid()
    # Blocked until both sides of the fork can handle them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {*PASSED_ON, signal.SIGCHLD})
    try:
        kernel_pid = os.fork()
    except OSError as error:
        shutil.rmtree(directory)
        message = f"no process can be started for the kernel: {error.strerror}"
        raise LaunchError(LAUNCH_FAILED, message) from error
    if kernel_pid == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*PASSED_ON, signal.SIGCHLD})
        comm_socket.close()
        os.close(ready)
        return kernel.run(options, address, reserved, directory, kernel_ready, supervisor_pid)
    os.close(kernel_ready)
    if not with_relay:
        for sock in reserved:
            sock.close()
    try:
        return _Supervisor(options, kernel_pid, comm_socket, reserved, ready).run()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _load_zmq() -> None:
    """Load pyzmq before the fork, so that kernel and relay share its memory."""
    try:
        importlib.import_module("zmq")
    except Exception as error:  # such as a DeprecationWarning, with PYTHONWARNINGS=error
        message = f"pyzmq cannot be imported in this image: {error}"
        raise LaunchError(NO_RUNTIME, message) from error


def _behind_relay(directory: str) -> dict[str, Any]:
    """Return an address of the kernel that only the relay reaches: "ports" of ipc are suffixes."""
    ip = os.path.join(directory, "channel")  # noqa: PTH118  ipykernel wants text
    if len(os.fsencode(ip)) + 2 > LONGEST_SOCKET_PATH:
        message = f"TMPDIR is too long: the kernel's sockets cannot be made in {directory}"
        raise LaunchError(LAUNCH_FAILED, message)
    numbers = {name: number for number, name in enumerate(kernel.CHANNELS, 1)}
    return {**numbers, "ip": ip, "transport": "ipc"}


def _public(reserved: Sequence[socket.socket]) -> dict[str, Any]:
    numbers = {
        name: sock.getsockname()[1] for name, sock in zip(kernel.CHANNELS, reserved, strict=True)
    }
    return {**numbers, "ip": ports.ANY_ADDRESS, "transport": "tcp"}


class _Supervisor:
    def __init__(
        self,
        options: Options,
        kernel_pid: int,
        comm_socket: socket.socket,
        reserved: Sequence[socket.socket],
        ready: int,
    ) -> None:
        self._options = options
        self._kernel_pid = kernel_pid
        self._comm_socket = comm_socket
        self._reserved = reserved
        self._relay: Relay | None = None
        self._comm_port: int = comm_socket.getsockname()[1]
        self._ready = ready
        self._exit_code: int | None = None
        self._failure: LaunchError | None = None
        self._report_failure: LaunchError | None = None
        # Made after the fork, so that the kernel's process never had it.
        self._fresh_key: LaunchKey | None = None
        self._selector = selectors.DefaultSelector()
        self._wakeup, wakeup = _nonblocking_pipe()
        self._reported, self._report_done = _nonblocking_pipe()
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._on_signals)
        self._selector.register(self._reported, selectors.EVENT_READ, self._on_reported)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        for signum in (*PASSED_ON, signal.SIGCHLD):
            signal.signal(signum, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*PASSED_ON, signal.SIGCHLD})

    def run(self) -> int:
        """Serve until the kernel has ended; return the exit code."""
        listener = self._start()
        while self._exit_code is None:
            for key, _ in self._selector.select(listener.expire() if listener else None):
                key.data()
        if listener:
            listener.close()
        if self._relay:
            self._relay.stop()
        with suppress(OSError):  # child processes that the kernel left behind
            os.killpg(self._kernel_pid, signal.SIGKILL)
        if self._failure:
            raise self._failure
        return self._exit_code

    def _start(self) -> CommandListener | None:
        """Listen for commands and start the report; return None on failure, which ends the kernel."""
        try:
            # Cryptography loads while the other process loads the kernel.
            from kernel_launcher.commands import CommandListener
            from kernel_launcher.wire import GatewayKey, LaunchKey

            secret = self._options.launch_key
            launch_key = LaunchKey(secret, self._options.kernel_id) if secret else None
            key = launch_key or GatewayKey(self._options.public_key)
            if launch_key and self._options.fresh_key_offered:
                _close_memory()
                self._fresh_key = LaunchKey.fresh(self._options.kernel_id)
        except (ImportError, OSError) as error:
            self._fail(LaunchError(NO_RUNTIME, f"the launcher cannot be loaded: {error}"))
            return None
        except LaunchError as error:
            self._fail(error)
            return None
        command_key = self._fresh_key or launch_key
        threading.Thread(target=self._report, args=(key,), daemon=True).start()
        return CommandListener(self._selector, self._comm_socket, command_key, self._act)

    def _report(self, key: LaunchKey | GatewayKey) -> None:
        """Wait for the kernel's channels and report them; runs in a thread of its own."""
        from kernel_launcher.reporting import report

        try:
            with os.fdopen(self._ready) as ready:
                info = ready.read()
            if not info:  # the kernel has ended, with an exit code
                return
            channels = json.loads(info)
            if self._options.launch_key:
                channels = self._start_relay(channels)
            report(
                self._options,
                key,
                {
                    **channels,
                    "kernel_id": self._options.kernel_id,
                    "pid": self._kernel_pid,
                    "pgid": self._kernel_pid,
                    "comm_port": self._comm_port,
                },
            )
        except LaunchError as error:
            self._report_failure = error
        else:
            encrypted = "encrypted" if "curve_publickey" in channels else "not encrypted"
            _say(
                f"kernel {self._options.kernel_id} is up, channels {encrypted}; reported to"
                f" {self._options.response_address}"
                f" with protocol version {2 if self._options.launch_key else 1}"
            )
        os.write(self._report_done, b"\0")

    def _start_relay(self, info: dict[str, Any]) -> dict[str, Any]:
        """Start the relay between the kernel and its clients; return the clients' connection info."""
        from kernel_launcher.relay import Relay

        self._relay = Relay(
            info,
            self._reserved,
            self._options.mailbox_bytes,
            self._options.mailbox_disk_bytes,
            self._options.max_message_bytes,
            self._fresh_key.mailbox_key if self._fresh_key else info["key"].encode(),
            self._relay_failed,
        )
        public = self._relay.connection_info
        if not self._fresh_key:
            return public
        features = [*public["features"], FRESH_KEY]
        return {**public, "features": features, "fresh_key": self._fresh_key.in_report}

    def _relay_failed(self, error: LaunchError) -> None:
        self._report_failure = error
        os.write(self._report_done, b"\0")

    def _on_reported(self) -> None:
        os.read(self._reported, 1)
        if self._report_failure:
            self._fail(self._report_failure)

    def _fail(self, error: LaunchError) -> None:
        self._failure = error
        self._signal_group(signal.SIGKILL)

    def _on_signals(self) -> None:
        for signum in os.read(self._wakeup, 512):
            if signum == signal.SIGCHLD:
                self._reap()
            else:
                self._signal_group(signum)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._kernel_pid:
                    code = os.waitstatus_to_exitcode(status)
                    self._exit_code = 128 - code if code < 0 else code

    def _act(self, command: dict[str, Any]) -> dict[str, Any]:
        signum = command.get("signum")
        if signum is None:
            if "shutdown" in command:
                return {"ok": True}
            if "state" in command:
                state = self._relay.execution_state if self._relay else "starting"
                return {"ok": True, "execution_state": state}
            if "usage" in command:
                return _usage()
            return {"ok": False, "error": "unknown command"}
        if type(signum) is not int or not 0 <= signum < signal.NSIG:
            return {"ok": False, "error": "no such signal"}
        if not self._signal_group(signum):
            return {"ok": False, "error": "the kernel has ended"}
        if signum == signal.SIGINT and self._options.init_mode != "none":
            # Spark's jobs run in the JVM; the kernel cancels them on SIGUSR2.
            os.kill(self._kernel_pid, signal.SIGUSR2)
        return {"ok": True}

    def _signal_group(self, signum: int) -> bool:
        """Signal the kernel and what it started, as jupyter_client does with a local kernel."""
        if self._exit_code is not None:  # another process may have its number by now
            return False
        try:
            os.killpg(self._kernel_pid, signum)
        except OSError:  # right after the fork there is no group yet
            os.kill(self._kernel_pid, signum)
        return True


def _close_memory() -> None:
    """Keep other processes of this user, the kernel's above all, from reading this process's memory."""
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)


def _usage() -> dict[str, Any]:
    usage = read_usage()
    if usage is None:
        return {"ok": False, "error": "the container's cgroup cannot be read"}
    return {"ok": True, "usage": usage}


def _nonblocking_pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    return reader, writer


def _say(message: str) -> None:
    sys.stderr.write(f"launch_ipykernel: {message}\n")
    sys.stderr.flush()
