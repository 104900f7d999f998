"""The limits of open files and sockets."""

import resource

from gateway_provisioners.gateway.process import open_files


def test_the_soft_limit_of_files_is_raised_to_the_hard_one(monkeypatch):
    in_force = [1024, 4096]
    monkeypatch.setattr(open_files.resource, "getrlimit", lambda _: tuple(in_force))
    monkeypatch.setattr(
        open_files.resource, "setrlimit", lambda _, new: in_force.__setitem__(slice(2), new)
    )
    assert open_files.raise_open_files() == 4096
    assert in_force == [4096, 4096]
    in_force[:] = [resource.RLIM_INFINITY] * 2
    assert open_files.max_zmq_sockets() == 65535
