"""Check the repository's text against the rules for words in CONTRIBUTING.md: `python -m ci.check_words`."""

import argparse
import ast
import io
import itertools
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from ci.commands import run
from ci.paths import ROOT


class Rule(NamedTuple):
    """Words that are not to be used, and what to write."""

    pattern: re.Pattern[str]
    advice: str


class Text(NamedTuple):
    """Prose that begins at a line of a file."""

    line: int
    text: str


class Finding(NamedTuple):
    """A place that breaks a rule."""

    line: int
    words: str
    advice: str


class Exemption(NamedTuple):
    """Words that a file may use, and why."""

    path: str
    words: str
    reason: str


def _rule(pattern: str, advice: str) -> Rule:
    return Rule(re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE), advice)


RULES = (
    _rule(
        r"(?<!there\s)\b(is|are|was|were) no (?!longer\b|more\b|less\b|fewer\b)",
        '"is not a valid ..." or "must be ..."',
    ),
    # Not Python's None.
    _rule(
        r"\b(is|are|was|were) (?-i:none|NONE)\b", '"must be one of: ...", or the noun with "not"'
    ),
    _rule(r"\b(some|no|any)body\b|\bwhoever\b", "the actor: the user, a client, a process ..."),
    _rule(r"\b(tell|tells|told|telling)\b", '"report", "log", "notify", "say" or "know"'),
    _rule(r"\bfor ever\b", '"forever", or the bound'),
    _rule(r"\bshall\b", '"should", "must" or "will"'),
    _rule(r"\bpatien(t|ce|tly)\b", '"timeout" or "wait"'),
)
DOCSTRING = Rule(
    re.compile(r"\s*(What|Who|Whose|Which|Where|How|When|Why|Whether)\b"),
    'a verb ("Return whether ...") or a noun phrase first',
)
TEST_NAME_LENGTH = 70
SUBJECT_LENGTH = 72
LAST_UNCHECKED_COMMIT = (
    "5bb80460501c34339fca64a3d08b4e6c29ae957f"  # the rule for subjects is younger than the history
)

EXEMPTIONS = (
    Exemption("CONTRIBUTING.md", "*", "lists the words of the rules"),
    Exemption("CHANGELOG.md", "patience", "lists an option under its old name"),
    Exemption("ci/check_words.py", "*", "the rules"),
    Exemption("python/tests/unit/test_ci_check_words.py", "*", "breaks the rules to test them"),
)

_COMMENT_MARK = re.compile(r"^[ \t]*(#'?|//+|/\*+|\*+/?)[ \t]?", re.MULTILINE)
_PROSE = (".md", ".txt", ".tpl", ".yaml", ".yml", ".schema.json", ".ipynb")
_PROGRAMS = (".sh", ".go", ".R", ".scala", ".toml", ".xml", "Dockerfile", "Makefile")


def findings(path: str, content: str) -> list[Finding]:
    """List the places in a file that break a rule, in the order of lines."""
    if path.endswith(".py"):
        tree = ast.parse(content)
        found = [*_found_in(_python_texts(content, tree)), *_found_in_definitions(path, tree)]
    elif path.endswith(_PROSE):
        found = _found_in([Text(1, content)])
    elif path.endswith(_PROGRAMS) or re.match(r"#!.*[/ ](ba|da)?sh\b", content):
        found = _found_in([Text(1, _COMMENT_MARK.sub("", content))])
    else:
        return []
    return sorted(finding for finding in found if not _exempt(path, finding.words))


def _exempt(path: str, words: str) -> bool:
    return any(fnmatch(path, one.path) and fnmatch(words, one.words) for one in EXEMPTIONS)


def _found_in(texts: list[Text]) -> list[Finding]:
    return [
        Finding(line + text.count("\n", 0, match.start()), " ".join(match[0].split()), rule.advice)
        for line, text in texts
        for rule in RULES
        for match in rule.pattern.finditer(text)
    ]


def _python_texts(content: str, tree: ast.Module) -> list[Text]:
    """List the comments and strings of a Python file, not its code."""
    return [*_comments(content), *_strings(tree)]


def _comments(content: str) -> Iterator[Text]:
    """Give each run of comments on consecutive lines as one text."""
    comments = [
        (token.start[0], token.string.lstrip("#"))
        for token in tokenize.generate_tokens(io.StringIO(content).readline)
        if token.type == tokenize.COMMENT
    ]
    runs = itertools.groupby(enumerate(comments), lambda item: item[1][0] - item[0])
    for _, group in runs:
        lines = [comment for _, comment in group]
        yield Text(lines[0][0], "\n".join(text for _, text in lines))


def _strings(tree: ast.Module) -> Iterator[Text]:
    """Give each string; an f-string as one, with `{}` for each value."""
    pieces: set[int] = set()
    for node in ast.walk(tree):  # parents before their children
        if isinstance(node, ast.JoinedStr):
            constants = [part for part in node.values if isinstance(part, ast.Constant)]
            pieces.update(map(id, constants))
            values = (
                part.value if isinstance(part, ast.Constant) else "{}" for part in node.values
            )
            yield _string(node, "".join(map(str, values)))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in pieces
        ):
            yield _string(node, node.value)


def _string(node: ast.expr, value: str) -> Text:
    """Give a string; one whose lines are not those of the file is at its first line."""
    if node.end_lineno == node.lineno + value.count("\n"):
        return Text(node.lineno, value)
    return Text(node.lineno, value.replace("\n", " "))


def _found_in_definitions(path: str, tree: ast.Module) -> Iterator[Finding]:
    """Check how docstrings begin, and how long the names of tests are."""
    is_test = Path(path).name.startswith("test_")
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            match = DOCSTRING.pattern.match(ast.get_docstring(node) or "")
            if match:
                yield Finding(node.body[0].lineno, match[0], DOCSTRING.advice)
        if (
            is_test
            and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            and node.name.startswith("test_")
            and len(node.name) > TEST_NAME_LENGTH
        ):
            yield Finding(node.lineno, node.name, f"at most {TEST_NAME_LENGTH} characters")


def long_subjects(repository: Path = ROOT, after: str = LAST_UNCHECKED_COMMIT) -> list[str]:
    """List the commits after `after` whose subject is too long; none where the history is not there.

    Raises:
        CommandError: the whole history is there, and `after` is not in it.
    """
    git = ("git", "-C", repository)
    if not (repository / ".git").exists() or "true" in run(
        *git, "rev-parse", "--is-shallow-repository"
    ):
        return []
    log = run(*git, "log", "--no-merges", "--format=%h %s", f"{after}..HEAD")
    return [line for line in log.splitlines() if len(line.split(" ", 1)[1]) > SUBJECT_LENGTH]


def main() -> int:
    """Print each finding as `file:line: words: what to write`; 1 when there is one."""
    parser = argparse.ArgumentParser(prog="python -m ci.check_words", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="default: all files of the repository")
    files = parser.parse_args().files or _files()
    failed = False
    for file in files:
        path = file.resolve().relative_to(ROOT).as_posix()
        try:
            content = file.read_text()
        except UnicodeDecodeError:
            continue
        for line, words, advice in findings(path, content):
            print(f"{path}:{line}: {words!r}: write {advice}")
            failed = True
    for commit in long_subjects():
        print(f"commit {commit}: write a subject of at most {SUBJECT_LENGTH} characters")
        failed = True
    return int(failed)


def _files() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = (ROOT / name for name in names.rstrip("\0").split("\0"))
    return [path for path in paths if path.is_file() and not path.is_symlink()]


if __name__ == "__main__":
    sys.exit(main())
