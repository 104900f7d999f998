"""The records of kernels on a Docker engine, as the next gateway reads them."""

import asyncio
import datetime as dt
import json
import stat

import pytest
from kernel_records import kernel_record, stored_kernel

from gateway_provisioners.dockerd.engine import DockerEngine
from gateway_provisioners.dockerd.records import Records
from gateway_provisioners.errors import ConfigurationError, EngineError
from gateway_provisioners.model.kernel_record import VERSION


def newer(stored, **changes):
    """A stored kernel as a later release may write it."""
    value = {**stored.to_json(), "unknown": {}}
    return {**value, "record": {**value["record"], "version": VERSION + 1, **changes}}


@pytest.fixture
async def open_records(tmp_path):
    opened = []

    async def open_records(folder=tmp_path / "state", instance="team-a"):
        records = Records(folder, instance=instance)
        await records.open()
        opened.append(records)
        return records

    yield open_records
    for records in opened:
        records.close()


async def test_the_next_process_reads_what_was_written(open_records, tmp_path):
    records = await open_records()
    await records.write("a", stored_kernel().record)
    await records.change("a", restarting=True, last_activity="2026-01-01T00:00:00+00:00")
    await records.write("b", stored_kernel("other").record)
    await records.forget("b")
    await records.change("b", restarting=True)
    records.close()
    again = await open_records()
    stored = again.stored["a"]
    assert dt.datetime.fromisoformat(stored.started).tzinfo
    assert again.stored == {
        "a": stored_kernel(
            restarting=True,
            last_activity="2026-01-01T00:00:00+00:00",
            started=stored.started,
        )
    }
    folder = tmp_path / "state"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*.json")] == [0o600]


async def test_a_restart_is_not_a_new_kernel(open_records):
    records = await open_records()
    await records.write("a-1", stored_kernel().record)
    await records.change("a-1", started="then", last_activity="later")
    await records.write("b-1", stored_kernel("other").record)
    await records.write("a-2", stored_kernel(attempt=2).record)
    assert records.stored["a-2"] == stored_kernel(attempt=2, started="then", last_activity="later")
    assert records.stored["b-1"].started != "then"


async def test_a_folder_that_others_may_read_is_closed_to_them(open_records, tmp_path):
    (tmp_path / "state").mkdir(mode=0o755)
    await open_records()
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "garbage",
    [
        *("", "{", "[]", "{}", '{"record": {}}', '{"record": 7, "x": 1}', "[" * 100_000),
        json.dumps({**stored_kernel().to_json(), "restarting": "yes"}),
        json.dumps({**stored_kernel().to_json(), "started": 5}),
    ],
)
async def test_files_that_are_not_records_are_ignored(open_records, tmp_path, garbage):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "a.json").write_text(garbage)
    (tmp_path / "state" / "b.json.new").write_text("half")
    assert (await open_records()).stored == {}
    assert [path.name for path in (tmp_path / "state").glob("[!.]*")] == ["a.json"]


async def test_a_newer_kernel_is_left_as_it_is(open_records, tmp_path, caplog):
    (tmp_path / "state").mkdir()
    file = tmp_path / "state" / "a.json"
    text = json.dumps(newer(stored_kernel(), attempt={"now": "an object"}, connection_info=None))
    file.write_text(text)
    records = await open_records()
    assert records.stored == {}
    assert records.newer == {"a": "k"}
    assert file.read_text() == text
    [line] = [record.getMessage() for record in caplog.records]
    assert line == (
        f"Kernel k in a is left as it is: Its record has version {VERSION + 1}, and this gateway reads "
        f"versions up to {VERSION}; upgrade this gateway, or shut the kernel down with the newer one."
    )
    # They are kernels of this instance, and the folder is not empty.
    records.close()
    with pytest.raises(ConfigurationError, match="holds kernels of GP_INSTANCE='team-a'"):
        await open_records(instance="team-b")


async def test_a_newer_kernels_workload_is_not_removed(open_records, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "a.json").write_text(json.dumps(newer(stored_kernel())))
    engine = DockerEngine(None, instance="team-a", records=await open_records(), keep=False)
    removed = []

    async def names(*found):
        return set(found)

    for kernels in (engine.containers, engine.services):
        kernels.remove_soon = lambda name, **_: removed.append(name)
    engine.containers.existing = lambda: names("a", "b")
    engine.services.existing = names
    engine.services.leftovers = lambda: names("a", "c")
    assert await engine.recover() == {}
    assert removed == ["b", "c"]
    assert (tmp_path / "state" / "a.json").exists()


async def test_unknown_fields_of_a_stored_kernel_are_ignored(open_records, tmp_path):
    (tmp_path / "state").mkdir()
    value = {**stored_kernel(started="then").to_json(), "unknown": [1]}
    value["record"]["unknown"] = {}
    (tmp_path / "state" / "a.json").write_text(json.dumps(value))
    assert (await open_records()).stored == {"a": stored_kernel(started="then")}


def test_the_stored_form_is_that_of_the_first_version():
    assert stored_kernel(restarting=True, started="then").to_json() == {
        "record": kernel_record("k").to_json(),
        "restarting": True,
        "last_activity": "",
        "started": "then",
    }


async def test_a_folder_is_one_process_s_alone(open_records):
    records = await open_records()
    with pytest.raises(ConfigurationError, match="another gateway uses the folder"):
        await open_records()
    records.close()
    await open_records()


async def test_a_folder_with_kernels_is_one_instance_s_alone(open_records):
    records = await open_records()
    await records.write("a", stored_kernel().record)
    records.close()
    with pytest.raises(ConfigurationError, match="holds kernels of GP_INSTANCE='team-a'; give"):
        await open_records(instance="team-b")
    records = await open_records()
    await records.forget("a")
    records.close()
    await open_records(instance="team-b")


async def test_a_folder_that_cannot_be_made(open_records, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ConfigurationError, match=r"GP_STATE_DIR: the folder .* cannot be used: Not a dir"
    ):
        await open_records(tmp_path / "file" / "state")


async def test_a_record_that_cannot_be_written(open_records, tmp_path):
    records = await open_records()
    (tmp_path / "state" / "a.json.new").mkdir()
    with pytest.raises(EngineError, match="cannot be stored in GP_STATE_DIR") as failure:
        await records.write("a", stored_kernel().record)
    assert "s3cr3t" not in str(failure.value)
    assert "s3cr3t" not in repr(records.stored)


async def test_the_last_of_many_changes_stays(open_records, tmp_path):
    records = await open_records()
    await records.write("a", stored_kernel().record)
    await asyncio.gather(*(records.change("a", started=str(number)) for number in range(50)))
    assert json.loads((tmp_path / "state" / "a.json").read_text())["started"] == "49"


async def test_without_a_folder_nothing_is_stored():
    records = Records(None, instance="team-a")
    await records.open()
    await records.write("a", stored_kernel().record)
    await records.change("a", restarting=True)
    await records.forget("a")
    assert records.stored == {}
