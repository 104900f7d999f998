# The R launcher of the image against the golden vectors: Rscript vectors.R FOLDER_OF_VECTORS. Prints a
# line for each that passes, `KIND: NAME`; the first failure ends it.

launcher <- new.env(parent = baseenv())
modules <- "/usr/local/bin/kernel-launchers/R/scripts/kernel_launcher"
for (file in list.files(modules, full.names = TRUE)) sys.source(file, launcher)
read <- function(name) jsonlite::read_json(file.path(commandArgs(TRUE)[1], name))
vectors <- read("vectors.json")
captured <- read("captured-gateway-provisioners-0.5.0.json")
keys <- read("test-keys.json")

passed <- function(kind, entry) cat(kind, ": ", entry$name, "\n", sep = "")
base64 <- function(text) stats::setNames(launcher$decode_base64(text), NULL)
fix_random <- function(text) launcher$random_bytes <- function(count) base64(text)[seq_len(count)]
launch_key <- function(entry) launcher$launch_key(base64(entry$launch_key), entry$kernel_id)
parse <- function(bytes) launcher$from_json(bytes)
same <- function(one, other) {
  # Objects with their names in any order.
  sorted <- function(value) {
    if (!is.list(value)) {
      return(value)
    }
    lapply(if (is.null(names(value))) value else value[order(names(value))], sorted)
  }
  isTRUE(all.equal(sorted(one), sorted(other)))
}

for (entry in c(vectors$reports, captured$reports)) {
  if (entry$version == 2) {
    fix_random(entry$nonce)
    blob <- parse(base64(rawToChar(launch_key(entry)$connection_info(entry$connection_info))))
    # Written in another order of names, so sealed once more from the entry's own bytes.
    cipher <- launcher$gcm(launcher$derive(base64(entry$launch_key), entry$kernel_id, "connection-info"))
    aad <- charToRaw(paste0("gateway-provisioners v2 connection-info ", entry$kernel_id))
    opened <- cipher$open(base64(blob$nonce), base64(blob$ciphertext), aad)
    stopifnot(
      blob$kernel_id == entry$kernel_id,
      same(parse(opened), entry$connection_info),
      identical(cipher$seal(base64(entry$nonce), charToRaw(entry$plaintext), aad), base64(entry$ciphertext))
    )
  } else {
    private <- openssl::read_key(base64(keys[[entry$rsa_key]]), der = TRUE)
    public <- openssl::base64_encode(openssl::write_der(private$pubkey))
    blob <- parse(base64(rawToChar(launcher$gateway_key(public)$connection_info(entry$connection_info))))
    aes_key <- openssl::rsa_decrypt(base64(blob$key), private)
    opened <- digest::AES(aes_key, mode = "ECB")$decrypt(base64(blob$conn_info), raw = TRUE)
    opened <- head(opened, -as.integer(tail(opened, 1)))
    stopifnot(same(parse(opened), entry$connection_info))
    if (!is.null(entry$aes_key)) {
      encrypted <- launcher$encrypt_v1(base64(entry$aes_key), charToRaw(entry$plaintext))
      stopifnot(identical(encrypted, base64(entry$encrypted)))
    }
  }
  passed("report", entry)
}

for (entry in vectors$commands) {
  line <- parse(launcher$challenge_line(entry$challenge))
  stopifnot(
    same(line, parse(charToRaw(entry$challenge_line))),
    same(launch_key(entry)$open_command(charToRaw(entry$line), entry$challenge), entry$message)
  )
  passed("command", entry)
}

for (text in captured$commands) { # version 1's are plain JSON
  stopifnot(length(parse(charToRaw(text))) == 1)
  passed("captured command", list(name = text))
}

for (entry in vectors$replies) {
  fix_random(entry$nonce)
  reply <- launch_key(entry)$reply(entry$message, entry$challenge)
  stopifnot(tail(reply, 1) == charToRaw("\n"))
  cipher <- launcher$gcm(launcher$derive(base64(entry$launch_key), entry$kernel_id, "command"))
  aad <- charToRaw(paste0("gateway-provisioners v2 reply ", entry$kernel_id, " ", entry$challenge))
  opened <- cipher$open(base64(parse(reply)$nonce), base64(parse(reply)$ciphertext), aad)
  theirs <- parse(charToRaw(entry$line))
  stopifnot(
    same(parse(opened), entry$message),
    identical(cipher$open(base64(theirs$nonce), base64(theirs$ciphertext), aad), charToRaw(entry$plaintext))
  )
  passed("reply", entry)
}

invalid <- vectors$invalid_commands
for (name in names(invalid$lines)) {
  refused <- tryCatch(
    {
      launch_key(invalid)$open_command(charToRaw(invalid$lines[[name]]), invalid$challenge)
      FALSE
    },
    wire_error = function(condition) TRUE
  )
  if (!refused) stop("accepted the command: ", name)
  passed("invalid command", list(name = name))
}

for (id in unlist(vectors$kernel_ids$valid)) {
  stopifnot(launcher$parse_kernel_id(id) == id)
  passed("kernel id", list(name = nchar(id)))
}

for (id in unlist(vectors$kernel_ids$invalid)) {
  refused <- tryCatch(is.null(launcher$parse_kernel_id(id)), launch_error = function(condition) TRUE)
  stopifnot(refused)
  passed("invalid kernel id", list(name = nchar(id)))
}

for (entry in read("cgroups.json")$trees) {
  root <- tempfile()
  for (name in names(entry$files)) {
    path <- file.path(root, name)
    dir.create(dirname(path), showWarnings = FALSE, recursive = TRUE)
    cat(entry$files[[name]], file = path)
  }
  usage <- launcher$read_usage(root)
  if (!identical(is.null(usage), is.null(entry$usage)) || !same(usage, entry$usage)) stop(entry$name)
  passed("usage", entry)
}

for (entry in vectors$derived_keys) {
  for (purpose in c("connection-info", "command", "mailbox")) {
    derived <- launcher$derive(base64(entry$launch_key), entry$kernel_id, purpose)
    stopifnot(identical(derived, base64(entry[[gsub("-", "_", purpose)]])))
  }
  passed("derived keys", list(name = entry$kernel_id))
}
