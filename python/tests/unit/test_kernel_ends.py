"""The end of a kernel in words."""

import pytest

from gateway_provisioners.gateway.kernels.ends import end_words, log_words
from gateway_provisioners.model.failures import exited, is_out_of_memory, killed_for_memory
from gateway_provisioners.model.request.quantity import binary_quantity

RESTARTS = "The kernel is being restarted, without its variables."


def words(cause, *, restarts=True):
    return end_words(cause, restarts=restarts, memory_advice="Ask Ada for more.")


def test_the_cause_comes_first():
    assert words("The kernel exited with code 7.") == (f"The kernel exited with code 7. {RESTARTS}")
    assert words("") == f"The kernel ended. {RESTARTS}"
    assert words("The kernel's node no longer exists.", restarts=False) == (
        "The kernel's node no longer exists. The kernel is not restarted any more: it has ended too "
        "often in a row. Start another one."
    )


@pytest.mark.parametrize(("limit", "of"), [("2Gi", " of 2Gi"), ("", "")])
def test_advice_on_memory_follows_its_lack(limit, of):
    cause = killed_for_memory(limit)
    assert is_out_of_memory(cause)
    assert words(cause) == (
        f"The kernel needed more memory than its limit{of} and was killed (OOMKilled). "
        f"{RESTARTS} Ask Ada for more."
    )
    assert not is_out_of_memory(
        "The kernel's pod was evicted: The kernel needed more memory than its limit."
    )


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (0, "The kernel exited with code 0."),
        (64, "The kernel exited with code 64."),
        (-11, "The kernel exited with code 139. It crashed (segmentation fault)."),
        (143, "The kernel exited with code 143. It was ended from outside (SIGTERM)."),
    ],
)
def test_exit_codes(code, cause):
    assert exited(code) == cause


def test_the_log_has_a_heading():
    assert log_words("a\nb") == "The last lines of its log:\na\nb"
    assert log_words(" \n") == ""


@pytest.mark.parametrize(
    ("size", "quantity"),
    [(0, "0"), (1000, "1000"), (2**31, "2Gi"), (200 * 2**20, "200Mi"), (2**90, "1073741824Ei")],
)
def test_bytes_as_a_quantity(size, quantity):
    assert binary_quantity(size) == quantity
