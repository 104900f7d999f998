"""Start one kernel of this kernelspec as a Kubernetes pod.

For trying a kernelspec by hand, and as a template for your own launch script; the gateway does the
same without running this script. See --help for its options.
"""

import sys
from pathlib import Path

from gateway_provisioners.cli.launch.kubernetes import main

if __name__ == "__main__":
    sys.exit(main(kernelspec=Path(__file__).absolute().parent.parent))
