"""`python -m gateway_provisioners_client.kernel CONNECTION_FILE --kernel NAME --url URL ...`."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109
    # The folder of a notebook: its files must not stand in for modules, as a `logging.py` would.
    del sys.path[0]

from gateway_provisioners_client.errors import ClientError, ConfigurationError
from gateway_provisioners_client.kernel import connection_file
from gateway_provisioners_client.kernel.options import Options, parse
from gateway_provisioners_client.kernel.output import release_stdout
from gateway_provisioners_client.kernel.plan import Plan, begin, plan_for
from gateway_provisioners_client.kernel.state_file import StateFile
from gateway_provisioners_client.kernel.watcher import GRACE_AFTER_KILL, Watcher


def main() -> None:
    """Run the kernel that the command line names."""
    options = parse()
    try:
        connection = connection_file.read(options.connection_file)
    except ConfigurationError as error:
        sys.exit(f"gateway-kernel: {error}")
    release_stdout()
    state = StateFile(options.connection_file)
    plan = plan_for(options, state.claim())
    watcher = _watched(options, state, plan)
    begin(plan, options)
    # Loaded while the gateway starts the kernel.
    from gateway_provisioners_client.kernel.program import run

    try:
        run(options, connection, state, plan, watcher)
    except ClientError as error:
        sys.exit(f"gateway-kernel: {error}")
    # Without a wait for threads: one may ask a name server that does not answer.
    os._exit(0)


def _watched(options: Options, state: StateFile, plan: Plan) -> Watcher | None:
    """Have the kernel deleted if this process is killed, from now on."""
    if options.config is None:
        return None
    state.update(
        kernel_id=plan.kernel_id,
        session_id=plan.session_id,
        options=options.config.to_options(),
        kernel_name=options.kernel_name,
        attached=plan.attach,
        starting=True,
    )
    watcher = Watcher(options.config, state)
    if not plan.attach:
        watcher.expect(plan.kernel_id, grace=GRACE_AFTER_KILL, repeat=True)
    return watcher


if __name__ == "__main__":
    main()
