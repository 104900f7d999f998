"""The kernel's side of the fork: becomes an IPython kernel and reports once its channels are bound."""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import site
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from kernel_launcher.errors import (
    BAD_PARAMETER,
    ENCRYPTION_IMPOSSIBLE,
    LAUNCH_FAILED,
    NO_RUNTIME,
    LaunchError,
)
from kernel_launcher.options import DEFAULT_KERNEL_CLASS, remove_private_variables

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    import zmq
    from ipykernel.kernelapp import IPKernelApp
    from ipykernel.kernelbase import Kernel

    from kernel_launcher.options import Options

CHANNELS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
CURVE_SINCE = (7, 3)  # ipykernel
MESSAGES_TO_RELAY = 8
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def run(
    options: Options,
    address: Mapping[str, Any],
    reserved: Sequence[socket.socket],
    directory: str,
    ready_fd: int,
    supervisor_pid: int,
) -> int:
    """Run the kernel until it is shut down.

    Args:
        address: transport, ip and the ports of CHANNELS that it listens on.
        reserved: sockets that hold ports until the kernel, or the relay before it, has them.
        directory: private, for the connection file.
        ready_fd: receives the connection info, as JSON, once the channels are bound.
        supervisor_pid: the kernel does not outlive this process.

    Returns:
        The exit code.
    """
    # Like a local kernel of jupyter_client, it leads a session and a process group, so that an
    # interrupt reaches its child processes as well.
    os.setsid()
    _die_with(supervisor_pid)
    remove_private_variables()
    del sys.argv[1:]
    sys.path.remove(str(Path(__file__).parents[1]))  # launch_ipykernel.py relies on it
    _find_users_packages()
    # ipykernel takes over file descriptor 2; errors must reach the container's log.
    with os.fdopen(os.dup(2), "w") as log:
        # Loading modules makes no garbage; collecting it takes a sixth of the start.
        gc.disable()
        try:
            app, info = _initialize(options, address, directory)
        except LaunchError as error:
            _fail(log, str(error), error.exit_code)
        except KeyboardInterrupt:
            _fail(log, "interrupted before the kernel was up", LAUNCH_FAILED)
        except (Exception, SystemExit) as error:  # noqa: BLE001  the image's own code runs here
            traceback.print_exc(file=log)
            reason = f"the kernel could not be started: {type(error).__name__}"
            _fail(log, reason, LAUNCH_FAILED)
        gc.enable()
        gc.freeze()
    for sock in reserved:
        sock.close()
    with os.fdopen(ready_fd, "w") as ready:
        json.dump(info, ready)
    app.start()  # type: ignore[no-untyped-call]
    return 0


def _find_users_packages() -> None:
    """Let cells import at once what they install with pip, where it has to go to the user's packages.

    Python itself looks there only if the folder exists when it starts.
    """
    if not site.ENABLE_USER_SITE or os.access(site.getsitepackages()[0], os.W_OK):
        return
    folder = site.getusersitepackages()
    if folder in sys.path:
        return
    with suppress(OSError):
        Path(folder).mkdir(parents=True, exist_ok=True)
        # Before the image's packages, as at the next start.
        first = next((n for n, path in enumerate(sys.path) if path in site.getsitepackages()), 0)
        sys.path.insert(first or len(sys.path), folder)


def _die_with(supervisor_pid: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor_pid:
        os._exit(128 + signal.SIGKILL)


def _fail(log: TextIO, message: str, exit_code: int) -> NoReturn:
    log.write(f"launch_ipykernel: {message}\n")
    log.flush()
    os._exit(exit_code)  # even if threads are running


def _initialize(
    options: Options, address: Mapping[str, Any], directory: str
) -> tuple[IPKernelApp, dict[str, Any]]:
    try:
        from ipykernel.kernelapp import IPKernelApp
    except ImportError as error:
        message = f"ipykernel cannot be imported in this image: {error}"
        raise LaunchError(NO_RUNTIME, message) from error
    kernel_class = _kernel_class(options.kernel_class_name)
    info: dict[str, Any] = {
        **address,
        "signature_scheme": "hmac-sha256",
        "key": os.urandom(32).hex(),
        "kernel_name": "".join(filter(str.isprintable, os.environ.get("KERNEL_NAME", "")))[:256],
    }
    curve = _curve_keys(options.transport_encryption)
    # Behind the relay, only the relay uses the kernel's own channels.
    own = {**info, **curve} if info["transport"] == "tcp" else info
    connection_file = Path(directory, f"kernel-{options.kernel_id}.json")
    connection_file.touch(mode=0o600, exist_ok=False)
    connection_file.write_text(json.dumps(own))
    app = IPKernelApp.instance(
        kernel_class=kernel_class,
        connection_file=str(connection_file),
        transport=info["transport"],
        ip=info["ip"],
        # IPython before 9.7 adds the notebook's folder in spite of PYTHONSAFEPATH (Python 3.11).
        **({"ignore_cwd": True} if getattr(sys.flags, "safe_path", False) else {}),
        parent_handle=1,  # no parent for ipykernel to poll; _die_with ends the kernel
    )
    if info["transport"] == "ipc":
        _publish_without_loss(app)
    app.initialize([])  # type: ignore[no-untyped-call]
    if not (app.heartbeat and app.heartbeat.is_alive()):
        raise LaunchError(LAUNCH_FAILED, "the heartbeat channel could not be bound")
    if options.init_mode != "none":
        from kernel_launcher import spark

        spark.prepare(app, options.init_mode)
    return app, {**info, **curve}


def _publish_without_loss(app: IPKernelApp) -> None:
    """Have the kernel wait for the relay, which never waits for a client, instead of dropping messages."""
    import zmq

    init_iopub = app.init_iopub

    def without_loss(context: zmq.Context[Any]) -> None:
        # Options of later sockets; those of other kinds do not have the first.
        context.setsockopt(zmq.XPUB_NODROP, 1)
        context.setsockopt(zmq.SNDHWM, MESSAGES_TO_RELAY)
        init_iopub(context)  # type: ignore[no-untyped-call]

    app.init_iopub = without_loss  # type: ignore[method-assign]


def _kernel_class(name: str) -> type[Kernel]:
    from ipykernel.kernelbase import Kernel

    module, _, attribute = name.rpartition(".")
    try:
        kernel_class = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        if name == DEFAULT_KERNEL_CLASS:
            raise
        message = f"--kernel-class-name {name} cannot be imported: {error}"
        raise LaunchError(BAD_PARAMETER, message) from error
    if not (isinstance(kernel_class, type) and issubclass(kernel_class, Kernel)):
        message = f"--kernel-class-name {name} is not a subclass of ipykernel.kernelbase.Kernel"
        raise LaunchError(BAD_PARAMETER, message)
    return kernel_class


def _curve_keys(policy: str) -> dict[str, str]:
    """Make the key pair that encrypts the channels, if `policy` and the image allow it."""
    if policy == "disabled":
        return {}
    import zmq
    from ipykernel._version import version_info

    if tuple(version_info[:2]) < CURVE_SINCE:
        missing = "ipykernel 7.3 or later"
    elif not zmq.has("curve"):
        missing = "a libzmq with CurveZMQ"
    else:
        public, secret = zmq.curve_keypair()
        return {"curve_publickey": public.decode(), "curve_secretkey": secret.decode()}
    if policy == "required":
        message = f"encryption of the kernel's channels is required and needs {missing}"
        raise LaunchError(ENCRYPTION_IMPOSSIBLE, message)
    return {}
