"""bootstrap-kernel.sh, laid out as `jupyter image-bootstrap install` leaves it in an image."""

import base64
import json
import math
import os
import shutil
import signal
import sys
from pathlib import Path

import bootstrapped
import pytest
from bootstrapped import as_another_user, kernel_of, outcome
from launched import KERNEL_ID, LAUNCHERS, value
from launched_r import children

VECTORS = json.loads((LAUNCHERS / "protocol" / "vectors.json").read_text())
PUBLIC_KEY = base64.b64encode(b"\x30" * 294).decode()
# Stands for a language's runtime: says what it was started with, and its process id.
RECORDER = """#!{python}
import json, os, sys
print(json.dumps({{"program": sys.argv[0], "arguments": sys.argv[1:], "pid": os.getpid()}}))
sys.exit({code})
"""


@pytest.fixture
def image(tmp_path):
    """An image's /usr/local/bin, without launchers."""
    directory = tmp_path / "usr local" / "bin"
    directory.mkdir(parents=True)
    shutil.copy(LAUNCHERS / "bootstrap-kernel.sh", directory)
    return directory


def install(image, *paths):
    for path in paths:
        target = image / "kernel-launchers" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()


def record(image, program, code=0):
    script = image / program
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(RECORDER.format(python=sys.executable, code=code))
    script.chmod(0o755)


def bootstrap(image, wrapper=(), **variables):
    given = {"RESPONSE_ADDRESS": "10.0.0.1:8877", "PUBLIC_KEY": PUBLIC_KEY, **variables}
    return bootstrapped.bootstrap(image, wrapper, **given)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"KERNEL_LANGUAGE": None}, "KERNEL_LANGUAGE is missing"),
        ({"KERNEL_LANGUAGE": "../python"}, "KERNEL_LANGUAGE is malformed"),
        ({"KERNEL_ID": None}, "KERNEL_ID is missing"),
        ({"KERNEL_ID": ""}, "KERNEL_ID is missing"),
        ({"KERNEL_ID": "a b"}, "KERNEL_ID is malformed"),
        ({"KERNEL_ID": "$(touch pwned)"}, "KERNEL_ID is malformed"),
        ({"KERNEL_ID": "a\ntouch pwned"}, "KERNEL_ID is malformed"),
        ({"RESPONSE_ADDRESS": None}, "RESPONSE_ADDRESS is missing"),
        ({"RESPONSE_ADDRESS": "10.0.0.1"}, "RESPONSE_ADDRESS is malformed"),
        ({"RESPONSE_ADDRESS": "10.0.0.1:0"}, "RESPONSE_ADDRESS is malformed"),
        ({"RESPONSE_ADDRESS": "10.0.0.1:99999"}, "RESPONSE_ADDRESS is malformed"),
        ({"RESPONSE_ADDRESS": "10.0.0.1:80;touch pwned"}, "RESPONSE_ADDRESS is malformed"),
        ({"PUBLIC_KEY": None}, "PUBLIC_KEY is missing"),
        ({"PUBLIC_KEY": "-----BEGIN PUBLIC KEY-----"}, "PUBLIC_KEY is malformed"),
        ({"PORT_RANGE": "1"}, "PORT_RANGE is malformed"),
        ({"PORT_RANGE": "a[$(touch pwned)]..5"}, "PORT_RANGE is malformed"),
        ({"PORT_RANGE": "0..1000"}, "PORT_RANGE must lie within 1024..65535"),
        ({"PORT_RANGE": "40000..70000"}, "PORT_RANGE must lie within 1024..65535"),
        ({"PORT_RANGE": "40000..30000"}, "PORT_RANGE must lie within 1024..65535"),
        ({"PORT_RANGE": "08000..08999"}, "PORT_RANGE must span at least 1000 ports"),
        ({"MIN_PORT_RANGE_SIZE": "x"}, "MIN_PORT_RANGE_SIZE is malformed"),
        ({"KERNEL_SPARK_CONTEXT_INIT_MODE": "soon"}, "KERNEL_SPARK_CONTEXT_INIT_MODE is malf"),
        ({"KERNEL_LAUNCH_KEY": "hush-hush"}, "KERNEL_LAUNCH_KEY is malformed"),
    ],
)
def test_bad_parameters(image, variables, said):
    install(image, "python/scripts/launch_ipykernel.py")
    record(image, "python")
    code, stdout, stderr = outcome(bootstrap(image, path=f"{image}:/usr/bin:/bin", **variables))
    assert (code, stdout) == (64, "")
    assert stderr.startswith(f"bootstrap-kernel: {said}")
    assert stderr.count("\n") == 1
    assert "hush" not in stderr
    assert not (image / "pwned").exists()


SECRET = base64.b64encode(b"k" * 32).decode()


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("/opt/x/bin:${X_PATH}", "/opt/x/bin:/usr/x"),
        ("${X_PATH}${X_PATH}/${X_EMPTY}${X_OTHER}|", "/usr/x/usr/x/|"),
        ("${X_UNSET}:${X PATH}:${", "${X_UNSET}:${X PATH}:${"),
        ("$${X_PATH} $X_PATH $$ ${}", "${X_PATH} $X_PATH $$ ${}"),
        ("${X_DOLLARS}", "$(touch pwned) ${X_PATH} `touch pwned`"),
        ("$(touch pwned) ${x[$(touch pwned)]} ${X_PATH:-$(touch pwned)}",) * 2,
        ("a\n${X_PATH}\n", "a\n/usr/x\n"),
        ("${KERNEL_LAUNCH_KEY}", "${KERNEL_LAUNCH_KEY}"),
        ("\udcff${X_PATH}", "\udcff/usr/x"),
    ],
)
def test_references_of_a_kernelspec_are_expanded_in_the_container(image, template, value):
    install(image, "own/launch")
    launcher = image / "kernel-launchers" / "own" / "launch"
    launcher.write_text(
        f"#!{sys.executable}\nimport json, os\nprint(json.dumps(dict(os.environ)))\n"
    )
    launcher.chmod(0o755)
    variables = {
        "KERNEL_LANGUAGE": "own",
        "KERNEL_LAUNCH_KEY": SECRET,
        "KERNEL_EXPAND_X_OTHER": template,
        "KERNEL_EXPAND_X_PATH": "mine:${X_PATH}",
        "X_PATH": "/usr/x",
        "X_OTHER": "",
        "X_EMPTY": "",
        "X_DOLLARS": "$(touch pwned) ${X_PATH} `touch pwned`",
    }
    code, stdout, stderr = outcome(bootstrap(image, **variables))
    assert (code, stderr) == (0, "")
    found = json.loads(stdout)
    assert (found["X_OTHER"], found["X_PATH"]) == (value, "mine:/usr/x")
    assert not [name for name in found if name.startswith("KERNEL_EXPAND_")]
    assert not (image / "pwned").exists()


LIMITS = ("CPU_LIMIT", "MEM_LIMIT")
THREADS = (
    "OMP_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "PYTHON_CPU_COUNT",
)
V1 = "memory/memory.limit_in_bytes", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"
V2 = "memory.max", "cpu.max"


def below_cgroups(tmp_path, files):
    """A command that runs another where the container's cgroups have these files."""
    root = tmp_path / "cgroup"
    root.mkdir()
    for name, content in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(content)
    bind = 'mount --bind "$1" /sys/fs/cgroup && shift && exec "$@"'
    return ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", bind, "sh", str(root))


def environment_below(image, wrapper, **variables):
    """The environment that a launcher is started with."""
    launcher = image / "kernel-launchers" / "own" / "launch"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(
        f"#!{sys.executable}\nimport json, os\nprint(json.dumps(dict(os.environ)))\n"
    )
    launcher.chmod(0o755)
    code, stdout, stderr = outcome(bootstrap(image, wrapper, KERNEL_LANGUAGE="own", **variables))
    assert (code, stderr) == (0, "")
    return json.loads(stdout)


def without_limits(**variables):
    """Variables of a start, without those that this process has."""
    return {**dict.fromkeys((*LIMITS, *THREADS, "OMP_THREAD_LIMIT")), **variables}


@pytest.mark.parametrize(
    ("files", "cpu", "memory"),
    [
        (("2147483648", "150000 100000"), "1.5", "2147483648"),
        (("max", "200000 100000"), "2.0", None),
        (("2147483648", "max 100000"), None, "2147483648"),
        (("max", "1000 100000"), "0.01", None),
        (("max", "1250 10000"), "0.125", None),
        (("max", "6400000 100000"), "64.0", None),
        (("1073741824", "25000", "100000"), "0.25", "1073741824"),
        (("9223372036854771712", "-1", "100000"), None, None),
        (("18446744073709551615", "100000", "0"), None, None),
        (("max", "$(touch pwned) a[$(touch pwned)]"), None, None),
        (("", "200000"), None, None),
    ],
)
def test_libraries_learn_the_limits_of_the_container(image, tmp_path, files, cpu, memory):
    names = V1 if len(files) == len(V1) else V2
    tree = dict(zip(names, (f"{content}\n" for content in files), strict=True))
    found = environment_below(image, below_cgroups(tmp_path, tree), **without_limits())
    assert (found.get("CPU_LIMIT"), found.get("MEM_LIMIT")) == (cpu, memory)
    here = len(os.sched_getaffinity(0))
    threads = None if cpu is None else str(min(math.ceil(float(cpu)), here))
    assert {found.get(name) for name in THREADS} == {threads}
    assert not (image / "pwned").exists()


def test_libraries_are_left_alone_where_no_limits_can_be_read(image, tmp_path):
    found = environment_below(image, below_cgroups(tmp_path, {}), **without_limits())
    assert not found.keys() & {*LIMITS, *THREADS}


@pytest.mark.parametrize("given", [{"OMP_NUM_THREADS": "7", "CPU_LIMIT": "3"}, {"MEM_LIMIT": ""}])
def test_limits_that_the_image_or_the_user_has_set_stay(image, tmp_path, given):
    tree = {"memory.max": "1024\n", "cpu.max": "100000 100000\n"}
    wrapper = below_cgroups(tmp_path, tree)
    found = environment_below(image, wrapper, **without_limits(**given))
    expected = {"CPU_LIMIT": "1.0", "MEM_LIMIT": "1024", **dict.fromkeys(THREADS, "1"), **given}
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("kernel_id", VECTORS["kernel_ids"]["valid"])
def test_valid_kernel_id(image, kernel_id):
    install(image, "python/scripts/launch_ipykernel.py")
    record(image, "python")
    code, stdout, _ = outcome(bootstrap(image, path=f"{image}:/usr/bin:/bin", KERNEL_ID=kernel_id))
    assert code == 0
    assert json.loads(stdout)["arguments"][1:3] == ["--kernel-id", kernel_id]


@pytest.mark.parametrize("kernel_id", VECTORS["kernel_ids"]["invalid"])
def test_invalid_kernel_id(image, kernel_id):
    code, _, stderr = outcome(bootstrap(image, KERNEL_ID=kernel_id))
    assert code == 64
    assert stderr.startswith("bootstrap-kernel: KERNEL_ID is ")


@pytest.mark.parametrize("language", ["python", "r", "scala"])
def test_image_without_the_launcher(image, language):
    code, _, stderr = outcome(bootstrap(image, KERNEL_LANGUAGE=language))
    assert code == 69
    assert stderr == (
        f"bootstrap-kernel: no launcher for '{language}' in {image}/kernel-launchers: this image"
        f" needs 'jupyter image-bootstrap install --languages {language}'\n"
    )


def test_unknown_language(image):
    code, _, stderr = outcome(bootstrap(image, KERNEL_LANGUAGE="cobol"))
    assert code == 69
    assert stderr == (
        "bootstrap-kernel: no launcher for 'cobol': use python, r or scala, or add the program"
        f" {image}/kernel-launchers/cobol/launch to this image\n"
    )


def test_own_launcher_that_is_not_executable(image):
    install(image, "cobol/launch")
    code, _, stderr = outcome(bootstrap(image, KERNEL_LANGUAGE="cobol"))
    assert code == 69
    assert stderr.startswith(
        f"bootstrap-kernel: {image}/kernel-launchers/cobol/launch cannot be executed"
    )


@pytest.mark.parametrize("language", ["Bash", "c++17", "q#"])
def test_becomes_the_images_own_launcher(image, language):
    record(image, f"kernel-launchers/{language.lower()}/launch", code=7)
    process = bootstrap(image, KERNEL_LANGUAGE=language)
    code, stdout, stderr = outcome(process)
    assert (code, stderr) == (7, "")
    assert json.loads(stdout) == {
        "program": str(image / "kernel-launchers" / language.lower() / "launch"),
        "pid": process.pid,
        "arguments": COMMON,
    }


SCALA = ("scala/lib/toree-launcher.jar",)


@pytest.mark.parametrize(
    ("language", "launchers", "runtime"),
    [
        ("python", ["python/scripts/launch_ipykernel.py"], "python"),
        ("R", ["R/scripts/launch_IRkernel.R"], "Rscript"),
    ],
)
def test_image_without_the_runtime(image, language, launchers, runtime):
    install(image, *launchers)
    code, _, stderr = outcome(bootstrap(image, KERNEL_LANGUAGE=language, path="/nonexistent"))
    assert code == 69
    assert stderr == (
        f"bootstrap-kernel: no runtime for '{language.lower()}' in this image:"
        f" {runtime} is not in PATH\n"
    )


COMMON = [
    *("--kernel-id", KERNEL_ID, "--port-range", "0..0"),
    *("--response-address", "10.0.0.1:8877", "--public-key", PUBLIC_KEY),
    *("--spark-context-initialization-mode", "none"),
]


@pytest.mark.parametrize("program", ["python", "python3"])
def test_becomes_the_python_launcher(image, program):
    install(image, "python/scripts/launch_ipykernel.py")
    record(image, program, code=41)
    process = bootstrap(
        image,
        path=str(image),
        KERNEL_LANGUAGE="Python",
        KERNEL_CLASS_NAME="acme.Kernel; touch pwned",
        KERNEL_TRANSPORT_ENCRYPTION="auto",
    )
    code, stdout, stderr = outcome(process)
    assert (code, stderr) == (41, "")
    launcher = str(image / "kernel-launchers/python/scripts/launch_ipykernel.py")
    assert json.loads(stdout) == {
        "program": str(image / program),
        "pid": process.pid,  # it was replaced, so signals reach the launcher
        "arguments": [
            *(launcher, *COMMON, "--kernel-class-name", "acme.Kernel; touch pwned"),
            *("--transport-encryption", "auto"),
        ],
    }
    assert not (image / "pwned").exists()


def test_takes_enterprise_gateways_variables(image):
    install(image, "python/scripts/launch_ipykernel.py")
    record(image, "python")
    names = {"RESPONSE_ADDRESS": None, "PUBLIC_KEY": None}
    others = {
        "EG_RESPONSE_ADDRESS": "10.0.0.1:8877",
        "EG_PUBLIC_KEY": PUBLIC_KEY,
        "EG_PORT_RANGE": "40000..41000",
        "TRANSPORT_ENCRYPTION": "required",
    }
    _, stdout, stderr = outcome(bootstrap(image, path=str(image), **names, **others))
    assert not stderr
    arguments = json.loads(stdout)["arguments"][1:]
    expected = [word if word != "0..0" else "40000..41000" for word in COMMON]
    assert arguments == [*expected, "--transport-encryption", "required"]


@pytest.mark.parametrize("directory", ["r", "R"])
def test_becomes_the_r_launcher(image, directory):
    install(image, f"{directory}/scripts/launch_IRkernel.R")
    record(image, "Rscript", code=3)
    code, stdout, stderr = outcome(bootstrap(image, path=f"{image}:/usr/bin", KERNEL_LANGUAGE="R"))
    assert (code, stderr) == (3, "")
    launcher = str(image / "kernel-launchers" / directory / "scripts/launch_IRkernel.R")
    assert json.loads(stdout)["arguments"] == [launcher, *COMMON]


@pytest.fixture
def spark_image(image):
    """An image with Spark, Toree, Java and the Scala launcher; gives the variables that say where."""
    install(image, *SCALA)
    for name in ("spark/jars/scala-library-2.12.18.jar", "toree/lib/toree-assembly-0.5.0.jar"):
        (image / name).parent.mkdir(parents=True)
        (image / name).touch()
    record(image, "jre/bin/java", code=5)
    return {f"{name}_HOME": str(image / name.lower()) for name in ("SPARK", "TOREE")} | {
        "JAVA_HOME": str(image / "jre"),
        "KERNEL_LANGUAGE": "Scala",
    }


def scala_arguments(image, toree):
    library = image / "spark/jars/scala-library-2.12.18.jar"
    class_path = f"{image}/kernel-launchers/scala/lib/toree-launcher.jar:{library}"
    return [
        *("-Xmx32m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", class_path),
        *("launcher.ToreeLauncher", "--toree-assembly", f"{toree}/lib/toree-assembly-0.5.0.jar"),
        *COMMON,
    ]


def test_becomes_the_scala_launcher(image, spark_image):
    process = bootstrap(image, **spark_image)
    code, stdout, stderr = outcome(process)
    assert (code, stderr) == (5, "")
    assert json.loads(stdout) == {
        "program": str(image / "jre/bin/java"),
        "pid": process.pid,
        "arguments": scala_arguments(image, image / "toree"),
    }


def test_spark_and_toree_may_be_pips(image, spark_image):
    for package, folder in (("pyspark", "spark"), ("toree", "toree")):
        shutil.move(image / folder, image / package)
        (image / package / "__init__.py").touch()
    (image / "spark").symlink_to("pyspark")
    places = {"SPARK_HOME": None, "TOREE_HOME": None, "PYTHONPATH": str(image)}
    code, stdout, stderr = outcome(bootstrap(image, **{**spark_image, **places}))
    assert (code, stderr) == (5, "")
    said = [
        word.replace(f"{image}/pyspark", f"{image}/spark")
        for word in json.loads(stdout)["arguments"]
    ]
    assert said == scala_arguments(image, image / "toree")


@pytest.mark.parametrize(
    ("variable", "path", "said"),
    [
        ("JAVA_HOME", "/nonexistent", "java is not in PATH"),
        ("SPARK_HOME", "/usr/bin", "SPARK_HOME is '/else/where' and holds no Spark for Scala 2.12"),
        ("TOREE_HOME", "/usr/bin", "TOREE_HOME is '/else/where' and holds no Toree"),
    ],
)
def test_image_without_a_part_of_the_scala_runtime(image, spark_image, variable, path, said):
    variables = {**spark_image, variable: "/else/where"}
    code, _, stderr = outcome(bootstrap(image, path=path, **variables))
    assert code == 69
    assert stderr == f"bootstrap-kernel: no runtime for 'scala' in this image: {said}\n"


def accounts(tmp_path, text="root:x:0:0::/root:/bin/sh\n", mode=0o444):
    """An /etc/passwd without an account for id 1000970000."""
    passwd = tmp_path / "passwd"
    passwd.write_text(text)
    passwd.chmod(mode)
    return passwd


def test_spark_needs_an_account(image, spark_image, tmp_path):
    wrapper = as_another_user(accounts(tmp_path))
    code, _, stderr = outcome(bootstrap(image, wrapper, **spark_image))
    assert code == 69
    assert stderr.splitlines()[-1] == (
        f"bootstrap-kernel: {NO_ACCOUNT}, which Spark needs: add a line to /etc/passwd"
    )
    code, *_ = outcome(
        bootstrap(image, as_another_user(accounts(tmp_path, mode=0o664)), **spark_image)
    )
    assert code == 5


NO_ACCOUNT = "user 1000970000 has no account in this image"
SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


def started_as_another_user(image, passwd, uid=1000970000, **variables):
    """The environment that the launcher gets, and what was written to stderr."""
    install(image, "python/scripts/launch_ipykernel.py")
    script = image / "kernel-launchers/python/scripts/launch_ipykernel.py"
    script.write_text(SHOW)
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    process = bootstrap(image, as_another_user(passwd, uid), path=path, **variables)
    code, stdout, stderr = outcome(process)
    assert code == 0, stderr
    return json.loads(stdout), stderr


@pytest.mark.parametrize("end", ["\n", ""])
def test_an_id_without_an_account_gets_one(image, tmp_path, end):
    passwd = accounts(tmp_path, f"root:x:0:0::/root:/bin/sh{end}", mode=0o664)
    given, stderr = started_as_another_user(image, passwd, HOME=str(tmp_path))
    assert passwd.read_text() == (
        f"root:x:0:0::/root:/bin/sh\nuser1000970000:x:1000970000:0::{tmp_path}:/bin/bash\n"
    )
    assert given["HOME"] == str(tmp_path)
    assert stderr == f"bootstrap-kernel: {NO_ACCOUNT}: added user1000970000 to /etc/passwd\n"
    _, stderr = started_as_another_user(image, passwd, HOME=str(tmp_path))
    assert not stderr
    assert passwd.read_text().count("\n") == 2


def test_an_id_without_an_account_has_a_name_at_least(image, tmp_path):
    passwd = accounts(tmp_path)
    given, stderr = started_as_another_user(
        image, passwd, HOME=str(tmp_path), USER=None, LOGNAME=None
    )
    assert (given["USER"], given["LOGNAME"]) == ("user1000970000", "user1000970000")
    assert stderr == f"bootstrap-kernel: {NO_ACCOUNT}: its name is in USER and LOGNAME only\n"
    given, _ = started_as_another_user(image, passwd, HOME=str(tmp_path), USER="ana", LOGNAME=None)
    assert (given["USER"], given["LOGNAME"]) == ("ana", "ana")


def test_an_account_stays_as_it_is(image, tmp_path):
    passwd = accounts(tmp_path, "ana:x:1000970000:0::/home/ana:/bin/sh\n", mode=0o664)
    before = passwd.read_text()
    given, stderr = started_as_another_user(
        image, passwd, HOME=str(tmp_path), USER=None, LOGNAME=None
    )
    assert not stderr
    assert passwd.read_text() == before
    assert "USER" not in given


@pytest.mark.parametrize("home", ["/", None, "missing", "closed"])
def test_a_home_that_cannot_be_used_is_replaced(image, tmp_path, home):
    (tmp_path / "closed").mkdir(mode=0o555)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    place = str(tmp_path / home) if home and home != "/" else home
    passwd = accounts(tmp_path, "ana:x:1000970000:0::/nonexistent:/bin/sh\n")
    variables = {"HOME": place, "TMPDIR": str(temporary)}
    given, stderr = started_as_another_user(image, passwd, **variables)
    assert given["HOME"] == f"{temporary}/home-1000970000"
    assert Path(given["HOME"]).stat().st_mode & 0o777 == 0o700
    was = place or "/nonexistent"  # from its account
    assert stderr == (
        f"bootstrap-kernel: HOME is {given['HOME']}, because '{was}' cannot be written to\n"
    )
    (Path(given["HOME"]) / "kept").touch()
    again, _ = started_as_another_user(image, passwd, **variables)
    assert again["HOME"] == given["HOME"]


def test_a_home_that_another_user_has_put_there_is_not_used(image, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    (tmp_path / "trap").mkdir()
    (temporary / "home-1000970000").symlink_to(tmp_path / "trap")
    passwd = accounts(tmp_path)
    given, _ = started_as_another_user(image, passwd, HOME="/", TMPDIR=str(temporary))
    home = Path(given["HOME"])
    assert home.parent != temporary
    assert not list((tmp_path / "trap").iterdir())
    shutil.rmtree(home)


NAMESPACE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")


@pytest.mark.parametrize("language", ["r", "scala"])
@pytest.mark.parametrize(("ends_with", "code"), [("exec sleep 3600", 143), ("exit 7", 7)])
def test_is_an_init_where_there_is_none(image, spark_image, language, ends_with, code):
    """As the first process of its namespace, where SIGTERM does nothing by itself."""
    install(image, "R/scripts/launch_IRkernel.R")
    for program in ("Rscript", "jre/bin/java"):
        script = image / program
        script.write_text(f"#!/bin/sh\n(sleep 0 &)\necho started\n{ends_with}\n")
        script.chmod(0o755)
    variables = {**spark_image, "KERNEL_LANGUAGE": language}
    process = bootstrap(image, NAMESPACE, path=f"{image}:/usr/bin:/bin", **variables)
    assert process.stdout.readline() == "started\n"
    if code == 143:
        [first] = children(process.pid)
        os.kill(first, signal.SIGTERM)
    assert outcome(process) == (code, "", "")


# The signal comes while the launcher is being started; handlers that are set after that come too late.
SIGNALLED_AT_ONCE = """
trap() { [[ -z ${!:-} ]] || until [[ -e $SIGNALLED ]]; do :; done; builtin trap "$@"; }
setsid() { builtin kill -s TERM $$; : >"$SIGNALLED"; command setsid "$@"; }
"""


def test_an_init_passes_on_a_signal_that_comes_early(image, tmp_path):
    install(image, "R/scripts/launch_IRkernel.R")
    script = image / "Rscript"
    script.write_text("#!/bin/sh\nexec sleep 3600\n")
    script.chmod(0o755)
    functions = tmp_path / "functions.sh"
    functions.write_text(SIGNALLED_AT_ONCE)
    process = bootstrap(
        image,
        NAMESPACE,
        path=f"{image}:/usr/bin:/bin",
        KERNEL_LANGUAGE="r",
        BASH_ENV=str(functions),
        SIGNALLED=str(tmp_path / "signalled"),
    )
    assert outcome(process) == (143, "", "")


def test_launchers_may_be_elsewhere(image, tmp_path):
    elsewhere = tmp_path / "else where"
    install(image, "python/scripts/launch_ipykernel.py")
    shutil.move(image / "kernel-launchers", elsewhere)
    record(image, "python")
    process = bootstrap(image, path=str(image), KERNEL_LAUNCHERS_DIR=str(elsewhere))
    code, stdout, _ = outcome(process)
    assert code == 0
    assert json.loads(stdout)["arguments"][0].startswith(str(elsewhere))


async def test_from_the_image_to_a_kernel(image, server):
    variables = {
        "PORT_RANGE": "25000..26000",
        "KERNEL_TRANSPORT_ENCRYPTION": "required",
        "HOME": str(image),
    }
    async with kernel_of(image, server, **variables) as kernel:
        assert 25000 <= kernel.info.shell_port <= 26000
        assert kernel.info.curve_publickey
        assert await value(kernel.client, "6 * 7") == "42"
        kernel.process.send_signal(signal.SIGTERM)
        assert await kernel.exit_code() == 128 + signal.SIGTERM
