# Sockets for the kernel's channels, within the administrator's port range.

# Listen on a free port of the range, on all addresses: the gateway reaches the kernel from
# another host. Returns the socket and its port.
#
# R does not report a port that the system has chosen, so the launcher always chooses. It does not
# use R's random numbers, which are for the user's set.seed().
listen <- function(range) {
  ports <- seq(range[1], range[2])
  start <- readBin(random_bytes(2), "integer", size = 2, signed = FALSE) %% length(ports)
  for (step in seq_along(ports) - 1L) {
    port <- ports[(start + step) %% length(ports) + 1]
    socket <- tryCatch(serverSocket(port), error = function(condition) NULL)
    if (!is.null(socket)) {
      return(list(socket = socket, port = port))
    }
  }
  fail(LAUNCH_FAILED, "no free port within ", range[1], "..", range[2])
}

# The range that 0..0 means: the one that the system takes ports from.
usable_range <- function(range) {
  if (all(range == 0)) scan("/proc/sys/net/ipv4/ip_local_port_range", quiet = TRUE) else range
}
