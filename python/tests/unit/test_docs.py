"""Check what the pages name: reasons, exit codes, messages, links, values of the chart, modules."""

import ast
import importlib
import pkgutil
import re
import subprocess
from pathlib import Path

import pytest
import yaml

import gateway_provisioners
from gateway_provisioners import errors
from gateway_provisioners.gateway.failures import describe
from gateway_provisioners.model.failures import EXIT_CODE_HINTS
from gateway_provisioners.model.pod.ends import REASONS, end_before_start
from gateway_provisioners.provisioners.launch_traits import ClientPolicyTraits

ROOT = Path(__file__).parents[3]
PACKAGE = Path(gateway_provisioners.__file__).parent
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
HOW_IT_WORKS = (ROOT / "docs/how-it-works.md").read_text()
TROUBLESHOOTING = (ROOT / "docs/troubleshooting.md").read_text()
ROOTS = ("", "python", "python/gateway_provisioners")
VALUES = yaml.safe_load((ROOT / "charts/gateway-provisioners/values.yaml").read_text())
POLICY_PAGES = ("kernels", "custom-kernel-images")
PAGES = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    if (ROOT / name).exists()
]


def page_name(page):
    return str(page.relative_to(ROOT))


def subclasses(cls):
    return {cls}.union(*(subclasses(below) for below in cls.__subclasses__()))


def reasons_of_classes():
    for module in pkgutil.walk_packages([str(PACKAGE)], "gateway_provisioners."):
        if not module.name.startswith("gateway_provisioners._"):
            importlib.import_module(module.name)
    unspecific = {errors.GatewayProvisionersError, errors.LaunchFailed}
    return {
        cls.reason
        for cls in subclasses(errors.GatewayProvisionersError) - unspecific
        if cls.__module__.startswith("gateway_provisioners.")
    }


def reasons_of_calls():
    """Return the reasons that are literals: of a LaunchFailed, of a Condition, and of its Explanation."""
    places = {"LaunchFailed": 0, "Explanation": 0, "Condition": 1}
    found = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            place = places.get(node.func.id, len(node.args))
            reason = node.args[place] if place < len(node.args) else None
            if isinstance(reason, ast.Constant):
                found.add(reason.value)
    return found


def other_reasons():
    """Return the computed reasons: of pods that are cut short, of unexpected errors, of a wrong token."""
    from gateway_provisioners.gateway.process.metrics import _reason

    failed = end_before_start({"status": {"phase": "Failed"}})
    return {*REASONS, failed.reason, _reason(RuntimeError()), describe(None, 401).reason}


def test_every_reason_has_a_heading_and_every_heading_a_reason():
    headings = re.findall(r"^### ([A-Z][A-Za-z]+)$", TROUBLESHOOTING, flags=re.MULTILINE)
    assert len(headings) == len(set(headings))
    assert set(headings) == reasons_of_classes() | reasons_of_calls() | other_reasons()


def statuses():
    """Return the status of each reason that has one of its own, as 500 is that of all others."""
    classes = subclasses(errors.GatewayProvisionersError)
    of_classes = {cls.reason: cls.http_status for cls in classes if "reason" in vars(cls)}
    found = {**of_classes, **errors.LAUNCH_STATUSES}
    return {reason: status for reason, status in found.items() if status != 500}


def test_every_status_is_in_the_table():
    section = TROUBLESHOOTING.partition("## Statuses")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", section, flags=re.MULTILINE)
    documented = {
        reason: int(status) for status, row in rows for reason in re.findall(r"[A-Z]\w+", row)
    }
    reasons = statuses()
    assert "OOMKilled" in reasons
    assert {reason: documented.get(reason) for reason in reasons} == reasons


def test_every_explained_exit_code_is_in_the_table():
    section = TROUBLESHOOTING.partition("## Exit codes of a kernel's container")[2]
    table = {int(code) for code in re.findall(r"^\| (\d+) \|", section, flags=re.MULTILINE)}
    launchers = (ROOT / "launchers/python/scripts/kernel_launcher/errors.py").read_text()
    theirs = {int(code) for code in re.findall(r"^[A-Z_]+ = (\d+)$", launchers, flags=re.MULTILINE)}
    assert theirs
    assert table == set(EXIT_CODE_HINTS) | theirs


def source_of(*patterns):
    """Return the sources without quotes and whitespace, which join a sentence over several lines."""
    files = [file for pattern in patterns for file in ROOT.glob(pattern)]
    return re.sub(r'["\s]|\bf(?=")', "", "\n".join(file.read_text() for file in files))


def quoted_messages():
    """Yield the parts of each message that the page quotes, without what it omits."""
    messages = re.findall(r"^> (.*)$", TROUBLESHOOTING, flags=re.MULTILINE)
    for section in ("The gateway does not start", "The gateway is not ready", "The commands"):
        table = TROUBLESHOOTING.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
        for line in re.findall(r"^\| (.*?) \| ", table, flags=re.MULTILINE):
            messages += re.findall(r"`([^`]+)`", line)
    for sentence in messages:
        # The code has braces for a computed part; the page omits it, or has an example.
        examples = (
            r"\.\.\.|=|; | \(reason: .*\)$|\d+ s|2, 500m|none, lazy, eager|DEBUG, INFO|ErrImagePull"
            r"|bootstrap-kernel\.sh"
        )
        yield from (
            part
            for part in re.split(examples, sentence.replace("\\|", "|"))
            if len(part.split()) > 2
        )


@pytest.mark.parametrize("sentence", sorted(set(quoted_messages())))
def test_quoted_messages_are_in_the_code(sentence):
    sources = source_of("python/gateway_provisioners/**/*.py", "launchers/python/scripts/**/*.py")
    assert re.sub(r'["\s]', "", sentence) in sources


def test_every_promise_names_tests_that_exist():
    named = re.findall(r"`([\w/]+)/(test_\w+\.py)::(test_\w+)`", HOW_IT_WORKS)
    assert named
    for kind, file, test in named:
        source = (ROOT / "python/tests" / kind / file).read_text()
        assert re.search(rf"^(async )?def {test}\(", source, flags=re.MULTILINE), (file, test)


def anchors(page):
    """Yield the fragments of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_relative_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not fragment or fragment in set(anchors(target)), link


def exists(values, path):
    for key in path.split("."):
        if not isinstance(values, dict) or key not in values:
            # An empty object takes any key: resources, nodeSelector, podTemplate.
            return values == {}
        values = values[key]
    return True


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_values_of_the_chart_exist(page):
    tops = (
        "gateway|kernelDefaults|kernelServiceAccount|kernelspecs|networkPolicy|imagePuller|ingress|httpRoute"
        r"|metrics|global|rbac|kernels\.\w+"
    )
    words = rf"(?<![\w./-])({tops})((?:\.[a-zA-Z]+)+)"
    kernel = {**VALUES["kernels"]["python3"], **VALUES["kernelDefaults"]}
    for top, below in re.findall(words, page.read_text()):
        values = kernel if top.startswith("kernels.") else VALUES[top]
        assert exists(values, below[1:]), top + below


def test_client_policy_is_documented_by_all_its_names():
    kernels, images = ((ROOT / "docs" / f"{page}.md").read_text() for page in POLICY_PAGES)
    for name, trait in ClientPolicyTraits.class_traits(config=True).items():
        assert f"`{name}`" in images
        assert all(f"`{variable}`" in kernels for variable in re.findall(r"GP_\w+", trait.help))


def mapped_paths():
    """Yield the paths that the map in CONTRIBUTING draws as a tree."""
    tree = CONTRIBUTING.partition("## Map of the code")[2].split("```")[1]
    parents: list[str] = []
    for indent, names in re.findall(
        r"^( *)(\S+(?: +[\w.-]+(?:/|\.py))*)(?:  |$)", tree, flags=re.MULTILINE
    ):
        parents = parents[: len(indent) // 2]
        yield from ("/".join([*parents, name.rstrip("/")]) for name in names.split())
        parents.append(names.split()[0].rstrip("/"))


@pytest.mark.parametrize("path", sorted(set(mapped_paths())))
def test_paths_on_the_map_exist(path):
    assert any(ROOT.glob(path))


@pytest.mark.parametrize("text", [CONTRIBUTING, HOW_IT_WORKS], ids=["CONTRIBUTING", "how-it-works"])
def test_modules_that_pages_name_exist(text):
    named = set(re.findall(r"`((?!scripts/)(?:[a-z_]+/)+[a-z_]+\.py)`", text))
    assert named
    assert not [path for path in named if not any((ROOT / root / path).exists() for root in ROOTS)]


def modules_matching(pattern):
    return {
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*.py")
        if re.search(pattern, file.read_text())
    }


def test_only_settings_reads_gp_and_kg_variables():
    readers = modules_matching(r"""environ(\.\w+\(|\[)\s*["'](GP|KG)_""")
    assert readers <= {"settings.py"}


def test_only_named_modules_write_files():
    writers = modules_matching(
        r"""\.(write_text|write_bytes|rename)\(|os\.(fdopen|replace)\(|(?<!tarfile\.)\bopen\([^)]*["'][wax]"""
    )
    # The log of a kernel's trial start is a temporary file, and so are certificates of a kubeconfig's plugin.
    assert writers == {
        "cli/install_files.py",
        "cli/image/trial.py",
        "dockerd/records.py",
        "kube/credentials.py",
    }
