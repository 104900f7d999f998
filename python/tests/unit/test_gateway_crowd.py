"""Fairness between addresses, and the addresses of clients behind proxies."""

import pytest

from gateway_provisioners.gateway.http.crowd import Crowd, client_address, parse_networks

PROXIES = parse_networks(["10.0.0.0/8", "fd00::/8"])


def test_busiest_address_makes_room_with_its_oldest_connection():
    dropped = []
    crowd = Crowd(dropped.append, most=4)
    for connection, ip in (("a1", "a"), ("b1", "b"), ("b2", "b"), ("b3", "b"), ("c1", "c")):
        crowd.admit(connection, ip)
    assert dropped == ["b1"]
    crowd.leave("b2")
    crowd.admit("d1", "d")
    assert dropped == ["b1"]
    assert len(crowd) == 4


def test_addresses_of_one_ipv6_network_count_together():
    dropped = []
    crowd = Crowd(dropped.append, most=3)
    for number in range(3):
        crowd.admit(number, f"2001:db8::{number}")
    crowd.admit("other", "2001:db8:1::1")
    assert dropped == [0]


def test_ipv4_addresses_that_are_written_as_ipv6_count_one_by_one():
    dropped = []
    crowd = Crowd(dropped.append, most=3)
    for connection, ip in (("a1", "10.0.0.1"), ("b1", "::ffff:10.0.0.2"), ("b2", "10.0.0.2")):
        crowd.admit(connection, ip)
    crowd.admit("c1", "::ffff:10.0.0.3")
    assert dropped == ["b1"]


def test_connection_of_a_proxy_counts_for_its_client():
    dropped = []
    crowd = Crowd(dropped.append, most=3)
    for connection in ("user", "attacker 1", "attacker 2"):
        crowd.admit(connection, "10.0.0.1")
    crowd.move("user", "198.51.100.7")
    crowd.move("known", "198.51.100.7")  # has left before
    crowd.admit("other", "192.0.2.1")
    assert dropped == ["attacker 1"]
    assert "user" in crowd
    assert "known" not in crowd


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),  # anyone can send the header
        ("10.1.2.3", ["198.51.100.7"], "198.51.100.7"),
        ("::ffff:10.1.2.3", ["198.51.100.7"], "198.51.100.7"),
        (
            "10.1.2.3",
            ["1.1.1.1, 198.51.100.7"],
            "198.51.100.7",
        ),  # the first is the client's own word
        ("10.1.2.3", ["1.1.1.1", "198.51.100.7, 10.9.9.9"], "198.51.100.7"),
        ("fd00::1", ["2001:db8::5"], "2001:db8::5"),
        # Some proxies add the port that the client came from.
        ("fd00::1", ["[2001:db8::5]:49152"], "2001:db8::5"),
        ("fd00::1", ["[2001:db8::5]"], "2001:db8::5"),
        ("10.1.2.3", ["198.51.100.7:49152"], "198.51.100.7"),
        ("10.1.2.3", ["[198.51.100.7"], "10.1.2.3"),
        # A server for both families sees IPv4 addresses in the form of IPv6.
        ("::ffff:192.0.2.1", [], "192.0.2.1"),
        ("10.1.2.3", ["nonsense"], "10.1.2.3"),
        ("10.1.2.3", [""], "10.1.2.3"),
        ("10.1.2.3", ["fd00::1%" + "x" * 20_000], "fd00::1"),
        ("10.1.2.3", ["192.0.2.1," + "10.9.9.9," * 3000 + "10.8.8.8"], "10.9.9.9"),
    ],
)
def test_address_of_a_client_behind_proxies(peer, forwarded, address):
    assert client_address(peer, forwarded, PROXIES) == address


def test_malformed_network_is_refused():
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        parse_networks(["10.0.0.1/8"])
