# The communication port: signals and other commands from the gateway (protocol/SPEC.md).
#
# Every connection has a deadline and a size limit and never waits for another, so a silent or
# garbled one does not delay the others.

MAX_CONNECTIONS <- 32L
MAX_BYTES <- 4096L
SECONDS <- 5
HIGHEST_SIGNAL <- 64L
SIGINT <- 2L

# Serve the communication port of this process, the kernel, in a child process until a command stops
# it or the kernel has ended. `port` is what `listen` returned. `key` authenticates commands; NULL to obey
# those of version 1, which are not authenticated.
serve_commands <- function(port, key, ipv6) {
  kernel <- Sys.getpid()
  if (ipv6) {
    close(port$socket) # the child binds it, by 0MQ, whose sockets do not survive a fork
  }
  parallel::mcparallel(
    {
      # Interrupts of the whole container must not reach this process. R leaves a stale signal handler when
      # one comes just before it waits for sockets, and the next one crashes it. On a system whose C library
      # is not found, the kernel runs all the same.
      tryCatch(leave_group(), error = function(condition) NULL)
      # R looks up each peer's name. All connections would wait for a name server that does not answer;
      # with 0 attempts, R asks none.
      Sys.setenv(RES_OPTIONS = "attempts:0")
      if (ipv6) stream_loop(port$port, key, kernel) else command_loop(port$socket, key, kernel)
    },
    detached = TRUE, mc.set.seed = FALSE
  )
  if (!ipv6) {
    close(port$socket)
  }
}

command_loop <- function(server, key, kernel) {
  connections <- list() # oldest first
  while (lives(kernel)) {
    sockets <- c(list(server), lapply(connections, `[[`, "socket"))
    # The timeout holds without connections too, so that this process ends with the kernel. The only
    # interrupts are those from before this process left the kernel's group.
    ready <- tryCatch(
      socketSelect(sockets, timeout = time_left(connections)),
      error = function(condition) FALSE, interrupt = function(condition) FALSE
    )
    stopped <- FALSE
    for (i in which(ready[-1])) {
      connections[[i]] <- receive(connections[[i]], key)
      if (connections[[i]]$complete) {
        stopped <- serve(connections[[i]], key, kernel) || stopped
      }
    }
    if (ready[1]) {
      connections <- c(connections, accept(server, key))
    }
    over <- over_now(connections)
    for (each in connections[over]) each$close()
    connections <- connections[!over]
    if (stopped) {
      break
    }
  }
}

# The same for connections of IPv6, and of IPv4, by their identities.
stream_loop <- function(port, key, kernel) {
  with_stream_socket(SECONDS, function(socket) {
    pbdZMQ::zmq.bind(socket, paste0("tcp://[::]:", port))
    connections <- list() # oldest first
    stopped <- FALSE
    while (!stopped && lives(kernel)) {
      message <- next_of_stream(socket, time_left(connections))
      if (!is.null(message)) {
        name <- paste(message$identity, collapse = "")
        known <- connections[[name]]
        if (is.null(known) && !length(message$bytes)) {
          connections[[name]] <- stream_connection(socket, message$identity, key)
        } else if (!is.null(known)) {
          connections[[name]] <- known <- take(known, message$bytes, key)
          stopped <- known$complete && serve(known, key, kernel)
        }
      }
      over <- over_now(connections)
      for (each in connections[over]) each$close()
      connections <- connections[!over]
    }
  })
}

stream_connection <- function(socket, identity, key) {
  force(identity)
  new_connection(
    key,
    send = function(bytes) send_to_stream(socket, identity, bytes),
    close = function() close_stream(socket, identity)
  )
}

# Which connections are to be closed.
over_now <- function(connections) {
  over <- vapply(connections, function(each) each$done || each$deadline <= Sys.time(), TRUE)
  over[utils::head(which(!over), -MAX_CONNECTIONS)] <- TRUE # the oldest make room
  over
}

lives <- function(kernel) {
  identical(process("self")$parent, kernel)
}

time_left <- function(connections) {
  if (!length(connections)) {
    return(SECONDS)
  }
  max(0, as.numeric(connections[[1]]$deadline) - as.numeric(Sys.time()))
}

# A list of the connection that is waiting; empty when it has already been closed.
accept <- function(server, key) {
  socket <- tryCatch(
    socketAccept(server, open = "r+b", blocking = FALSE, timeout = SECONDS),
    error = function(condition) NULL, warning = function(condition) NULL
  )
  if (is.null(socket)) {
    return(list())
  }
  connection <- new_connection(
    key,
    send = function(bytes) send(socket, bytes), close = function() close(socket)
  )
  list(c(connection, socket = list(socket)))
}

new_connection <- function(key, send, close) {
  challenge <- new_challenge()
  if (!is.null(key)) {
    send(challenge_line(challenge))
  }
  list(
    send = send, close = close, challenge = challenge, deadline = Sys.time() + SECONDS,
    received = raw(), complete = FALSE, done = FALSE
  )
}

# The connection with what has arrived: `complete` is a command, `done` is to be closed.
receive <- function(connection, key) {
  take(connection, tryCatch(readBin(connection$socket, "raw", MAX_BYTES), error = function(condition) raw()), key)
}

# The same, of these bytes; none at the end of the stream.
take <- function(connection, data, key) {
  connection$received <- c(connection$received, data)
  ended <- !length(data)
  connection$complete <- if (is.null(key)) ended else charToRaw("\n") %in% connection$received
  connection$done <- connection$complete || ended || length(connection$received) > MAX_BYTES
  connection
}

# Carry out a command; TRUE when it was to stop listening.
serve <- function(connection, key, kernel) {
  tryCatch(
    {
      if (is.null(key)) {
        command <- from_json(connection$received)
      } else {
        line <- connection$received[seq_len(match(charToRaw("\n"), connection$received) - 1)]
        command <- key$open_command(line, connection$challenge)
      }
      answer <- act(command, kernel)
      if (!is.null(key)) {
        connection$send(key$reply(answer, connection$challenge))
      }
      isTRUE(command[["shutdown"]]) || identical(command[["shutdown"]], 1L)
    },
    error = function(condition) FALSE
  )
}

act <- function(command, kernel) {
  signum <- command[["signum"]]
  if (is.null(signum)) {
    if ("shutdown" %in% names(command)) {
      list(ok = TRUE)
    } else if ("usage" %in% names(command)) {
      usage_answer(read_usage())
    } else {
      list(ok = FALSE, error = "unknown command")
    }
  } else if (!is.integer(signum) || signum < 0 || signum > HIGHEST_SIGNAL) {
    list(ok = FALSE, error = "no such signal")
  } else if (!signal_group(kernel, signum)) {
    list(ok = FALSE, error = "the kernel has ended")
  } else {
    list(ok = TRUE)
  }
}

usage_answer <- function(usage) {
  if (is.null(usage)) {
    list(ok = FALSE, error = "the container's cgroup cannot be read")
  } else {
    list(ok = TRUE, usage = usage)
  }
}

# Signal the kernel and its child processes, as jupyter_client does with a local kernel, but not this
# process, which may be one of them.
signal_group <- function(kernel, signum) {
  if (!lives(kernel)) { # another process may have its number by now
    return(FALSE)
  }
  others <- setdiff(group_members(process(kernel)$group), Sys.getpid())
  tools::pskill(others, signum)
  TRUE
}

# A few hundred bytes on a fresh connection always fit its send buffer.
send <- function(socket, bytes) {
  tryCatch(
    writeBin(bytes, socket),
    error = function(condition) NULL, warning = function(condition) NULL
  )
}
