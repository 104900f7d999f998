#!/bin/bash
# Run inside the image, as its user: the parts of an R kernel load, plots have fonts, and no build files are left.
set -euo pipefail
fail() { echo "smoke test: $*" >&2; exit 1; }

[[ "$(id -u):$(id -g)" == 1000:100 ]] || fail "the user is $(id)"

# The support files are where custom-kernel-images.md says, and the bootstrap script refuses missing parameters.
owner="$(stat --format=%U:%G:%a /usr/local/bin/bootstrap-kernel.sh)"
[[ "${owner}" == jovyan:users:755 ]] || fail "bootstrap-kernel.sh is ${owner}"
[[ -z "$(find /usr/local/bin/kernel-launchers ! -user jovyan)" ]] || fail "a launcher is not jovyan's"
code=0
output="$(env -u KERNEL_ID /usr/local/bin/bootstrap-kernel.sh 2>&1)" || code=$?
[[ "${code}" == 64 ]] || fail "bootstrap-kernel.sh without parameters exits with ${code}: ${output}"
if python -c 'import gateway_provisioners' 2>/dev/null; then
  fail "the Python package is in the image"
fi

leftovers="$(find /root "${HOME}/.cache" /tmp /var/lib/apt/lists /var/cache/apt /etc/apt/sources.list.d \
  \( -name '*.whl' -o -path '*/.cache/*' -o -path '*/lists/*' -o -path '/var/cache/apt/*' -o -name 'build.list' \) \
  -type f -size +0 2>/dev/null || true)"
[[ -z "${leftovers}" ]] || fail "left from the build: ${leftovers}"

Rscript - <<'R'
launcher <- list.files("/usr/local/bin/kernel-launchers/R/scripts", "\\.R$", recursive = TRUE, full.names = TRUE)
for (file in launcher) parse(file)
for (package in c("IRkernel", "digest", "jsonlite", "openssl")) loadNamespace(package)
library(ggplot2)
file <- tempfile(fileext = ".png")
ggsave(file, ggplot(mpg, aes(displ, hwy)) + geom_point() + ggtitle("Motorgr\u00f6\u00dfe"), width = 4, height = 3)
stopifnot(file.size(file) > 10000, file.access(.libPaths()[1], 2) == 0)
R
[[ -n "$(fc-list)" ]] || fail "there is no font"
