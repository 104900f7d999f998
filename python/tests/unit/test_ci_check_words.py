"""ci.check_words: the words that are found, and those that are not."""

import pytest

from ci.check_words import findings, long_subjects
from ci.commands import CommandError, run


def found(path, content):
    return [(line, words) for line, words, _ in findings(path, content)]


@pytest.mark.parametrize(
    "words",
    [
        *("is no", "are no", "was no", "were no", "is none", "are none"),
        *("somebody", "nobody", "anybody", "whoever", "tell", "tells", "told", "telling"),
        *("for ever", "shall", "patient", "patience", "patiently"),
    ],
)
def test_words_of_the_rules(words):
    assert found("docs/page.md", f"Well: {words} number.\n") == [(1, words)]
    assert found("docs/page.md", f"{words.upper()} number") == [(1, words.upper())]


@pytest.mark.parametrize(
    "text",
    [
        *("there is no kernel", "it is no longer there", "five is no more than six", "x is None"),
        *("there\nare no pods", "a nobodyship", "forever", "marshall", "intellect", "impatient"),
    ],
)
def test_words_that_only_look_alike(text):
    assert found("docs/page.md", text) == []


def test_words_are_found_across_lines_and_comment_marks():
    assert found("a.md", "one\nthis is\nno kernel") == [(2, "is no")]
    assert found("a.sh", "# that is\n# no kernel\ntrue") == [(1, "is no")]
    assert found("a.go", "x := 1\n\t// this is\n\t// none") == [(2, "is none")]
    assert found("a.scala", "/** lives for\n  * ever */") == [(1, "for ever")]
    assert found("a.R", "#' lives for\n#' ever") == [(1, "for ever")]


def test_a_shell_script_is_known_by_its_first_line():
    assert found("ci/env", "#!/usr/bin/env bash\necho nobody") == [(2, "nobody")]
    assert found("ci/env", "nobody") == []


PYTHON = '''"""Module.

It is
no kernel.
"""
# lives for
# ever
nobody = told()
message = (
    f"{name} is no "
    "kernel"
)
file.tell("a\\nshall")
f"{'whoever'}"
'''


def test_strings_and_comments_of_python_but_not_its_code():
    words = [(3, "is no"), (6, "for ever"), (10, "is no"), (13, "shall"), (14, "whoever")]
    assert found("a.py", PYTHON) == words


def test_docstrings_begin_with_a_verb_or_a_noun_phrase():
    bad = 'class A:\n    def f(self):\n        """Whether it runs."""\n'
    assert found("a.py", bad) == [(3, "Whether")]
    assert found("a.py", bad.replace("Whether", "Return whether")) == []
    assert found("a.py", bad.replace("Whether", "Whatever")) == []
    assert found("a.py", 'x = "Where it is"') == []


def test_names_of_tests_are_short():
    longest = "test_" + "x" * 65
    code = f"def {longest}(): pass\nasync def {longest}y(): pass\n"
    assert found("unit/test_a.py", code) == [(2, f"{longest}y")]
    assert found("unit/a.py", code) == []


def test_other_files_are_not_read():
    assert found("LICENSE", "You shall") == []
    assert found("go.sum", "nobody") == []


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with three commits, of which the first and the last have long subjects."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "test")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "test@example.com")
    folder = tmp_path / "repository"
    run("git", "init", "--quiet", folder)
    for subject in ("x" * 73, "y" * 72, "z" * 73):
        run("git", "-C", folder, "commit", "--quiet", "--allow-empty", f"--message={subject}")
    return folder


def test_subjects_of_commits_are_short(repository):
    after = run("git", "-C", repository, "rev-parse", "HEAD~2").strip()
    assert [line.split()[1] for line in long_subjects(repository, after)] == ["z" * 73]


def test_a_commit_that_the_history_lacks_is_an_error(repository):
    with pytest.raises(CommandError):
        long_subjects(repository, "0123456789abcdef0123456789abcdef01234567")


def test_subjects_are_not_checked_without_the_history(repository, tmp_path):
    shallow = tmp_path / "shallow"
    run("git", "clone", "--quiet", "--depth=1", f"file://{repository}", shallow)
    assert long_subjects(shallow, "0123456789abcdef0123456789abcdef01234567") == []
    assert long_subjects(tmp_path) == []
