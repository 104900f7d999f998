#!/bin/bash
# Run inside the image, as its user: the added libraries work, and the user is not root.
set -euo pipefail

[[ "$(id -u)" == 1000 ]]
python - <<'PYTHON'
import matplotlib.pyplot
import pandas
import sklearn.datasets

wine = sklearn.datasets.load_wine(as_frame=True).frame
assert wine.shape == (178, 14)
PYTHON
