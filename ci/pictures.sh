#!/usr/bin/env bash
# Make the pictures of the README that show what users see: needs a cluster and images, as `make test` does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ci/test.sh tests/clients/test_failed_starts.py tests/clients/test_progress.py \
  -k "test_the_dialog_of_jupyterlab_on_kubernetes and huge or test_the_progress_of_a_start"
cp build/clients/failed-start-huge.png docs/img/failed-start.png
cp build/clients/progress.png docs/img/progress.png
