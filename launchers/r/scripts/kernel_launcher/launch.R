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
  use_utf8()
  if (options$transport_encryption == "required") {
    fail(
      ENCRYPTION_IMPOSSIBLE, "encryption of the kernel's channels is required; IRkernel does not support it"
    )
  }
  options$port_range <- usable_range(options$port_range)
  authenticated <- !is.null(options$launch_key)
  key <- if (authenticated) launch_key(options$launch_key, options$kernel_id) else gateway_key(options$public_key)
  fresh_key <- if (authenticated && options$fresh_key_offered) random_bytes(LAUNCH_KEY_BYTES)
  ipv6 <- is_ipv6(options$response_host)
  if (ipv6) {
    load_zmq() # before the fork
  }
  comm <- listen(options$port_range)
  command_key <- if (is.null(fresh_key)) key else launch_key(fresh_key, options$kernel_id)
  serve_commands(comm, if (authenticated) command_key, ipv6)
  started <- start_kernel(options)
  prepare_spark(options$init_mode)
  report(options, key, c(
    started$info,
    kernel_id = options$kernel_id,
    pid = Sys.getpid(),
    pgid = process("self")$group,
    comm_port = comm$port,
    if (authenticated) offered_features(fresh_key)
  ))
  say(
    "kernel ", options$kernel_id, " is up, channels not encrypted; reported to ", options$response_address,
    " with protocol version ", key$version
  )
  until_shut_down(started$kernel)
}

# Messages are UTF-8. In another locale, R would send `<U+00E9>` for a letter that the locale lacks.
use_utf8 <- function() {
  if (l10n_info()[["UTF-8"]]) {
    return(invisible())
  }
  before <- Sys.getlocale("LC_CTYPE")
  if (Sys.setlocale("LC_CTYPE", "C.UTF-8") == "") {
    say("letters beyond ASCII are garbled: the locale is ", before, ", and this image lacks C.UTF-8")
  }
}

# The features in the report: neither a mailbox nor the command `state`.
offered_features <- function(fresh_key) {
  if (is.null(fresh_key)) {
    return(list(features = list("usage")))
  }
  list(features = list("usage", FRESH_KEY), fresh_key = encode_base64(fresh_key, character = TRUE))
}
