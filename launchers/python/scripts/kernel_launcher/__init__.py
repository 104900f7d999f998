"""The launcher of Python kernels: runs inside the kernel's container, imports no gateway code.

One process supervises the kernel and answers the gateway, a second one is the kernel:

    errors       failures of a launch, with their exit codes
    options      command line and environment -> the validated launch
    ports        sockets within the port range
    supervisor   forks the kernel, passes signals on, reaps, returns the exit code
    kernel       the kernel's side of the fork
    spark        the Spark names of the kernel's namespace
    relay        the channels that clients see, in front of the kernel's
    mailbox      messages for clients that are away
    spool        those of them that are on disk
    messages     the launcher's own messages to clients
    execution    whether the kernel is busy
    reporting    connection info to the gateway
    commands     signals and other commands from the gateway
    usage        memory and CPU of the container
    wire         the bytes of reports and commands (launchers/protocol/SPEC.md)
    ciphers      encryption for environments without `cryptography`
"""
