"""Starts one kernel of this kernelspec as a Kubernetes pod.

The gateway does the same without a process of its own. This script is for trying a kernelspec by
hand, and a place to start from for a launch procedure of your own; --help lists its options.
"""

import sys
from pathlib import Path

from gateway_provisioners.cli.launch_kubernetes import main

if __name__ == "__main__":
    sys.exit(main(kernelspec=Path(__file__).absolute().parent.parent))
