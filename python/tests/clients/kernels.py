"""The kernels that the tests of clients start, on Kubernetes and beside a Docker engine."""

import json

from ci import images

FILL_MEMORY = "print('filling', flush=True); x = [bytearray(10**6) for _ in range(10_000)]"
_LOST = "echo lost; exec nothing-here"
# A launcher with too little memory may also just be slow: its program's pages are read again and again.
_GREEDY = ["python", "-c", "b'x' * 10**9"]


def _limited(memory):
    return {"resources": {"limits": {"memory": memory}}}


def values(image):
    """Return values of the chart: two kernels beside `python3`, and four that do not start."""

    def starting(*command):
        return {
            "podTemplate": {"spec": {"containers": [{"name": "kernel", "command": [*command]}]}}
        }

    return {
        "kernels": {
            "plotting": {"image": images.DATA_SCI_PY.reference},
            "small": {"image": image, **_limited("200Mi")},
            "nowhere": {"image": "acme/nowhere:1", "launchTimeout": 20},
            "huge": {"image": image, "resources": {"requests": {"cpu": "64"}}},
            "lost": {"image": image, **starting("bash", "-c", _LOST)},
            "tiny": {"image": image, **_limited("24Mi"), **starting(*_GREEDY)},
        }
    }


def write_specs(folder):
    """Write kernelspecs for a gateway beside Docker: without `huge`, which only a scheduler refuses."""
    specs = {
        "python3": {},
        "plotting": {"image_name": images.DATA_SCI_PY.reference},
        "small": _limited("200Mi"),
        "nowhere": {"image_name": "acme/nowhere:1"},
        "lost": {"container_template": {"Entrypoint": ["bash"], "Cmd": ["-c", _LOST]}},
        "tiny": {**_limited("24Mi"), "container_template": {"Entrypoint": _GREEDY, "Cmd": []}},
    }
    for name, config in specs.items():
        provisioner = {
            "provisioner_name": "docker-provisioner",
            "config": {"image_name": images.KERNEL_PY.reference, **config},
        }
        spec = {
            "argv": [],
            "display_name": name,
            "language": "python",
            "metadata": {"debugger": True, "kernel_provisioner": provisioner},
        }
        (folder / name).mkdir()
        (folder / name / "kernel.json").write_text(json.dumps(spec))
