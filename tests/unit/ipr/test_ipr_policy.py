"""Exit policies: the file format with its error texts, matching, and what counts as globally routable."""

import ipaddress

import pytest

from smolmix_web.ipr.policy import ExitPolicy, PolicyError, RequestFilter, emit_policy, parse_policy
from smolmix_web.ipr.routable import is_globally_routable

POLICY = """
# mail is not welcome
ExitPolicy reject *:25
ExitPolicy reject 1.2.3.0/24:*   # a whole network
ExitPolicy accept 1.2.0.0/16:80-443
ExitPolicy accept *4:53
ExitPolicy accept6 [2600::]/16:443

ExitPolicy reject6 *6:*
ExitPolicy accept 9.9.9.9:*
"""


def allows(policy: ExitPolicy, address: str, port: int) -> bool:
    return policy.allows(ipaddress.ip_address(address), port)


@pytest.mark.parametrize(
    ("address", "port", "allowed"),
    [
        ("5.5.5.5", 25, False),
        ("1.2.3.4", 443, False),  # the first match decides, though the third rule would accept
        ("1.2.4.4", 79, False),
        ("1.2.4.4", 80, True),
        ("1.2.4.4", 443, True),
        ("1.2.4.4", 444, False),
        ("5.5.5.5", 53, True),
        ("2600::1", 53, False),  # *4 is not for IPv6
        ("2600::1", 443, True),
        ("2601::1", 443, False),
        ("9.9.9.9", 1234, True),
        ("5.5.5.5", 1234, False),  # no rule matches
        ("2600::1", 25, False),
    ],
)
def test_the_first_matching_rule_decides(address: str, port: int, allowed: bool) -> None:
    assert allows(parse_policy(POLICY), address, port) is allowed


def test_traffic_without_ports_matches_every_port_pattern() -> None:
    assert not allows(parse_policy("ExitPolicy reject *:25\nExitPolicy accept *:*"), "5.5.5.5", 0)
    assert allows(parse_policy("ExitPolicy accept *:80"), "5.5.5.5", 0)


def test_accept6_follows_its_pattern_only() -> None:
    policy = parse_policy("ExitPolicy reject6 5.5.5.5:*\nExitPolicy accept6 *:*")
    assert not allows(policy, "5.5.5.5", 80)
    assert allows(policy, "5.5.5.6", 80)


def test_emitting_gives_the_same_policy_back() -> None:
    policy = parse_policy(POLICY)
    assert len(policy.rules) == 7
    assert parse_policy(emit_policy(policy)) == policy


def test_a_mask_of_zero_means_the_whole_family() -> None:
    policy = parse_policy("ExitPolicy accept 1.2.3.4/0:80\nExitPolicy accept [::]/0:443")
    assert emit_policy(policy) == "ExitPolicy accept *4:80\nExitPolicy accept *6:443\n"


def test_bare_ipv6_addresses_end_at_the_last_colon() -> None:
    policy = parse_policy("ExitPolicy accept 2600::1:443")
    assert allows(policy, "2600::1", 443)
    assert not allows(policy, "2600::1", 80)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("accept *:80", "could not parse 'accept *:80' into a valid policy"),
        ("ExitPolicy allow *:80", "'allow' is not a valid policy action"),
        ("ExitPolicy accept *", "could not parse '*' into a valid policy address:port pattern"),
        ("ExitPolicy accept", "could not parse '' into a valid policy address:port pattern"),
        ("ExitPolicy accept 1.2.3:80", "'1.2.3' is not a valid Ip address"),
        ("ExitPolicy accept 1.2.3.4.5:80", "is not a valid Ip address"),
        ("ExitPolicy accept fe80::1%eth0:80", "is not a valid Ip address"),
        ("ExitPolicy accept 1.2.3.4/33:80", "/33 is not a valid mask for an IpV4 address"),
        ("ExitPolicy accept [2600::]/129:80", "/129 is not a valid mask for an IpV6 address"),
        ("ExitPolicy accept 1.2.3.4/x:80", "'/x' is not a valid mask"),
        ("ExitPolicy accept 1.2.3.4/:80", "'/' is not a valid mask"),
        ("ExitPolicy accept */8:80", "attempted to use a bitmask ('/8') with the address '*'"),
        ("ExitPolicy accept *4/8:80", "attempted to use a bitmask ('/8') with the address '*4'"),
        ("ExitPolicy accept *6/8:80", "attempted to use a bitmask ('/8') with the address '*6'"),
        ("ExitPolicy accept *:0", "provided port '0' was either malformed or was not in the valid 1..65535"),
        ("ExitPolicy accept *:65536", "the provided port '65536'"),
        ("ExitPolicy accept *:90-80", "the provided port '90-80'"),
        ("ExitPolicy accept *:80-", "the provided port '80-'"),
        ("ExitPolicy accept *:-80", "the provided port '-80'"),
        ("ExitPolicy accept *:٣", "the provided port"),
        ("ExitPolicy accept *:http", "the provided port 'http'"),
    ],
)  # fmt: skip
def test_malformed_lines_are_named(line: str, text: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(line)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.1.1", "172.16.0.1",
     "172.31.255.255", "192.0.0.1", "192.0.0.8", "192.0.0.11", "192.0.2.1", "192.168.1.1",
     "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "240.0.0.1", "255.255.255.255",
     "::", "::1", "::ffff:8.8.8.8", "64:ff9b:1::1", "100::1", "2001::1", "2001:2::1", "2001:10::1",
     "2001:db8::1", "2002::1", "fc00::1", "fdff::1", "fe80::1", "febf::1"],
)  # fmt: skip
def test_not_globally_routable(address: str) -> None:
    assert not is_globally_routable(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "192.0.0.9",
     "192.0.0.10", "192.0.1.1", "198.17.0.1", "198.20.0.1", "223.255.255.255", "224.0.0.1",
     "239.1.2.3", "2001:1::1", "2001:1::2", "2001:3::1", "2001:4:112::1", "2001:20::1",
     "2001:30::1", "2001:200::1", "2600::1", "64:ff9b::1", "ff02::1"],
)  # fmt: skip
def test_globally_routable(address: str) -> None:
    assert is_globally_routable(ipaddress.ip_address(address))


def test_filter_looks_at_routability_before_the_rules() -> None:
    private, public = ipaddress.ip_address("192.168.1.1"), ipaddress.ip_address("5.5.5.5")
    request_filter = RequestFilter(ExitPolicy.open())
    assert not request_filter.allows(private, 80)
    assert request_filter.allows(public, 80)
    assert RequestFilter(ExitPolicy.open(), allow_local_ips=True).allows(private, 80)


def test_exempt_destinations_still_obey_the_rules() -> None:
    mapped = ipaddress.ip_address("192.0.2.10")
    policy = parse_policy("ExitPolicy reject *:25\nExitPolicy accept *:*")
    request_filter = RequestFilter(policy, exempt=lambda address, port: address == mapped)
    assert request_filter.allows(mapped, 80)
    assert not request_filter.allows(mapped, 25)
    assert not request_filter.allows(ipaddress.ip_address("192.0.2.11"), 80)
