#!/usr/bin/env bash
# Shell scripts: every file of the repository with a shell's shebang.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
PATH=${PWD}/.venv/bin:${PATH}

mapfile -d '' files < <(
  git ls-files -z --cached --others --exclude-standard |
    xargs -0 grep --directories=skip --files-with-matches --null --max-count=1 -E '^#!.*[/ ](ba|da)?sh( |$)'
)
shellcheck --enable=deprecate-which,quote-safe-variables --severity=style "${files[@]}"
