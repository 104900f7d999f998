"""Starts one kernel of this kernelspec in a Docker container.

The docker-provisioner does the same without a process of its own. This script is for trying a
kernelspec by hand; --help lists its options.
"""

import sys
from pathlib import Path

from gateway_provisioners.cli.launch_docker import main

if __name__ == "__main__":
    sys.exit(main(kernelspec=Path(__file__).absolute().parent.parent))
