# The report of the kernel's connection info to the gateway.

REPORT_SECONDS <- 5
LONGEST_PAUSE <- 2
# States of a connection in /proc/net/tcp.
ESTABLISHED <- "01"
CLOSE_WAIT <- "08"
CLOSING <- c("04", "05") # FIN_WAIT1 and FIN_WAIT2: the other side has not closed yet

# Send the kernel's connection info, with a bounded number of tries; fails when the gateway cannot
# be reached. `key` encrypts it for the gateway.
report <- function(options, key, info) {
  for (attempt in seq_len(options$report_attempts)) {
    problem <- tryCatch(
      send_report(options, key, info),
      error = identity, warning = identity, interrupt = identity
    )
    if (is.null(problem)) {
      return(invisible())
    }
    if (attempt < options$report_attempts) {
      Sys.sleep(min(0.1 * 2^attempt, LONGEST_PAUSE))
    }
  }
  fail(
    LAUNCH_FAILED, "the gateway cannot be reached at the response address ",
    options$response_address, " after ", attempt, " attempts: ", reason(problem)
  )
}

# Returns NULL. A gateway without a free connection resets this one, and another try makes sense; a
# gateway that is slow to close has the bytes nevertheless. R cannot close one direction of a connection
# and wait for the other, so it closes both and watches the connection's state.
send_report <- function(options, key, info) {
  if (is_ipv6(options$response_host)) {
    return(send_report_over_ipv6(options, key, info))
  }
  socket <- socketConnection(
    options$response_host, options$response_port,
    open = "r+b", blocking = TRUE, timeout = REPORT_SECONDS
  )
  tryCatch(
    {
      ends <- connection_to(options$response_port)
      if (key$version == 2L) {
        # The gateway can reach the kernel at the address that this connection comes from.
        info$ip <- address_of(ends$local)
      }
      writeBin(key$connection_info(info), socket)
      closed_by_gateway <- identical(state_of(ends), CLOSE_WAIT)
    },
    finally = close(socket)
  )
  if (!closed_by_gateway) {
    wait_for_gateway(ends)
  }
}

send_report_over_ipv6 <- function(options, key, info) {
  ends <- with_stream_socket(REPORT_SECONDS, function(socket) {
    pbdZMQ::zmq.connect(socket, paste0("tcp://", options$response_address)) # 0MQ tries again and again
    connected <- next_of_stream(socket, REPORT_SECONDS)
    if (is.null(connected)) {
      stop("cannot open the connection")
    }
    ends <- connection_to(options$response_port)
    info$ip <- address_of(ends$local)
    send_to_stream(socket, connected$identity, key$connection_info(info))
    ends
  })
  wait_for_gateway(ends)
}

connection_to <- function(port) {
  known <- connections()
  remote_port <- sprintf(":%04X", port)
  ours <- known$state == ESTABLISHED & endsWith(known$remote, remote_port) & known$inode %in% own_sockets()
  if (!any(ours)) {
    stop("Connection reset by peer")
  }
  known[ours, ][1, ]
}

state_of <- function(ends) {
  known <- connections()
  known$state[known$local == ends$local & known$remote == ends$remote]
}

wait_for_gateway <- function(ends) {
  deadline <- Sys.time() + REPORT_SECONDS
  while (any((state <- state_of(ends)) %in% CLOSING) && Sys.time() < deadline) {
    Sys.sleep(0.005)
  }
  # The system lists a connection for a minute after an orderly close, and not at all after a reset.
  if (!length(state)) {
    stop("Connection reset by peer")
  }
}
