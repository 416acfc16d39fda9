"""
Which IP addresses are public, so that a request on behalf of others may go there.

This is an allow-list: IPv4 outside of the special-purpose blocks of IANA (RFC 6890 and its registry) and of what a
cloud keeps for itself, IPv6 within 2000::/3 outside of its own special-purpose blocks. An IPv6 address that contains an
IPv4 one (mapped, NAT64, 6to4) is judged by that one.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

SPECIAL_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by carriers
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # the platform of Azure, within each of its machines
            "169.254.0.0/16",  # link-local, and the metadata of clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
PUBLIC_6 = IPv6Network("2000::/3")
SPECIAL_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments, Teredo among them
            "2001:db8::/32",  # documentation
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)
MAPPED, NAT64, SIX_TO_FOUR = IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"), IPv6Network("2002::/16")
ISATAP = (0x00005EFE, 0x02005EFE)  # the 32 bits before an embedded IPv4 address


def is_public(address: str) -> bool:
    """Return whether a literal address is one that anybody may reach; a text that is no address is not."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    return _is_public_4(ip) if isinstance(ip, IPv4Address) else _is_public_6(ip)


def _is_public_4(address: IPv4Address) -> bool:
    return not any(address in block for block in SPECIAL_4)


def _is_public_6(address: IPv6Address) -> bool:
    if address.scope_id is not None:
        return False
    number = int(address)
    if address in MAPPED or address in NAT64:
        return _is_public_4(IPv4Address(number & 0xFFFF_FFFF))
    if address not in PUBLIC_6 or any(address in block for block in SPECIAL_6):
        return False
    if address in SIX_TO_FOUR:
        return _is_public_4(IPv4Address(number >> 80 & 0xFFFF_FFFF))
    if number >> 32 & 0xFFFF_FFFF in ISATAP:
        return _is_public_4(IPv4Address(number & 0xFFFF_FFFF))
    return True
