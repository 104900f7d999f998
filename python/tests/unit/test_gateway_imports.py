"""What the gateway process does not load, because it would start later for it."""

import subprocess
import sys


def test_the_gateway_builds_no_grammars_when_it_starts():
    # In a process of its own: this one has imported all sorts of things.
    code = "import sys, gateway_provisioners.gateway.app; sys.exit('lark' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
