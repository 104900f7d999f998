# TCP over IPv6, which R's own sockets do not know: STREAM sockets of 0MQ, which IRkernel brings.
#
# A message of such a socket is a connection's identity, and bytes that came or are to be sent. Without bytes, it
# says that the connection begins or ends, or has it end.

is_ipv6 <- function(host) grepl(":", host, fixed = TRUE)

load_zmq <- function() {
  tryCatch(loadNamespace("pbdZMQ"), error = function(condition) {
    fail(NO_RUNTIME, "pbdZMQ, which IPv6 needs, cannot be loaded in this image: ", reason(condition))
  })
}

# Run `use` with a new socket; what it has sent by then still leaves, within `linger` seconds.
with_stream_socket <- function(linger, use) {
  context <- pbdZMQ::zmq.ctx.new()
  socket <- pbdZMQ::zmq.socket(context, pbdZMQ::ZMQ.ST()$STREAM)
  on.exit({
    pbdZMQ::zmq.close(socket)
    pbdZMQ::zmq.ctx.destroy(context)
  })
  pbdZMQ::zmq.setsockopt(socket, pbdZMQ::ZMQ.SO()$LINGER, as.integer(1000 * linger))
  allow_ipv6(socket)
  use(socket)
}

allow_ipv6 <- function(socket) pbdZMQ::zmq.setsockopt(socket, pbdZMQ::ZMQ.SO()$IPV6, 1L)

# The next message: identity and bytes. NULL when none comes within so many seconds.
next_of_stream <- function(socket, seconds) {
  pbdZMQ::zmq.poll(list(socket), pbdZMQ::ZMQ.PO()$POLLIN, as.integer(ceiling(1000 * seconds)))
  if (pbdZMQ::zmq.poll.get.revents(1L) != 0) {
    message <- pbdZMQ::zmq.recv.multipart(socket, unserialize = FALSE)
    list(identity = message[[1]], bytes = message[[2]])
  }
}

# Send without waiting. A connection that is ending takes nothing until all that came by it is read, which this process
# would do next: it would wait forever.
send_to_stream <- function(socket, identity, bytes) {
  flags <- pbdZMQ::ZMQ.SR()
  # It fails when the connection has ended.
  if (pbdZMQ::zmq.send(socket, identity, bitwOr(flags$DONTWAIT, flags$SNDMORE)) != -1) {
    pbdZMQ::zmq.send(socket, bytes, flags$DONTWAIT)
  }
}

close_stream <- function(socket, identity) send_to_stream(socket, identity, raw())
