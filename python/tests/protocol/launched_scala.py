"""The Scala launcher in its image, started as the image starts it: by bootstrap-kernel.sh, under tini."""

import contextlib
import subprocess

from launched import KERNEL_ID, Launched

from ci.demo_notebooks import SCALA_VARIABLES

USER = "1000:100"
# Not the default: it is on the host's network, and 1 GiB of heap is more than these tests need.
VARIABLES = {"RESPONSE_ATTEMPTS": "2", "SPARK_DRIVER_MEMORY": "600m", **SCALA_VARIABLES}


class ScalaImage:
    """An image that the engine has."""

    def __init__(self, engine, reference):
        self._engine = engine
        self._reference = reference

    @contextlib.contextmanager
    def launched(
        self, tmp_path, response_address, public_key, *, user=USER, umask=0o022, **variables
    ):
        """Run a container until the test ends."""
        given = {
            "KERNEL_LANGUAGE": "scala",
            "KERNEL_ID": KERNEL_ID,
            "RESPONSE_ADDRESS": response_address,
            "PUBLIC_KEY": public_key,
            **VARIABLES,
            **variables,
        }
        stderr = tmp_path / "stderr"
        with (
            self._engine.container(self._reference, user, given) as (command, environment),
            stderr.open("wb") as log,
        ):
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                umask=umask,
            )
            try:
                yield Launched(process, stderr)
            finally:
                process.kill()
                process.wait()
