#!/usr/bin/env python3
"""Start an IPython kernel and report it to the gateway (launchers/protocol/SPEC.md).

Kept short: Python compiles its script on every start, but imports compiled modules.
"""

if __name__ == "__main__":
    import sys

    from kernel_launcher.supervisor import main

    sys.exit(main(sys.argv[1:]))
