# Sockets for the kernel's channels, within the port range the administrator gave.

# Listen on a free port of the range, on all addresses: the gateway reaches the kernel from
# another host. Returns the socket and its port.
#
# R does not say which port the system has chosen, so the choice is made here in any case. It
# leaves R's random numbers alone: a user's set.seed() is about the user's numbers.
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

# The range that 0..0 stands for: where the system would take a port from.
usable_range <- function(range) {
  if (all(range == 0)) scan("/proc/sys/net/ipv4/ip_local_port_range", quiet = TRUE) else range
}
