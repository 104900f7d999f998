# IRkernel: from a connection file to bound channels, and on until it is shut down.

CHANNELS <- c("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")

# An IRkernel whose channels are bound, and its connection info.
start_kernel <- function(options) {
  tryCatch(
    loadNamespace("IRkernel"),
    error = function(condition) {
      fail(NO_RUNTIME, "IRkernel cannot be loaded in this image: ", reason(condition))
    }
  )
  ipv6 <- is_ipv6(options$response_host)
  reserved <- lapply(CHANNELS, function(channel) listen(options$port_range))
  info <- c(
    structure(lapply(reserved, `[[`, "port"), names = CHANNELS),
    ip = if (ipv6) "[::]" else "0.0.0.0",
    transport = "tcp",
    signature_scheme = "hmac-sha256",
    key = paste(random_bytes(32), collapse = ""),
    kernel_name = substring(gsub("[^[:print:]]", "", Sys.getenv("KERNEL_NAME")), 1, 256)
  )
  path <- write_connection_file(info, options$kernel_id)
  on.exit(unlink(path))
  # IRkernel takes no sockets: between here and its own bind, other processes may take the ports.
  for (each in reserved) close(each$socket)
  kernel <- tryCatch(
    if (ipv6) with_ipv6_sockets(new_kernel(path)) else new_kernel(path),
    error = function(condition) {
      fail(LAUNCH_FAILED, "the kernel could not be started: ", reason(condition))
    }
  )
  list(kernel = kernel, info = info)
}

new_kernel <- function(path) IRkernel:::Kernel$new(connection_file = path)

# Run code in which the sockets that IRkernel makes can be bound to IPv6 addresses: it has no option for that.
with_ipv6_sockets <- function(code) {
  imports <- parent.env(asNamespace("IRkernel"))
  replace <- function(socket_function) {
    unlockBinding("zmq.socket", imports)
    assign("zmq.socket", socket_function, envir = imports)
    lockBinding("zmq.socket", imports)
  }
  on.exit(replace(pbdZMQ::zmq.socket))
  replace(function(...) {
    socket <- pbdZMQ::zmq.socket(...)
    allow_ipv6(socket)
    socket
  })
  force(code)
}

# For this user alone. It is removed as soon as IRkernel has read it.
write_connection_file <- function(info, kernel_id) {
  mask <- Sys.umask("0177")
  on.exit(Sys.umask(mask))
  path <- file.path(tempdir(), paste0("kernel-", kernel_id, ".json"))
  writeBin(to_json(info), path)
  path
}

# A function that runs the kernel until it is shut down, and refers to nothing of the launcher.
until_shut_down <- function(kernel) {
  keep_messages_whole(kernel)
  forever <- function() {
    # IRkernel handles interrupts of code and of its own waiting; one in between must not end it.
    repeat tryCatch(allowInterrupts(kernel$run()), interrupt = function(condition) NULL)
  }
  environment(forever) <- list2env(list(kernel = kernel), parent = baseenv())
  forever
}

# Interrupts are for the user's code, and for a kernel that waits. One that comes while a message is handled would
# lose its reply, or cut a message in two, at which IRkernel ends. It is put off until code runs or the kernel waits.
keep_messages_whole <- function(kernel) {
  whole <- function(...) suspendInterrupts(shadowed(...))
  running <- function(...) {
    # IRkernel handles interrupts of the user's code. It does not while it counts the frames below that code, of
    # which both must have the same number; for this it names no environment.
    around <- if (is.null(list(...)$envir)) suspendInterrupts else allowInterrupts
    around(shadowed(...))
  }
  kernel$run # has R put this method, and those that it calls, into the object
  for (name in c("handle_shell", "handle_control", "hb_reply", "zmq.recv.multipart", "zmq.send.multipart")) {
    shadow(kernel, name, whole)
  }
  shadow(kernel$executor, "evaluate", running)
}

# Replaces a function for the methods of an object: they look for a name in their object first. The replacement
# calls it as `shadowed`.
shadow <- function(object, name, replacement) {
  object <- as.environment(object)
  shadowed <- get(name, envir = object, mode = "function")
  environment(replacement) <- list2env(list(shadowed = shadowed), parent = baseenv())
  assign(name, replacement, envir = object)
}
