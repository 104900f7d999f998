"""The process that shuts the kernel down when the program ends without a word, such as by SIGKILL."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from gateway_provisioners_client.gateway.config import GatewayConfig
from gateway_provisioners_client.kernel import state_file

# A client that restarts the kernel starts the next process within a moment; Jupyter's own watch within 3 s.
GRACE_AFTER_KILL = 6.0

# Started beside each kernel, so it is small: no packages, and Python itself without its `site`.
_WAITING = [sys.executable, "-I", "-S", str(Path(__file__).with_name("waiting.py"))]


class Watcher:
    """The other end: this program's view of the process.

    Args:
        config: the gateway.
        state: the path of the state file, and the owner that it has to have.
    """

    def __init__(self, config: GatewayConfig, state: state_file.StateFile) -> None:
        options: dict[str, Any] = {}
        if os.name == "nt":
            options["creationflags"] = (
                subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW  # type: ignore[attr-defined]
            )
        self._process: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(  # noqa: S603 - this package
                [
                    *_WAITING,
                    *(f"--state={state.path}", f"--owner={state.owner}"),
                    *config.to_options(),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Clients send signals to the whole group of a kernel.
                start_new_session=True,
                **options,
            )

    def expect(self, kernel_id: str, *, grace: float, repeat: bool = False) -> None:
        """Have it delete a kernel when this program ends.

        Args:
            kernel_id: at the gateway; "" for none.
            grace: seconds in which another program may take over.
            repeat: delete it again for a while: it is starting, and may not be known yet.
        """
        line = (
            json.dumps({"kernel_id": kernel_id, "grace": grace, "repeat": repeat})
            if kernel_id
            else ""
        )
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(line.encode() + b"\n")
                self._process.stdin.flush()
