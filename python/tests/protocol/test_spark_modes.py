"""KERNEL_SPARK_CONTEXT_INIT_MODE in Python kernels; a recording stand-in replaces pyspark."""

import pytest
from launched import client_of, run, start_busy, value

from gateway_provisioners.handshake.command_client import send_signal
from timeouts import within_timeout

PYSPARK = """
created = []
cancelled = []

class SparkContext:
    version = "stand-in"
    def cancelAllJobs(self):
        cancelled.append(True)

class SparkSession:
    def __init__(self):
        created.append(True)
        self.sparkContext = SparkContext()
    def sql(self, query):
        return f"answer to {query}"
    def stop(self):
        pass

class Builder:
    def getOrCreate(self):
        return SparkSession()

SparkSession.builder = Builder()
"""


@pytest.fixture
def pyspark(tmp_path):
    package = tmp_path / "modules" / "pyspark"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "sql.py").write_text(PYSPARK)
    return str(package.parent)


CREATED = "len(__import__('sys').modules['pyspark.sql'].created)"


async def test_none(launch, pyspark):
    async with (
        launch("--spark-context-initialization-mode", "none", PYTHONPATH=pyspark) as kernel,
        client_of(kernel.info.to_jupyter()) as client,
    ):
        assert await value(client, "'pyspark' in __import__('sys').modules") == "False"
        assert await value(client, "'spark' in globals()") == "False"


async def test_eager(launch, pyspark):
    async with (
        launch(KERNEL_SPARK_CONTEXT_INIT_MODE="eager", PYTHONPATH=pyspark) as kernel,
        client_of(kernel.info.to_jupyter()) as client,
    ):
        assert await value(client, CREATED) == "1"
        assert await value(client, "sc.version, sql('x'), type(spark).__name__") == (
            "('stand-in', 'answer to x', 'SparkSession')"
        )


@pytest.mark.parametrize("use", ["sc.version", "spark.sql('x')", "sql('x')", "spark"])
async def test_lazy(launch, pyspark, use):
    async with (
        launch("--spark-context-initialization-mode", "lazy", PYTHONPATH=pyspark) as kernel,
        client_of(kernel.info.to_jupyter()) as client,
    ):
        assert await value(client, CREATED) == "0"
        assert (await run(client, use))[0]["status"] == "ok"
        assert await value(client, CREATED) == "1"
        # From now on the names are the real things.
        assert await value(client, "type(sc).__name__, type(spark).__name__") == (
            "('SparkContext', 'SparkSession')"
        )
        assert await value(client, CREATED) == "1"


async def test_interrupt_cancels_jobs(launch, pyspark):
    async with (
        launch("--spark-context-initialization-mode", "eager", PYTHONPATH=pyspark) as kernel,
        client_of(kernel.info.to_jupyter()) as client,
    ):
        code = """
from pyspark import sql as pyspark_sql
try:
    busy()
    while True: pass
except KeyboardInterrupt:
    while not pyspark_sql.cancelled: pass
"""

        looping = await start_busy(client, code)
        await send_signal(kernel.endpoint, 2)
        assert (await within_timeout(looping))[0]["status"] == "ok"
        assert await value(client, "pyspark_sql.cancelled") == "[True]"
