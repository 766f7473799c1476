//! Where a side that listens everywhere can be reached.

use super::wire::MOST_ADDRESSES;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The addresses to dial for a listener that is bound to `bound`: itself, or for a wildcard those
/// of the host's interfaces; those that only this host can reach come last.
pub(super) fn reachable(bound: SocketAddr) -> io::Result<Vec<SocketAddr>> {
    if !bound.ip().is_unspecified() {
        return Ok(vec![bound]);
    }
    let mut found = addresses()?;
    // Bound to `::`, IPv4 reaches it too; bound to `0.0.0.0`, IPv6 does not.
    found.retain(|ip| bound.is_ipv6() || ip.is_ipv4());
    found.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    found.dedup();
    found.truncate(MOST_ADDRESSES);
    if found.is_empty() {
        return Err(io::Error::other("no interface has an address"));
    }
    Ok(found.into_iter().map(|ip| SocketAddr::new(ip, bound.port())).collect())
}

/// Of interfaces that are up. Without those that mean nothing without an interface's name.
fn addresses() -> io::Result<Vec<IpAddr>> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `getifaddrs` makes a list and writes where it is into `list`.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = list;
    // SAFETY: the list is valid until it is freed, which is after the last use. An address that is
    // not null is as long as its family says.
    unsafe {
        while let Some(interface) = next.as_ref() {
            let up = interface.ifa_flags & libc::IFF_UP as u32 != 0;
            found.extend(address(interface.ifa_addr).filter(|_| up));
            next = interface.ifa_next;
        }
        libc::freeifaddrs(list);
    }
    Ok(found)
}

/// # Safety
/// `address` is null, or valid for what its family says.
unsafe fn address(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: see above.
    unsafe {
        match i32::from(address.as_ref()?.sa_family) {
            libc::AF_INET => {
                let bits = (*address.cast::<libc::sockaddr_in>()).sin_addr.s_addr;
                Some(IpAddr::V4(Ipv4Addr::from_bits(u32::from_be(bits))))
            }
            libc::AF_INET6 => {
                let octets = (*address.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr;
                let ip = Ipv6Addr::from(octets);
                (!ip.is_unicast_link_local()).then_some(IpAddr::V6(ip))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_reached_by_the_addresses_of_the_host() {
        let one: SocketAddr = "127.0.0.1:7".parse().expect("an address");
        assert_eq!(reachable(one).expect("itself"), [one]);
        let all = reachable("0.0.0.0:7".parse().expect("an address")).expect("interfaces");
        assert_eq!(all.last(), Some(&one), "{all:?}");
        assert!(all.iter().all(|address| address.is_ipv4() && !address.ip().is_unspecified()));
    }
}
