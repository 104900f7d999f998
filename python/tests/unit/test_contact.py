"""The contact of a gateway, in messages about what only an administrator can change."""

import pytest
from chart_rendering import refusal, render

from gateway_provisioners.contact import Contact
from gateway_provisioners.errors import (
    ConfigurationError,
    InvalidRequest,
    LaunchFailed,
    PolicyViolation,
)

CONTACT = "Data platform, https://help.example.org (#kernels)"
TOO_LONG = "x" * 201


def test_administrator_is_named_with_the_contact(monkeypatch):
    assert Contact().administrator == "the administrator of this gateway"
    monkeypatch.setenv("GP_CONTACT", CONTACT)
    assert Contact().administrator == f"the administrator of this gateway ({CONTACT})"


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[0m", TOO_LONG])
def test_contacts_are_one_printable_line(monkeypatch, text):
    monkeypatch.setenv("GP_CONTACT", text)
    with pytest.raises(
        ConfigurationError, match=r"GP_CONTACT=.*must be one line of printable text"
    ):
        Contact().contact  # noqa: B018


@pytest.mark.parametrize(
    ("error", "needs_contact"),
    [
        (PolicyViolation("no"), True),
        (ConfigurationError("no"), True),
        (LaunchFailed("ImagePull", "no"), True),
        (LaunchFailed("Unschedulable", "no", can_pass=True), False),
        (InvalidRequest("no"), False),
        (None, False),
    ],
)
def test_contact_is_added_to_what_an_administrator_can_mend(monkeypatch, error, needs_contact):
    assert Contact().added_to("No.", error) == "No."
    monkeypatch.setenv("GP_CONTACT", CONTACT)
    words = f"No.\nContact: {CONTACT}" if needs_contact else "No."
    assert Contact().added_to("No.", error) == words


def test_chart_passes_the_contact_on():
    assert render({"gateway": {"contact": CONTACT}}).env["GP_CONTACT"] == CONTACT


@pytest.mark.parametrize("text", ["a\nb", TOO_LONG])
def test_chart_refuses_other_contacts(text):
    assert "gateway/contact" in refusal({"gateway": {"contact": text}})
