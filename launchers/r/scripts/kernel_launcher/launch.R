# A launch, in order. Returns the function that is the kernel.
launch <- function(arguments) {
  tryCatch(
    # A package's warnings would be printed last, after the line with the cause.
    suppressWarnings(start(parse_options(arguments))),
    launch_error = function(error) {
      say(conditionMessage(error))
      quit("no", error$exit_code)
    },
    interrupt = function(condition) {
      say("interrupted before the kernel was up")
      quit("no", LAUNCH_FAILED)
    }
  )
}

start <- function(options) {
  force(options) # before variables are removed from the environment
  remove_private_variables()
  if (options$transport_encryption == "required") {
    fail(
      ENCRYPTION_IMPOSSIBLE, "encryption of the kernel's channels is required; IRkernel does not support it"
    )
  }
  options$port_range <- usable_range(options$port_range)
  authenticated <- !is.null(options$launch_key)
  key <- if (authenticated) launch_key(options$launch_key, options$kernel_id) else gateway_key(options$public_key)
  comm <- listen(options$port_range)
  serve_commands(comm$socket, if (authenticated) key)
  started <- start_kernel(options)
  prepare_spark(options$init_mode)
  report(options, key, c(
    started$info,
    kernel_id = options$kernel_id,
    pid = Sys.getpid(),
    pgid = process("self")$group,
    comm_port = comm$port,
    if (authenticated) list(features = list()) # neither a mailbox nor the command `state`
  ))
  say(
    "kernel ", options$kernel_id, " is up, channels not encrypted; reported to ", options$response_host, ":",
    options$response_port, " with protocol version ", key$version
  )
  until_shut_down(started$kernel)
}
