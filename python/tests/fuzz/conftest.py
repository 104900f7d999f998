"""Settings of the fuzzing; ci/fuzz.sh runs it for longer."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from gateway_provisioners.handshake.payload import GatewayKey

# The launcher is not part of the package: it finds its modules beside its script.
sys.path.append(str(Path(__file__).parents[3] / "launchers" / "python" / "scripts"))

settings.register_profile(
    "fuzz",
    settings.get_profile("no-deadline"),
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "2000")),
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="session")
def gateway_key():
    return GatewayKey.generate()
