# The launcher's command line, with the container's environment for options that it omits.
#
# The options have the names that Gateway Provisioners' launchers and, with the prefix
# `RemoteProcessProxy.`, Enterprise Gateway's launchers use.

# Removed before user code runs: keys, and variables that only concern the launcher.
PRIVATE_VARIABLES <- c(
  "KERNEL_LAUNCH_KEY", "PUBLIC_KEY", "EG_PUBLIC_KEY", "RESPONSE_ADDRESS", "EG_RESPONSE_ADDRESS",
  "JPY_PARENT_PID"
)
LAUNCH_KEY_BYTES <- 32L
# The feature of the wire protocol, offered by the gateway and then by this launcher.
FRESH_KEY <- "fresh-key"

# Validate the launcher's command line.
#
# Fails naming the option that is missing or malformed; values that could be secret are not quoted.
# In the result, launch_key is raw bytes, or NULL under a gateway that speaks version 1, and
# port_range is c(0, 0) for any ports.
parse_options <- function(arguments) {
  given <- read_arguments(arguments, list(
    "kernel-id" = variable("KERNEL_ID"),
    "response-address" = variable("RESPONSE_ADDRESS"),
    "public-key" = variable("PUBLIC_KEY"),
    "port-range" = variable("PORT_RANGE", "0..0"),
    "spark-context-initialization-mode" = own_variable("KERNEL_SPARK_CONTEXT_INIT_MODE", "none"),
    "cluster-type" = "spark",
    "transport-encryption" = own_variable(
      "KERNEL_TRANSPORT_ENCRYPTION", own_variable("TRANSPORT_ENCRYPTION")
    )
  ))
  address <- parse_address(given[["response-address"]])
  launch_key <- parse_launch_key(own_variable("KERNEL_LAUNCH_KEY"))
  if (is_ipv6(address$host) && is.null(launch_key)) {
    fail(
      BAD_PARAMETER, "--response-address (RESPONSE_ADDRESS) is an IPv6 address, and KERNEL_LAUNCH_KEY is missing: ",
      "IPv6 needs version 2 of the wire protocol"
    )
  }
  if (!given[["cluster-type"]] %in% c("spark", "none")) {
    fail(BAD_PARAMETER, "--cluster-type must be one of: spark, none")
  }
  init_mode <- choice("spark-context-initialization-mode", given, c("none", "lazy", "eager"))
  list(
    kernel_id = parse_kernel_id(given[["kernel-id"]]),
    response_host = address$host,
    response_port = address$port,
    response_address = given[["response-address"]],
    public_key = parse_public_key(given[["public-key"]], required = is.null(launch_key)),
    launch_key = launch_key,
    fresh_key_offered = FRESH_KEY %in% strsplit(own_variable("KERNEL_GATEWAY_FEATURES"), ",")[[1]],
    port_range = parse_port_range(given[["port-range"]]),
    init_mode = if (given[["cluster-type"]] == "none") "none" else init_mode,
    transport_encryption = parse_transport_encryption(given),
    report_attempts = positive("RESPONSE_ATTEMPTS", 10L)
  )
}

# Remove the launcher's own variables from the environment, before user code runs.
remove_private_variables <- function() Sys.unsetenv(PRIVATE_VARIABLES)

own_variable <- function(name, default = "") {
  value <- Sys.getenv(name)
  if (nzchar(value)) value else default
}

variable <- function(name, default = "") own_variable(name, own_variable(paste0("EG_", name), default))

# The defaults, replaced by the options on the command line, `--name value` or `--name=value`.
read_arguments <- function(arguments, defaults) {
  while (length(arguments)) {
    argument <- arguments[1]
    parts <- groups("--(?:RemoteProcessProxy\\.)?([a-z-]+)(=[\\s\\S]*)?", argument)
    if (is.null(parts) || !parts[1] %in% names(defaults)) {
      fail(BAD_PARAMETER, "unrecognized arguments: ", argument)
    }
    if (nzchar(parts[2])) {
      value <- substring(parts[2], 2)
      arguments <- arguments[-1]
    } else if (length(arguments) < 2) {
      fail(BAD_PARAMETER, "argument ", argument, ": expected one argument")
    } else {
      value <- arguments[2]
      arguments <- arguments[-(1:2)]
    }
    defaults[[parts[1]]] <- value
  }
  defaults
}

# The groups of a pattern if it matches the whole text; NULL if it does not.
groups <- function(pattern, text) {
  match <- regmatches(text, regexec(paste0("\\A(?:", pattern, ")\\z"), text, perl = TRUE))[[1]]
  if (length(match)) match[-1]
}

parse_kernel_id <- function(value) {
  if (is.null(groups("[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9])?", value))) {
    fail(BAD_PARAMETER, "--kernel-id (KERNEL_ID) is missing or not a valid kernel id")
  }
  value
}

parse_address <- function(value) {
  option <- "--response-address (RESPONSE_ADDRESS) is "
  parts <- groups("(?:\\[([0-9A-Fa-f:.%]+)\\]|([A-Za-z0-9_.-]+)):([0-9]{1,5})", value)
  port <- if (is.null(parts)) 0L else as.integer(parts[3])
  if (port < 1 || port > 65535) {
    fail(BAD_PARAMETER, option, "missing or not of the form host:port")
  }
  list(host = paste0(parts[1], parts[2]), port = port)
}

parse_public_key <- function(value, required) {
  if (!nzchar(value) && !required) {
    return("")
  }
  der <- decode_base64(value)
  if (is.null(der) || !identical(der[1], as.raw(0x30))) { # a DER SEQUENCE, as every SubjectPublicKeyInfo is
    fail(BAD_PARAMETER, "--public-key (PUBLIC_KEY) is missing or not base64 of a DER public key")
  }
  value
}

parse_launch_key <- function(value) {
  if (!nzchar(value)) {
    return(NULL)
  }
  key <- decode_base64(value)
  if (length(key) != LAUNCH_KEY_BYTES) {
    fail(BAD_PARAMETER, "KERNEL_LAUNCH_KEY is not base64 of ", LAUNCH_KEY_BYTES, " bytes")
  }
  key
}

parse_port_range <- function(value) {
  option <- "--port-range (PORT_RANGE) "
  parts <- groups("([0-9]{1,5})\\.\\.([0-9]{1,5})", value)
  if (is.null(parts)) {
    fail(BAD_PARAMETER, option, "is not of the form LOWEST..HIGHEST")
  }
  range <- as.integer(parts)
  if (all(range == 0)) {
    return(range)
  }
  minimum <- positive("MIN_PORT_RANGE_SIZE", 1000L)
  if (range[1] < 1024 || range[2] > 65535 || range[1] > range[2]) {
    fail(BAD_PARAMETER, option, "must lie within 1024..65535, or be 0..0")
  } else if (diff(range) < minimum) {
    fail(BAD_PARAMETER, option, "must span at least ", minimum, " ports (MIN_PORT_RANGE_SIZE)")
  }
  range
}

positive <- function(name, default) {
  value <- own_variable(name, as.character(default))
  if (is.null(groups("[0-9]{1,5}", value)) || as.integer(value) == 0) {
    fail(BAD_PARAMETER, name, " must be a whole number from 1 to 99999")
  }
  as.integer(value)
}

parse_transport_encryption <- function(given) {
  value <- given[["transport-encryption"]]
  if (!nzchar(value) || startsWith(value, "{")) { # a placeholder that an older gateway did not replace
    return("auto")
  }
  choice("transport-encryption", given, c("disabled", "auto", "required"))
}

choice <- function(name, given, choices) {
  value <- tolower(given[[name]])
  if (!value %in% choices) {
    fail(BAD_PARAMETER, "--", name, " must be one of: ", paste(choices, collapse = ", "))
  }
  value
}
