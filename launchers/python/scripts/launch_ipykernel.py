#!/usr/bin/env python3
"""Start an IPython kernel and report it to the gateway (launchers/protocol/SPEC.md).

Kept short: Python compiles its script on every start, but imports compiled modules. Older Pythons must be able to
read it, to learn that they are too old.
"""

import os
import sys

NO_RUNTIME = 69  # errors.py, which may not be loadable


def load():
    """Return the launcher's `main`, or end with one line where this Python cannot run it."""
    here = os.path.dirname(os.path.realpath(__file__))
    if sys.path[:1] != [here]:  # PYTHONSAFEPATH leaves it out
        sys.path.insert(0, here)
    try:
        if sys.version_info < (3, 10):
            raise ImportError(
                "it needs Python 3.10 or later, and this is %d.%d" % sys.version_info[:2]
            )
        from kernel_launcher.supervisor import main
    except Exception as error:
        sys.stderr.write("launch_ipykernel: the launcher cannot be loaded: %s\n" % error)
        sys.exit(NO_RUNTIME)
    return main


if __name__ == "__main__":
    sys.exit(load()(sys.argv[1:]))
