"""Become the first process of a container whose root is mounted: ``enter.py ROOT USER DIRECTORY COMMAND...``.

Called by `unshare` in mount and process namespaces of its own; engines with a service do this themselves.
It runs with the container's environment: hence absolute paths, and no imports from this project.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38


def _home(uid: int) -> str:
    """Return the home that /etc/passwd has for a user, as container runtimes set HOME."""
    passwd = Path("/etc/passwd")
    for line in passwd.read_text().splitlines() if passwd.exists() else []:
        fields = line.split(":")
        if len(fields) > 5 and fields[2] == str(uid):
            return fields[5]
    return "/"


def main() -> None:
    """Mount what programs expect, go to the root, become the user, run the command."""
    root, user, directory, *command = sys.argv[1:]
    uid, gid = (int(part) for part in user.split(":"))
    for arguments in (
        ("--make-rprivate", "/"),
        ("--types", "proc", "proc", f"{root}/proc"),
        ("--rbind", "/dev", f"{root}/dev"),
    ):
        subprocess.run(["/usr/bin/mount", *arguments], check=True)
    os.chroot(root)
    os.chdir(directory)
    environment = {"HOME": _home(uid), **os.environ}
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    # `unshare --kill-child` asked for it, and the kernel forgets it where a process becomes another user.
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - the image's own command
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
