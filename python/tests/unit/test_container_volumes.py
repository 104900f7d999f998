import pytest

from gateway_provisioners.errors import ConfigurationError, InvalidRequest
from gateway_provisioners.model.container.volumes import client_mounts, parse_volumes


def test_paths_and_volumes():
    assert parse_volumes(["/srv/data:/data:ro", "home-ada:/home/jovyan"]) == [
        {"Type": "bind", "Source": "/srv/data", "Target": "/data", "ReadOnly": True},
        {"Type": "volume", "Source": "home-ada", "Target": "/home/jovyan", "ReadOnly": False},
    ]


@pytest.mark.parametrize(
    "volume", ["", "data", "data:", "data:relative", "data:/x:rx", "../data:/x", ":/x", "a b:/x"]
)
def test_invalid_volumes(volume):
    with pytest.raises(ConfigurationError, match="is not of the form"):
        parse_volumes([volume])


@pytest.mark.parametrize(
    ("claim", "mount", "read_only"),
    [(False, False, False), (True, False, True), (False, True, True)],
)
def test_a_clients_claim_is_the_volume_of_that_name(claim, mount, read_only):
    volumes = [
        {
            "name": "client-1",
            "persistentVolumeClaim": {"claimName": "data", "readOnly": claim},
        }
    ]
    mounts = [{"name": "client-1", "mountPath": "/data", "readOnly": mount}]
    assert client_mounts(volumes, mounts) == [
        {"Type": "volume", "Source": "data", "Target": "/data", "ReadOnly": read_only}
    ]
    with pytest.raises(InvalidRequest, match="subPath"):
        client_mounts(volumes, [{**mounts[0], "subPath": "part"}])
