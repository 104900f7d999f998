# Failures of a launch: one line for the user and an exit code for the gateway.

# From sysexits.h, as in bootstrap-kernel.sh; the gateway shows the code and the line.
BAD_PARAMETER <- 64L
NO_RUNTIME <- 69L
LAUNCH_FAILED <- 70L
ENCRYPTION_IMPOSSIBLE <- 78L

# End the launch, since the kernel cannot be started; the message gives the cause.
fail <- function(exit_code, ...) {
  launch_error <- list(message = paste0(...), call = NULL, exit_code = exit_code)
  stop(structure(launch_error, class = c("launch_error", "error", "condition")))
}

say <- function(...) cat("launch_IRkernel: ", ..., "\n", sep = "", file = stderr())

# The message of an R condition, for the end of a line.
reason <- function(condition) gsub("\\s+", " ", trimws(conditionMessage(condition)))
