# AES-GCM (NIST SP 800-38D), with a nonce of 12 bytes and a tag of 16.
#
# R's openssl package has it without associated data and sodium has other ciphers, so it is combined
# here from the AES of digest, which IRkernel needs as well, and GHASH in linear algebra.
# Messages are short, a few hundred bytes.

BLOCK <- 16L
TAG_BYTES <- 16L

# The functions `seal` and `open` (NULL for data that is not authentic) for a key of 16 or 32 bytes.
gcm <- function(key) {
  aes <- digest::AES(key, mode = "ECB")
  ghash <- ghash_with(aes$encrypt(raw(BLOCK)))

  crypt <- function(nonce, data) {
    counters <- seq_len(ceiling(length(data) / BLOCK)) + 1L
    stream <- aes$encrypt(unlist(lapply(counters, function(n) c(nonce, big_endian(n)))))
    xor(data, stream[seq_along(data)])
  }
  tag <- function(nonce, ciphertext, aad) {
    lengths <- c(raw(4), big_endian(8L * length(aad)), raw(4), big_endian(8L * length(ciphertext)))
    xor(ghash(c(padded(aad), padded(ciphertext), lengths)), aes$encrypt(c(nonce, big_endian(1L))))
  }
  list(
    seal = function(nonce, plain, aad) {
      ciphertext <- crypt(nonce, plain)
      c(ciphertext, tag(nonce, ciphertext, aad))
    },
    open = function(nonce, sealed, aad) {
      size <- length(sealed) - TAG_BYTES
      if (length(nonce) != 12 || size < 1) {
        return(NULL)
      }
      ciphertext <- sealed[seq_len(size)]
      difference <- xor(tag(nonce, ciphertext, aad), sealed[-seq_len(size)])
      if (all(difference == 0)) crypt(nonce, ciphertext)
    }
  )
}

# GHASH under the hash key h. A product with h is linear in the other factor's bits: column i of
# the matrix is h times x^i.
ghash_with <- function(h) {
  reduction <- c(1, 1, 1, 0, 0, 0, 0, 1, numeric(120))
  multiples <- matrix(0, 128, 128)
  multiple <- block_bits(h)
  for (i in 1:128) {
    multiples[, i] <- multiple
    multiple <- (c(0, multiple[-128]) + multiple[128] * reduction) %% 2
  }
  function(data) {
    blocks <- matrix(data, BLOCK)
    y <- numeric(128)
    for (i in seq_len(ncol(blocks))) {
      y <- drop(multiples %*% ((y + block_bits(blocks[, i])) %% 2)) %% 2
    }
    packBits(as.integer(matrix(y, 8)[8:1, ]))
  }
}

# The 128 bits of a block, each byte's highest first.
block_bits <- function(block) as.vector(matrix(as.integer(rawToBits(block)), 8)[8:1, ])

padded <- function(data) c(data, raw(-length(data) %% BLOCK))

big_endian <- function(number) writeBin(as.integer(number), raw(), endian = "big")
