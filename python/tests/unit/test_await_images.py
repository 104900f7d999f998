"""When all nodes have the images, and why one has not."""

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
        # Its controller has not looked at it yet: the numbers are those of before.
        (daemonset(3, 3, seen=1), "not begun"),
        ({"metadata": {"name": "puller", "generation": 1}}, "not begun"),
        (None, "not begun"),
    ],
)
def test_what_is_still_to_come(item, left):
    assert unfinished(item) == left


def waiting(node, image):
    state = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    return {
        "metadata": {"name": node},
        "spec": {"nodeName": node},
        "status": {"initContainerStatuses": [{"name": "i", "image": image, "state": state}]},
    }


def test_a_reason_is_told_once_with_its_nodes():
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
    assert image.startswith("The image 'acme/a:1' cannot be pulled (ErrImagePull): not found")
    assert image.endswith("Nodes: a, b.")
    assert "Too many pods." in room
    assert room.endswith("Nodes: one without room for the pod.")
