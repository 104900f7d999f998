# The launcher's side of the wire protocol: bytes out and in, no sockets (protocol/SPEC.md).

CHALLENGE_BYTES <- 16L
NONCE_BYTES <- 12L
CONTEXT <- "gateway-provisioners v2 "

# The peer's bytes do not follow the protocol; never quotes them.
refuse <- function(...) {
  stop(structure(list(message = "not the protocol", call = NULL), class = c("wire_error", "error", "condition")))
}

# Functions that seal and open messages of version 2 with a launch's secret, or with the fresh key that
# replaces it.
launch_key <- function(secret, kernel_id) {
  # The launch key itself may serve for the report only.
  delayedAssign("command", gcm(derive(secret, kernel_id, "command")))
  list(
    version = 2L,
    # Seal the connection info for the gateway's response server.
    connection_info = function(info) {
      cipher <- gcm(derive(secret, kernel_id, "connection-info"))
      aad <- paste0(CONTEXT, "connection-info ", kernel_id)
      info[["protocol"]] <- 2L
      sealed <- seal(cipher, aad, to_json(info))
      encode_base64(to_json(c(version = 2L, kernel_id = kernel_id, sealed)))
    },
    # Authenticate the gateway's answer to a challenge; a wire_error if it was not sealed with this
    # launch's key for this challenge, or is not JSON.
    open_command = function(line, challenge) {
      envelope <- from_json(line)
      if (!identical(envelope[["version"]], 2L)) {
        refuse()
      }
      sealed <- lapply(envelope[c("nonce", "ciphertext")], function(text) {
        if (is.character(text)) decode_base64(text)
      })
      aad <- paste0(CONTEXT, "command ", kernel_id, " ", challenge)
      plain <- command$open(sealed[[1]], sealed[[2]], charToRaw(aad))
      if (is.null(plain)) refuse() else from_json(plain)
    },
    # Seal the answer to a command, as one line.
    reply = function(answer, challenge) {
      aad <- paste0(CONTEXT, "reply ", kernel_id, " ", challenge)
      c(to_json(c(version = 2L, seal(command, aad, to_json(answer)))), charToRaw("\n"))
    }
  )
}

# A function that encrypts reports of version 1 with the gateway's public key.
gateway_key <- function(public_key) {
  if (!requireNamespace("openssl", quietly = TRUE)) {
    fail(NO_RUNTIME, "this gateway speaks version 1 of the protocol, which needs the R package openssl")
  }
  key <- tryCatch(
    openssl::read_pubkey(decode_base64(public_key), der = TRUE),
    error = function(condition) fail(BAD_PARAMETER, "--public-key (PUBLIC_KEY) cannot be read")
  )
  if (!inherits(key, "rsa")) {
    fail(BAD_PARAMETER, "--public-key (PUBLIC_KEY) is not an RSA key")
  }
  list(
    version = 1L,
    # Encrypt the connection info for the gateway's response server. Version 1 prescribes AES-128-ECB
    # with a fresh key and RSA PKCS#1 v1.5.
    connection_info = function(info) {
      aes_key <- random_bytes(16)
      envelope <- list(
        version = 1L,
        key = encode_base64(openssl::rsa_encrypt(aes_key, key), character = TRUE),
        conn_info = encode_base64(encrypt_v1(aes_key, to_json(info)), character = TRUE)
      )
      encode_base64(to_json(envelope))
    }
  )
}

encrypt_v1 <- function(aes_key, plain) {
  padding <- BLOCK - length(plain) %% BLOCK
  digest::AES(aes_key, mode = "ECB")$encrypt(c(plain, rep(as.raw(padding), padding)))
}

# A value that no command was ever sealed for.
new_challenge <- function() encode_base64(random_bytes(CHALLENGE_BYTES), character = TRUE)

# The launcher's first line on a command connection of version 2.
challenge_line <- function(challenge) {
  c(to_json(list(version = 2L, challenge = challenge)), charToRaw("\n"))
}

# HKDF-SHA256 (RFC 5869); 32 bytes need one round of its second part.
derive <- function(secret, kernel_id, purpose) {
  hmac <- function(key, data) {
    digest::hmac(key, data, algo = "sha256", serialize = FALSE, raw = TRUE)
  }
  hmac(hmac(charToRaw(kernel_id), secret), c(charToRaw(paste0(CONTEXT, purpose)), as.raw(1)))
}

seal <- function(cipher, aad, plain) {
  nonce <- random_bytes(NONCE_BYTES)
  ciphertext <- cipher$seal(nonce, plain, charToRaw(aad))
  list(
    nonce = encode_base64(nonce, character = TRUE),
    ciphertext = encode_base64(ciphertext, character = TRUE)
  )
}

# Read one JSON object, from bytes; a wire_error if they are not one.
from_json <- function(bytes) {
  value <- tryCatch(
    {
      text <- rawToChar(bytes)
      if (validUTF8(text)) jsonlite::parse_json(text)
    },
    error = refuse
  )
  if (!is.list(value) || is.null(names(value))) refuse() else value
}

to_json <- function(value) {
  text <- jsonlite::toJSON(value, auto_unbox = TRUE, null = "null", digits = NA) # of numbers, all 15
  charToRaw(enc2utf8(as.character(text)))
}

encode_base64 <- function(bytes, character = FALSE) {
  text <- gsub("\n", "", jsonlite::base64_enc(bytes), fixed = TRUE)
  if (character) text else charToRaw(text)
}

# The bytes of a base64 text; NULL when it is not valid.
decode_base64 <- function(text) {
  if (nchar(text, "bytes") %% 4 == 0 && !is.null(groups("[A-Za-z0-9+/]*={0,2}", text))) {
    jsonlite::base64_dec(text)
  }
}

random_bytes <- function(count) {
  source <- file("/dev/urandom", "rb", raw = TRUE)
  on.exit(close(source))
  readBin(source, "raw", count)
}
