"""The gateway process: kernels, kernelspecs, websockets, health and metrics."""

import sys

# jsonschema imports this package where it is installed, to check a format ("iri") that no schema here
# has. It builds grammars meanwhile: a second of CPU, two fifths of what the gateway's start takes.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
