"""The small process that waits for the end of the program, and then does what that asked for last.

It reads lines from the program. At their end it has `deletion` act on the last one, which is JSON; after an
empty one there is nothing to do. It imports no packages: one such process waits beside each kernel.
"""

import os
import sys

# Not `-m`, which would look for modules in the folder of the notebook first.
_DELETION = (
    "import sys; del sys.path[0]; "
    "from gateway_provisioners_client.kernel.deletion import main; main()"
)


def main() -> None:
    """Wait, and then become the process that deletes the kernel."""
    last = b""
    for line in sys.stdin.buffer:
        last = line.strip()
    if not last:
        return
    command = [sys.executable, "-c", _DELETION, f"--last={last.decode()}", *sys.argv[1:]]
    if os.name == "nt":
        import subprocess

        # Windows has no exec that keeps arguments apart.
        subprocess.run(command, check=False)  # noqa: S603 - this package
    else:
        os.execv(sys.executable, command)  # noqa: S606


if __name__ == "__main__":
    main()
