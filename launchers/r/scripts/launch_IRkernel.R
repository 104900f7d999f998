# Start an IRkernel and report it to the gateway (launchers/protocol/SPEC.md).
#
# This process becomes the kernel. Its one child, made before the kernel is loaded, serves the
# communication port, so that code which keeps R busy cannot block the gateway's commands. R can
# neither catch SIGTERM nor wait for a child and for sockets at once; as the container's main
# process the kernel needs neither: signals reach it, and its exit code is the container's.
#
#   errors      failures of a launch: one line and an exit code
#   options     command line and environment -> the validated launch
#   ports       sockets within the port range
#   streams     sockets for IPv6
#   gcm         AES-GCM
#   wire        the bytes of reports and commands
#   procfs      what only Linux knows about R's sockets and processes
#   reporting   connection info to the gateway
#   usage       memory and CPU of the container
#   commands    signals and other commands from the gateway
#   kernel      IRkernel, its connection file and its end
#   spark       the Spark names of the kernel's workspace
#   launch      all of them, in order

# When user code runs, no frame and no variable of the workspace belongs to the launcher. Interrupts
# are for that code alone: they end neither a kernel that is about to run nor the child, which they reach too.
suspendInterrupts(local({
  script <- sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1])
  launcher <- new.env(parent = baseenv())
  for (file in list.files(file.path(dirname(script), "kernel_launcher"), "\\.R$", full.names = TRUE)) {
    sys.source(file, launcher)
  }
  launcher$launch(commandArgs(TRUE))
})())
