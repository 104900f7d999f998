#!/usr/bin/env python3
"""Start an IPython kernel and report it to the gateway (launchers/protocol/SPEC.md).

Kept short: Python compiles its script on every start, but imports compiled modules. Pythons that are too old
for the launcher can read it.
"""

import os
import sys
from typing import NoReturn

NO_RUNTIME = 69  # errors.py, which may not be loadable


def refuse(reason: object) -> NoReturn:
    """End with one line."""
    sys.stderr.write(f"launch_ipykernel: the launcher cannot be loaded: {reason}\n")
    sys.exit(NO_RUNTIME)


if __name__ == "__main__":
    here = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120  pathlib is not loaded yet
    if sys.path[:1] != [here]:  # PYTHONSAFEPATH leaves it out
        sys.path.insert(0, here)
    if sys.version_info < (3, 10):  # noqa: UP036
        refuse(
            f"it needs Python 3.10 or later, and this is {sys.version_info[0]}.{sys.version_info[1]}"
        )
    try:
        from kernel_launcher.supervisor import main
    except Exception as error:  # noqa: BLE001  any module of the image's in place of Python's own
        refuse(error)
    sys.exit(main(sys.argv[1:]))
