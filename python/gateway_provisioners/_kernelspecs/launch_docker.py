"""Start one kernel of this kernelspec in a Docker container.

For trying a kernelspec by hand; the docker-provisioner does the same without running this script.
See --help for its options.
"""

import sys
from pathlib import Path

from gateway_provisioners.cli.launch.docker import main

if __name__ == "__main__":
    sys.exit(main(kernelspec=Path(__file__).absolute().parent.parent))
