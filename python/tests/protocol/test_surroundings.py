"""Environments that images, kernelspecs and clusters bring: a kernel works in them, or one line says why not."""

import sys
from pathlib import Path

import pytest
from bootstrapped import SYSTEM, as_another_user, bootstrap, kernel_of, outcome
from launched import LAUNCHERS, run, value
