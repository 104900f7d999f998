# Memory and CPU of the container that the launcher runs in, as its cgroup counts them (cgroups(7)).

LONGEST_FILE <- 2^20
LARGEST <- 10^15 - 1 # bytes; JSON keeps whole numbers of 15 digits exact in every language

# The content of `usage` in the answer to {"usage": 1}; NULL if neither the memory nor the CPU time can be read.
# `root` is the folder that holds proc and sys.
read_usage <- function(root = "/") {
  memory <- cgroup(root, "memory")
  accounting <- cgroup(root, "cpuacct")
  if (memory$unified) {
    used <- number_in(memory, "memory.current")
    limit <- number_in(memory, "memory.max")
    cache <- number_in(memory, "memory.stat", "inactive_file")
  } else {
    used <- number_in(memory, "memory.usage_in_bytes")
    limit <- number_in(memory, "memory.limit_in_bytes")
    cache <- number_in(memory, "memory.stat", "total_inactive_file")
  }
  seconds <- if (accounting$unified) {
    number_in(accounting, "cpu.stat", "usage_usec") / 1e6
  } else {
    number_in(accounting, "cpuacct.usage") / 1e9
  }
  bounded <- function(value) if (!is.na(value) && value <= LARGEST) value else NA
  working_set <- bounded(max(used - cache, 0))
  if (is.na(working_set) && is.na(seconds)) {
    return(NULL)
  }
  known <- function(value) if (!is.na(value)) value
  list(
    memory = known(working_set),
    memory_limit = known(bounded(limit)), # version 1 writes a number close to 2^63 for no limit
    cpu = known(seconds),
    cpu_limit = known(cores(cgroup(root, "cpu")))
  )
}

# NA for no limit.
cores <- function(cpu) {
  if (cpu$unified) {
    quota <- number_in(cpu, "cpu.max", after = " [0-9]{1,20}")
    period <- number_in(cpu, "cpu.max", "[0-9]{1,20}")
  } else {
    quota <- number_in(cpu, "cpu.cfs_quota_us")
    period <- number_in(cpu, "cpu.cfs_period_us")
  }
  if (isTRUE(quota > 0 && period > 0)) quota / period else NA_real_
}

# The number that a line of a file holds, between `key` and `after`; NA if no line does.
number_in <- function(cgroup, file, key = "", after = "") {
  lines <- if (!is.null(cgroup$directory)) read_lines(file.path(cgroup$directory, file))
  pattern <- paste0("^", key, " ?([0-9]{1,20})", after, "$")
  as.numeric(sub(pattern, "\\1", grep(pattern, lines, value = TRUE)))[1]
}

# The launcher's cgroup: of version 1 if one of its hierarchies has the controller, else of version 2 (`unified`).
# Without a directory where none can be seen.
cgroup <- function(root, controller) {
  lines <- strsplit(read_lines(file.path(root, "proc/self/cgroup")), ":", fixed = TRUE)
  paths <- list()
  for (line in lines[lengths(lines) > 2]) {
    path <- paste(line[-(1:2)], collapse = ":")
    # strsplit finds no controller in "", the one of version 2.
    for (name in c(strsplit(line[2], ",", fixed = TRUE)[[1]], if (line[2] == "") "unified")) {
      paths[[name]] <- path
    }
  }
  unified <- is.null(paths[[controller]])
  path <- paths[[if (unified) "unified" else controller]]
  list(unified = unified, directory = if (!is.null(path)) directory(root, if (!unified) controller, path))
}

# The folder of a cgroup, in a mount of its hierarchy that shows it; NULL if none does. `controller` is one of a
# version 1 hierarchy, NULL for version 2; `path` is as in /proc/self/cgroup.
directory <- function(root, controller, path) {
  if (".." %in% strsplit(path, "/", fixed = TRUE)[[1]]) { # outside of this cgroup namespace
    return(NULL)
  }
  for (line in read_lines(file.path(root, "proc/self/mountinfo"))) {
    # A line of proc_pid_mountinfo(5): its root, its folder, the type, and the options of the file system.
    mount <- groups("\\S+ \\S+ \\S+ (\\S+) (\\S+) .*- (\\S+) \\S+ (\\S+)", line)
    if (is.null(mount) || mount[3] != (if (is.null(controller)) "cgroup2" else "cgroup")) {
      next
    }
    if (!is.null(controller) && !controller %in% strsplit(mount[4], ",", fixed = TRUE)[[1]]) {
      next
    }
    shown <- sub("/$", "", unescaped(mount[1]))
    below <- substring(path, nchar(shown) + 1)
    if (startsWith(path, shown) && (below == "" || startsWith(below, "/"))) {
      folder <- paste0(root, unescaped(mount[2]), below)
      if (dir.exists(folder)) {
        return(folder)
      }
    }
  }
}

# A field of mountinfo with spaces, tabs, line ends and backslashes as themselves.
unescaped <- function(field) {
  places <- gregexpr("\\\\[0-7]{3}", field)
  regmatches(field, places) <- lapply(regmatches(field, places), function(escaped) {
    vapply(substring(escaped, 2), function(digits) rawToChar(as.raw(strtoi(digits, 8L))), "")
  })
  field
}

# The lines of a file that are text; none if it cannot be read.
read_lines <- function(path) {
  text <- suppressWarnings(tryCatch(
    rawToChar(readBin(path, "raw", LONGEST_FILE)), error = function(condition) ""
  ))
  Filter(validEnc, strsplit(text, "\n", fixed = TRUE)[[1]])
}
