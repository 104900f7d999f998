"""Records of kernels for tests."""

from gateway_provisioners.model.connection_info import ConnectionInfo
from gateway_provisioners.model.kernel_record import KernelRecord
from gateway_provisioners.model.recovery import StoredKernel

SECRETS = ("s3cr3t", "hush-key", "pa55word")


def kernel_record(kernel_id="k", **changes):
    """A valid one, which holds all of SECRETS."""
    ports = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port", "comm_port")
    connection = ConnectionInfo(
        ip="10.0.0.7",
        **{name: number for number, name in enumerate(ports, 40001)},
        key="hush-key",
        mailbox_port=40007,
        features=("mailbox",),
        protocol=2,
    )
    fields = {
        "kernel_id": kernel_id,
        "kernel_name": "local",
        "kernel_spec": {
            "argv": ["python"],
            "env": {"PASSWORD": "pa55word"},
            "display_name": "Local",
            "language": "python",
        },
        "environment": {"TOKEN": "pa55word"},
        "attempt": 1,
        "launch_key": "s3cr3t",
        "connection_info": connection,
        **changes,
    }
    return KernelRecord(**fields)


def stored_kernel(kernel_id="k", attempt=1, **attributes):
    return StoredKernel(kernel_record(kernel_id, attempt=attempt), **attributes)
