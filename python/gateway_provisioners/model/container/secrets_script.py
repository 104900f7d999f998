"""Variables that an engine must not show: a file that the container's first command reads.

Every client of an engine can see a container's literal environment (`docker inspect`). The file holds
assignments for a POSIX shell, each value quoted whole, so that a value stays a value; the first command
takes them into its environment, removes the file if it can, and becomes the image's own command.
"""

from __future__ import annotations

import io
import shlex
import tarfile
from collections.abc import Mapping, Sequence

# Names that some shell does not allow to be set, or not to every value.
_RESERVED = frozenset({"BASHOPTS", "BASH_VERSINFO", "EUID", "OPTIND", "PPID", "SHELLOPTS", "UID"})

_SCRIPT = (
    'exec 3<"$0" && { rm -f "$0" 2>/dev/null; set -a; . /dev/fd/3; set +a; exec 3<&-; exec "$@"; }'
)


def split_environment(secret: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Split variables into those that can be in the file and those that have to be literal."""
    fileable = {name: value for name, value in secret.items() if name not in _RESERVED}
    return fileable, {name: value for name, value in secret.items() if name in _RESERVED}


def file_content(variables: Mapping[str, str]) -> bytes:
    """The content of the file with these variables."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items()).encode()


def command_with_file(path: str, command: Sequence[str]) -> list[str]:
    """A command that runs `command` with the variables in the file at `path`."""
    return ["/bin/sh", "-c", _SCRIPT, path, *command]


def archive(path: str, content: bytes) -> bytes:
    """A tar of the one file at the absolute `path`, which the container's user may read and remove."""
    directory, _, _ = path.lstrip("/").rpartition("/")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        folder = tarfile.TarInfo(directory)
        folder.type = tarfile.DIRTYPE
        folder.mode = 0o777  # only this one container can see it
        tar.addfile(folder)
        file = tarfile.TarInfo(path.lstrip("/"))
        file.size = len(content)
        file.mode = 0o444
        tar.addfile(file, io.BytesIO(content))
        end = tar.offset
    # Without the padding to a full tape record: podman stops reading at the end of the archive, and
    # fails if more bytes follow.
    return buffer.getvalue()[:end] + bytes(2 * tarfile.BLOCKSIZE)
