"""Run other programs: quiet while they work, with their last lines when they fail."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

LAST_LINES = 40


class CommandError(Exception):
    """A program ended with an error; the message holds its last lines."""


class UserError(Exception):
    """Something that the user has to decide or fix; the message says what."""


def exit_code(action: Callable[[], None]) -> int:
    """Run a command's action and return its exit code; print an error as a message, without a traceback."""
    try:
        action()
    except (UserError, CommandError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def run(
    *argv: str | Path,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a program to its end and return its standard output.

    Raises CommandError, with the end of both its outputs, when it cannot be started or fails.
    """
    try:
        done = subprocess.run(
            [str(word) for word in argv],
            env=env,
            cwd=cwd,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise CommandError(f"{argv[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        last = (done.stdout + done.stderr).splitlines()[-LAST_LINES:]
        # With its verb, as in `helm upgrade`: the rest of the line may be long, or secret.
        verbs = [str(word) for word in argv[1:] if re.fullmatch("[a-z][a-z-]*", str(word))]
        program = " ".join([Path(argv[0]).name, *verbs[:1]])
        raise CommandError(
            f"{program} ended with exit code {done.returncode}:\n"
            + "\n".join(f"    {line}" for line in last)
        )
    return done.stdout
