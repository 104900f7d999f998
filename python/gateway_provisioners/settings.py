"""Settings from the environment: the only reader of GP_* and KG_* variables.

Each setting is declared once, by `from_env`, in the class that uses it; docs/settings.md is generated from
these declarations. An empty variable counts as not set: charts and env files leave variables empty. A value
that makes no sense is an error that names the variable; the default does not take its place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from traitlets import Bool, Enum, Float, Int, List, Set, TraitType, Unicode

from gateway_provisioners.errors import ConfigurationError

T = TypeVar("T")

_KINDS: dict[type, type[TraitType[Any, Any]]] = {
    bool: Bool,
    int: Int,
    float: Float,
    str: Unicode,
    list: List,
    set: Set,
}
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})

# Settings of jupyter_kernel_gateway that this gateway does not have, with what to do instead.
REPLACED = {
    "KG_API": "it always serves kernel_gateway.jupyter_websocket",
    "KG_SEED_URI": "kernels are not seeded from a notebook here",
    "KG_PRESPAWN_COUNT": "kernels are started when a client asks for one",
    "KG_ENV_PROCESS_WHITELIST": "kernels do not get the gateway's own environment; "
    "set variables in the kernelspec's `env`",
    "KG_ENV_WHITELIST": "use GP_CLIENT_ENVS",
    "KG_SSL_VERSION": "it accepts TLS 1.2 and later",
}


@dataclass(frozen=True)
class Setting:
    """One variable.

    Attributes:
        default_text: the default as users read it.
        parse: returns the value of a text that is not empty. Its ValueError is the rest of a sentence that
            begins with the variable and the text.

    The others are as in `from_env`.
    """

    variable: str
    meaning: str
    unit: str
    default: Any
    default_text: str
    compute: Callable[[Any], Any] | None
    parse: Callable[[str], Any]
    secret: bool

    def read(self, owner: Any = None) -> Any:
        """Return the variable's value, or the default for `owner` if it is not set.

        Raises:
            ConfigurationError: the text makes no sense.
        """
        take = os.environ.pop if self.secret else os.environ.get
        if text := take(self.variable, "").strip():
            return self._parsed(text)
        return self.compute(owner) if self.compute else self.default

    def check(self) -> None:
        """Refuse a text that makes no sense, like `read`, and leave the variable where it is."""
        if text := os.environ.get(self.variable, "").strip():
            self._parsed(text)

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
    default: T,
    meaning: str,
    *,
    unit: str = "",
    compute: Callable[[Any], T] | None = None,
    default_text: str | None = None,
    parse: Callable[[str], T] | None = None,
    secret: bool = False,
    kind: type[TraitType[Any, Any]] | None = None,
    **arguments: Any,
) -> T:
    """Declare a setting: a configurable trait with the variable's value as its default.

    Configuration files and command-line options come before the variable.

    Args:
        default: its type is that of the trait, and says how the variable is parsed.
        meaning: one or more sentences for --help and docs/settings.md.
        unit: the unit of a number; "" if it has none.
        compute: computes the default from the object that has the trait; `default_text` describes it then.
        parse: as in `Setting`, if that of the trait's class does not do.
        secret: reading takes the variable out of the environment, so that no child process inherits it.
        kind: the trait's class, where the default does not imply it.
        arguments: for the trait's class: `values` for one of several, `min` for a number's minimum if not 0.
    """
    kind = kind or (Enum if "values" in arguments else _KINDS[type(default)])
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
        compute=compute,
        parse=parse or _parser(kind, arguments),
        secret=secret,
    )
    assert variable not in _declared, f"{variable} is declared twice"  # noqa: S101
    _declared[variable] = setting
    details = (variable, unit, f"default: {setting.default_text}" if setting.default_text else "")
    help_text = f"{meaning} ({'; '.join(filter(None, details))})"
    trait = type(kind.__name__, (_FromEnv, kind), {"setting": setting})
    return cast(T, trait(default_value=default, help=help_text, config=True, **arguments))


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


def _parser(kind: type[TraitType[Any, Any]], arguments: dict[str, Any]) -> Callable[[str], Any]:
    if kind is Enum:
        return lambda text: _choice(text, arguments["values"])
    if kind in (Int, Float):
        parse = whole_number if kind is Int else _number
        return lambda text: parse(text, arguments["min"])
    if kind in (List, Set):
        return names
    return _boolean if kind is Bool else str


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
    if isinstance(default, (list, set)):
        return ",".join(default)
    if isinstance(default, float):
        return f"{default:g}"
    return str(default).lower() if isinstance(default, bool) else str(default)
