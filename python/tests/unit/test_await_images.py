"""Progress of pulling images, and the reasons why nodes do not have them."""

import pytest

from gateway_provisioners.cli.chart.await_images import obstacles, unfinished


def daemonset(wanted, ready, *, seen=2):
    return {
        "metadata": {"name": "puller", "generation": 2},
        "status": {
            "observedGeneration": seen,
            "desiredNumberScheduled": wanted,
            "numberReady": ready,
        },
    }


@pytest.mark.parametrize(
    ("item", "left"),
    [
        (daemonset(3, 3), ""),
        (daemonset(0, 0), ""),
        (daemonset(3, 1), "1 of 3 nodes have the images"),
        # Its controller has not seen this generation yet: the numbers are old.
        (daemonset(3, 3, seen=1), "not started"),
        ({"metadata": {"name": "puller", "generation": 1}}, "not started"),
        (None, "not started"),
    ],
)
def test_progress_of_a_daemonset(item, left):
    assert unfinished(item) == left


def waiting(node, image):
    state = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    return {
        "metadata": {"name": node},
        "spec": {"nodeName": node},
        "status": {"initContainerStatuses": [{"name": "i", "image": image, "state": state}]},
    }


def test_a_reason_is_reported_once_with_its_nodes():
    unscheduled = {
        "metadata": {"name": "x"},
        "spec": {},
        "status": {
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": "Too many pods.",
                }
            ]
        },
    }
    running = {"metadata": {"name": "y"}, "spec": {"nodeName": "c"}, "status": {"phase": "Running"}}
    image, room = obstacles(
        [waiting("b", "acme/a:1"), waiting("a", "acme/a:1"), unscheduled, running]
    )
    assert image.startswith("The image cannot be pulled (ErrImagePull): 'acme/a:1': not found")
    assert image.endswith("Nodes: a, b.")
    assert "Too many pods." in room
    assert room.endswith("Nodes: (not scheduled).")
