# How a launch fails: one line for the user and an exit code for the gateway.

# The values of sysexits.h that bootstrap-kernel.sh uses too; the gateway shows code and line.
BAD_PARAMETER <- 64L
NO_RUNTIME <- 69L
LAUNCH_FAILED <- 70L
ENCRYPTION_IMPOSSIBLE <- 78L

# End the launch: the kernel cannot be started, and the message says why.
fail <- function(exit_code, ...) {
  launch_error <- list(message = paste0(...), call = NULL, exit_code = exit_code)
  stop(structure(launch_error, class = c("launch_error", "error", "condition")))
}

say <- function(...) cat("launch_IRkernel: ", ..., "\n", sep = "", file = stderr())

# The message of a condition of R's, as the end of one of our lines.
reason <- function(condition) gsub("\\s+", " ", trimws(conditionMessage(condition)))
