"""Settings from the environment: the only reader of GP_* and KG_* variables.

Each setting is declared once, by `from_env`, in the class that uses it; docs/settings.md is generated from
these declarations. An empty variable counts as not set: charts and env files leave variables empty. A value
that makes no sense is refused by the variable's name, not replaced by a default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from traitlets import Bool, Enum, Float, Int, List, Set, TraitType, Unicode

from gateway_provisioners.errors import ConfigurationError

Parser = Callable[[str], Any]

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})

# Settings of jupyter_kernel_gateway that this gateway does not have, with what to do instead.
REPLACED = {
    "KG_API": "it serves the one of jupyter_kernel_gateway's jupyter_websocket",
    "KG_SEED_URI": "kernels are not seeded from a notebook here",
    "KG_PRESPAWN_COUNT": "kernels are started when a client asks for one",
    "KG_ENV_PROCESS_WHITELIST": "kernels do not get the gateway's own environment; "
    "set variables in the kernelspec's `env`",
    "KG_ENV_WHITELIST": "use GP_CLIENT_ENVS",
    "KG_SSL_VERSION": "it speaks TLS 1.2 and later",
}


@dataclass(frozen=True)
class Setting:
    """One variable.

    Attributes:
        meaning: what it does, for --help and docs/settings.md.
        unit: of a number; "" where it has none.
        default: a value, or a function that computes it from the object that has the setting.
        default_text: the default as users read it.
        parse: makes the value of a text that is not empty. Raises ValueError with the rest of the sentence
            that begins with the variable and its text.
        secret: whether reading takes the variable out of the environment, so that no child inherits it.
    """

    variable: str
    meaning: str
    unit: str
    default: Any
    default_text: str
    parse: Parser
    secret: bool

    def read(self, owner: Any = None) -> Any:
        """Return the variable's value, or the default of `owner` where it is not set.

        Raises:
            ConfigurationError: the text makes no sense.
        """
        if text := self._text():
            return self._parsed(text)
        return self.default(owner) if callable(self.default) else self.default

    def check(self) -> None:
        """Read the variable if it is set, and leave it there.

        Raises:
            ConfigurationError: the text makes no sense.
        """
        if not self.secret and (text := self._text()):
            self._parsed(text)

    def _text(self) -> str:
        take = os.environ.pop if self.secret else os.environ.get
        return take(self.variable, "").strip()

    def _parsed(self, text: str) -> Any:
        try:
            return self.parse(text)
        except ValueError as error:
            raise ConfigurationError(f"{self.variable}={text!r} {error}") from None


class _FromEnv:
    """Part of a trait: its default is a setting's value."""

    setting: Setting

    def default(self, obj: Any = None) -> Any:
        return self.setting.read(obj)


_declared: dict[str, Setting] = {}


def from_env(
    variable: str,
    kind: type[TraitType[Any, Any]],
    default: Any,
    meaning: str,
    *,
    unit: str = "",
    default_text: str | None = None,
    parse: Parser | None = None,
    secret: bool = False,
    **arguments: Any,
) -> Any:
    """Declare a setting: a configurable trait with the variable's value as its default.

    Configuration files and command-line options come before the variable. See `Setting` for the parameters.

    Args:
        kind: the trait's class, which says how the variable is parsed: lists have commas between their
            elements, numbers are 0 or more unless `arguments` have another `min`.
        arguments: more arguments of the trait's class.
    """
    if kind in (Int, Float):
        arguments.setdefault("min", 0)
    elif kind in (List, Set):
        arguments["trait"] = Unicode()
    setting = Setting(
        variable=variable,
        meaning=meaning,
        unit=unit,
        default=default,
        default_text=_shown(default) if default_text is None else default_text,
        parse=parse or _parser(kind, arguments),
        secret=secret,
    )
    assert variable not in _declared, f"{variable} is declared twice"  # noqa: S101
    _declared[variable] = setting
    if not callable(default):
        arguments["default_value"] = default
    details = (variable, unit, f"default: {setting.default_text}" if setting.default_text else "")
    help_text = f"{meaning} ({'; '.join(filter(None, details))})"
    trait = type(kind.__name__, (_FromEnv, kind), {"setting": setting})
    return trait(help=help_text, config=True, **arguments)


def declared_by(cls: Any) -> Iterator[tuple[str, Setting]]:
    """Yield the settings that a class declares itself, each with the name of its trait."""
    for name, trait in vars(cls).items():
        if isinstance(trait, _FromEnv):
            yield name, trait.setting


def check_environment() -> None:
    """Refuse variables that make no sense, and those of jupyter_kernel_gateway that would be ignored.

    Knows the settings of the modules that are imported.

    Raises:
        ConfigurationError: names the first such variable and says what to do.
    """
    for name, instead in REPLACED.items():
        if os.environ.get(name, "").strip():
            raise ConfigurationError(f"{name} is not supported by this gateway: {instead}.")
    for setting in _declared.values():
        setting.check()


def one_of(values: Sequence[str]) -> str:
    """Return the end of a sentence, as in: is not supported; use 'kubernetes' or 'docker'."""
    *others, last = (repr(value) for value in values)
    return f"is not supported; use {', '.join(others)} or {last}."


def _parser(kind: type[TraitType[Any, Any]], arguments: dict[str, Any]) -> Parser:
    if kind is Int:
        return lambda text: whole_number(text, arguments["min"])
    if kind is Float:
        return lambda text: _number(text, arguments["min"])
    if kind is Enum:
        return lambda text: _choice(text, arguments["values"])
    parsers: dict[Any, Parser] = {Bool: _boolean, List: names, Set: names, Unicode: str}
    return parsers[kind]


def names(text: str) -> list[str]:
    """Return the names between commas; a comma alone is an empty list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _boolean(text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError("must be true or false.")
    return text.lower() in _TRUE


def whole_number(text: str, least: int = 0) -> int:
    """Return a text of digits as a number.

    Raises:
        ValueError: it is not one, or is less than `least`.
    """
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < least:
        raise ValueError(f"must be a whole number, {least} or more.")
    return int(text)


def _number(text: str, least: float) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text) or float(text) < least:
        raise ValueError(f"must be a number, {least} or more.")
    return float(text)


def _choice(text: str, values: Sequence[str]) -> str:
    if text not in values:
        raise ValueError(one_of(values))
    return text


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, (list, tuple)):
        return ",".join(default)
    return "" if callable(default) or default is None else str(default)
