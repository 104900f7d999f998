"""bootstrap-kernel.sh, laid out as `jupyter image-bootstrap install` leaves it in an image."""

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from launched import KERNEL_ID, LAUNCHERS, client_of, environment, value
from launched_r import children

from gateway_provisioners.handshake.payload import new_launch_key
from timeouts import TIMEOUT_SECONDS

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


def bootstrap(image, wrapper=(), *, path="/usr/bin:/bin", **variables):
    given = {
        "KERNEL_LANGUAGE": "python",
        "KERNEL_ID": KERNEL_ID,
        "RESPONSE_ADDRESS": "10.0.0.1:8877",
        "PUBLIC_KEY": PUBLIC_KEY,
        **variables,
    }
    present = {name: text for name, text in given.items() if text is not None}
    return subprocess.Popen(
        [*wrapper, image / "bootstrap-kernel.sh"],
        env={**environment(**present), "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=image,
    )


def outcome(process):
    stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    return process.returncode, stdout, stderr


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


def test_spark_needs_an_account(image, spark_image):
    code, _, stderr = outcome(
        bootstrap(image, ("unshare", "--user", "--map-user=1000970000"), **spark_image)
    )
    assert code == 69
    assert stderr.startswith("bootstrap-kernel: user 1000970000 has no account in this image")


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
    shutil.copytree(LAUNCHERS / "python", image / "kernel-launchers" / "python")
    key = new_launch_key()
    with server.expect(KERNEL_ID, key) as expectation:
        process = bootstrap(
            image,
            path=f"{Path(sys.executable).parent}:/usr/bin:/bin",
            RESPONSE_ADDRESS=server.response_address,
            PUBLIC_KEY=server.public_key,
            KERNEL_LAUNCH_KEY=key,
            PORT_RANGE="25000..26000",
            KERNEL_TRANSPORT_ENCRYPTION="required",
            HOME=str(image),
        )
        ended = asyncio.create_task(asyncio.to_thread(process.wait))
        arrival = asyncio.create_task(expectation.next_arrival())
        try:
            await asyncio.wait({arrival, ended}, return_when=asyncio.FIRST_COMPLETED)
            assert arrival.done()
            info = arrival.result().connection_info
            assert 25000 <= info.shell_port <= 26000
            assert info.curve_publickey
            async with client_of(info.to_jupyter()) as client:
                assert await value(client, "6 * 7") == "42"
            process.send_signal(signal.SIGTERM)
            code, _, stderr = await asyncio.to_thread(outcome, process)
            assert code == 128 + signal.SIGTERM
            assert key not in stderr
            assert info.key not in stderr
        finally:
            process.kill()
            process.communicate()
