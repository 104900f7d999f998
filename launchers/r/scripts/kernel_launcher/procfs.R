# R's sockets and processes, from proc(5): R itself does not report them.

# A process's parent, process group and state; NULL for a process that does not exist.
process <- function(pid) {
  line <- suppressWarnings(tryCatch(
    readLines(file.path("/proc", pid, "stat")), error = function(condition) NULL
  ))
  if (length(line)) {
    # After the program's name, which may contain any character.
    fields <- strsplit(sub("^.*\\) ", "", line), " ")[[1]]
    list(state = fields[1], parent = as.integer(fields[2]), group = as.integer(fields[3]))
  }
}

# The processes of a group.
group_members <- function(group) {
  pids <- as.integer(grep("^[0-9]+$", list.files("/proc"), value = TRUE))
  Filter(function(pid) identical(process(pid)$group, group), pids)
}

# Move this process into a session and a process group of its own, by the C library's setsid(2): R has no
# function for it.
leave_group <- function() {
  mapped <- unique(sub("^[^/]*", "", readLines("/proc/self/maps")))
  dyn.load(grep("/(libc|ld-musl)[-.][^/]*$", mapped, value = TRUE)[1])
  .C("setsid")
}

# This machine's connections: local and remote end as Linux writes them, the state and the inode.
connections <- function() {
  files <- Filter(file.exists, c("/proc/self/net/tcp", "/proc/self/net/tcp6"))
  rows <- strsplit(trimws(unlist(lapply(files, function(file) readLines(file)[-1]))), " +")
  column <- function(number) vapply(rows, `[`, "", number)
  data.frame(local = column(2), remote = column(3), state = column(4), inode = column(10))
}

# The inodes of this process's sockets.
own_sockets <- function() {
  links <- Sys.readlink(list.files("/proc/self/fd", full.names = TRUE))
  sub("^socket:\\[(.*)\\]$", "\\1", grep("^socket:", links, value = TRUE))
}

# 127.0.0.1 of 0100007F:9CBB, and 0:0:0:0:0:0:0:1 of 00000000000000000000000001000000:9CBB
address_of <- function(end) {
  digits <- sub(":.*", "", end)
  first <- seq(1, nchar(digits), 2)
  bytes <- matrix(strtoi(substring(digits, first, first + 1), 16L), nrow = 4) # a column for each word of 32 bits
  if (.Platform$endian == "little") {
    bytes <- bytes[4:1, ]
  }
  if (length(bytes) == 4) {
    paste(bytes, collapse = ".")
  } else {
    paste(sprintf("%x", 256L * bytes[c(TRUE, FALSE)] + bytes[c(FALSE, TRUE)]), collapse = ":")
  }
}
