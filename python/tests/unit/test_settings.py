"""The gateway's environment variables."""

import logging

import pytest

from gateway_provisioners import settings
from gateway_provisioners.errors import ConfigurationError


@pytest.fixture
def variable(monkeypatch):
    return lambda value: monkeypatch.setenv("GP_TEST", value)


@pytest.mark.parametrize(("value", "number"), [("", 7), (" ", 7), ("0", 0), (" 42 ", 42)])
def test_whole_numbers(variable, value, number):
    variable(value)
    assert settings.integer("GP_TEST", 7) == number


@pytest.mark.parametrize("value", ["-1", "1.5", "one", "0x10", "²", "1 2"])
def test_what_is_no_whole_number_is_refused_by_name(variable, value):
    variable(value)
    with pytest.raises(ConfigurationError, match="GP_TEST"):
        settings.integer("GP_TEST", 7)


@pytest.mark.parametrize(
    ("value", "meaning"),
    [("", True), ("True", True), ("1", True), ("yes", True), ("FALSE", False), ("off", False)],
)
def test_truth(variable, value, meaning):
    variable(value)
    assert settings.boolean("GP_TEST", default=True) is meaning


def test_what_is_neither_true_nor_false_is_refused_by_name(variable):
    variable("perhaps")
    with pytest.raises(ConfigurationError, match="GP_TEST='perhaps'"):
        settings.boolean("GP_TEST", default=True)


def test_names(variable):
    variable(" a, b ,,c")
    assert settings.names("GP_TEST") == ["a", "b", "c"]


def test_a_secret_is_gone_once_taken(variable):
    variable("s3cret\n")
    assert settings.take_secret("GP_TEST") == "s3cret"
    assert settings.text("GP_TEST") == ""


def test_log_levels(variable):
    assert settings.log_level("GP_TEST") == logging.INFO
    variable("debug")
    assert settings.log_level("GP_TEST") == logging.DEBUG
    variable("loud")
    with pytest.raises(ConfigurationError, match="GP_TEST='LOUD'"):
        settings.log_level("GP_TEST")


@pytest.mark.parametrize("name", ["KG_API", "KG_SEED_URI", "KG_PRESPAWN_COUNT", "KG_ENV_WHITELIST"])
def test_settings_of_the_plain_kernel_gateway_are_not_ignored_silently(monkeypatch, name):
    settings.refuse_replaced_settings()
    monkeypatch.setenv(name, "x")
    with pytest.raises(ConfigurationError, match=f"{name} is not supported"):
        settings.refuse_replaced_settings()
