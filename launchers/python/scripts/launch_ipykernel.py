#!/usr/bin/env python3
"""Start an IPython kernel and tell the gateway where it listens (launchers/protocol/SPEC.md).

Kept short: Python compiles the script it is given on every start, but imports modules ready-made.
"""

if __name__ == "__main__":
    import sys

    from kernel_launcher.supervisor import main

    sys.exit(main(sys.argv[1:]))
