"""Progress of launches, for tests that do not look at it."""

import time

from gateway_provisioners.model.launch_progress import LaunchProgress


def new_progress():
    return LaunchProgress(time.monotonic)
