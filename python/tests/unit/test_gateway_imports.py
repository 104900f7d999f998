"""A module that the gateway process does not load, because it would slow down the start."""

import subprocess
import sys


def test_the_gateway_does_not_load_lark():
    # In a process of its own: this one has imported other modules.
    code = "import sys, gateway_provisioners.gateway.app; sys.exit('lark' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
