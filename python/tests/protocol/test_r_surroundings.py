"""The R launcher where an image, a kernelspec or a user has changed what R starts with."""

import pytest
from launched import client_of, run

LETTERS = "cat('h\u00e9', nchar('h\u00e9'), toupper('\u00e9'))"
FOLDER = "cd $(mktemp -d); echo {} >{}"
# What runs before the launcher, the variables, code, and what it prints.
CASES = {
    "umask": ("umask 077", {}, "cat(format(Sys.umask()))", "77"),
    "locale-C": ("", {"LANG": "C", "LC_ALL": "C"}, LETTERS, "h\u00e9 2 \u00c9"),
    "no-locale": ("unset LANG LC_ALL LANGUAGE", {}, LETTERS, "h\u00e9 2 \u00c9"),
    "unknown-locale": ("", {"LC_ALL": "de_AT.UTF-8"}, LETTERS, "h\u00e9 2 \u00c9"),
    "time-zone": ("", {"TZ": "Asia/Tokyo"}, "cat(format(as.POSIXct('2026-01-01'), '%Z'))", "JST"),
    "home-is-missing": ("", {"HOME": "/nonexistent"}, "cat(path.expand('~'))", "/tmp/home-1000"),
    "home-is-not-set": ("unset HOME", {}, "cat(1 + 1)", "2"),
    "tmpdir-is-missing": ("", {"TMPDIR": "/nonexistent"}, "cat(dirname(tempdir()))", "/tmp"),
    "r-home": ("", {"R_HOME": "/nonexistent"}, "cat(file.exists(R.home()))", "TRUE"),
    "r-libs": ("", {"R_LIBS": "/none", "R_LIBS_USER": "/none"}, "cat(1 + 1)", "2"),
    "r-environ": ("", {"R_ENVIRON": "/none", "R_ENVIRON_USER": "/none"}, "cat(1 + 1)", "2"),
    "r-profile": ("", {"R_PROFILE": "/none", "R_PROFILE_USER": "/none"}, "cat(1 + 1)", "2"),
    "profile-prints": (FOLDER.format("'cat(1); x <- 5'", ".Rprofile"), {}, "cat(x)", "5"),
    "profile-is-malformed": (FOLDER.format("'x <- ('", ".Rprofile"), {}, "cat(1 + 1)", "2"),
    "options": (
        FOLDER.format(
            "'options(warn = 2, OutDec = \",\", scipen = 9, error = quote(q()))'", ".Rprofile"
        ),
        {},
        "cat(1.5)",
        "1,5",
    ),
    "workspace": (FOLDER.format("junk", ".RData"), {}, "cat(ls())", ""),
    "java": ("", {"JAVA_TOOL_OPTIONS": "-Dx=1"}, "cat(1 + 1)", "2"),
}


@pytest.mark.parametrize("case", CASES)
async def test_works_all_the_same(launch_r, case):
    setup, variables, code, output = CASES[case]
    async with (
        launch_r(setup=setup, **variables) as kernel,
        client_of(kernel.info.to_jupyter()) as client,
    ):
        content, printed = await run(client, code)
        assert content["status"] == "ok", content
        assert printed.strip() == output


async def test_a_profile_that_fails_is_in_the_log(container_of_r, gateway_key):
    """R ends before it reads the launcher; docs/troubleshooting.md quotes its words."""
    setup = FOLDER.format("'stop(\"oh\")'", ".Rprofile")
    with container_of_r.launched("127.0.0.1:9", gateway_key.public_key, setup=setup) as kernel:
        assert await kernel.exit_code() == 1
        assert kernel.log() == "Error: oh\nExecution halted\n"
