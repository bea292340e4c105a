//! Which addresses a value may choose: public ones. A lead that names a host must not reach the machine's own
//! network, a cloud's metadata service, or anything else that only the inside can see.
//!
//! URLs with an address for a host never reach a resolver, so both are guarded: the URL and every resolved address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Private addresses that a value may choose all the same: `allow_private`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowPrivate {
    networks: Vec<(IpAddr, u8)>,
    hosts: Vec<String>,
}

impl AllowPrivate {
    /// Reads a list of CIDR networks, addresses and host names. The error names the entry that is none.
    pub fn parse(entries: &[String]) -> Result<Self, String> {
        let mut allowed = Self::default();
        for entry in entries {
            let (address, bits) = entry.split_once('/').map_or((entry.as_str(), None), |(a, b)| (a, Some(b)));
            match (address.parse::<IpAddr>(), bits) {
                (Ok(address), None) => allowed.networks.push((address, width(address))),
                (Ok(address), Some(bits)) => {
                    let bits = bits.parse().ok().filter(|bits| *bits <= width(address));
                    let bits =
                        bits.ok_or_else(|| format!("`{entry}` in allow_private is not a network like 10.0.0.0/8"))?;
                    allowed.networks.push((address, bits));
                }
                (Err(_), None) if !entry.is_empty() => allowed.hosts.push(entry.to_ascii_lowercase()),
                _ => return Err(format!("`{entry}` in allow_private is neither a network nor a host name")),
            }
        }
        Ok(allowed)
    }

    fn has_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host.trim_end_matches('.')))
    }

    fn has_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|(network, bits)| same_network(*network, address, *bits))
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn same_network(network: IpAddr, address: IpAddr, bits: u8) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

/// Whether `url` names an address that a value may not choose. Names are judged when they are resolved.
pub(super) fn is_refused(url: &Url, allowed: &AllowPrivate) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => is_private(address.into()) && !allowed.has_address(address.into()),
        Some(Host::Ipv6(address)) => is_private(address.into()) && !allowed.has_address(address.into()),
        Some(Host::Domain(_)) => false,
        None => true,
    }
}

/// Whether an address is anything but public unicast (IANA special-purpose registries).
pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_private_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // IPv4-mapped, NAT64 and 6to4: what counts is the IPv4 address inside.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            embedded(high, low)
        }
        // Only 2000::/3 is given out; inside it, Teredo, benchmarking, ORCHID and documentation are not public.
        [0x2001, second, ..] => second < 0x200 || second == 0xdb8,
        [0x3fff, second, ..] => second < 0x1000,
        [first, ..] => !(0x2000..0x4000).contains(&first),
    }
}

/// Why a name could not be turned into an address that may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("the host's name cannot be resolved")]
    NotFound,
    #[error("the host is a private address")]
    Private,
}

/// The system's resolver; guarded, it gives public addresses only.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    /// `None`: every address may be used, because the flow's author wrote the host.
    pub(super) guard: Option<Arc<AllowPrivate>>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.guard.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found = tokio::net::lookup_host((host, 0)).await.map_err(|_| ResolveError::NotFound)?;
            let found: Vec<SocketAddr> = found.collect();
            if found.is_empty() {
                return Err(ResolveError::NotFound.into());
            }
            let usable = match guard {
                Some(allowed) if !allowed.has_host(host) => public(found, &allowed),
                _ => found,
            };
            if usable.is_empty() {
                return Err(ResolveError::Private.into());
            }
            Ok(Box::new(usable.into_iter()) as Addrs)
        })
    }
}

fn public(found: Vec<SocketAddr>, allowed: &AllowPrivate) -> Vec<SocketAddr> {
    found.into_iter().filter(|address| !is_private(address.ip()) || allowed.has_address(address.ip())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str, allowed: &[&str]) -> bool {
        let allowed = AllowPrivate::parse(&allowed.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>());
        is_refused(&Url::parse(url).expect("a URL"), &allowed.expect("a list"))
    }

    #[test]
    fn private_addresses_are_refused_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "2130706433",
            "0177.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:10.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd12::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[::127.0.0.1]",
            "[2001::1]",
            "[2001:db8::1]",
            "[100::1]",
            "[fd00:ec2::254]",
        ] {
            assert!(refused(&format!("http://{host}/"), &[]), "{host}");
        }
    }

    #[test]
    fn public_addresses_pass() {
        for host in [
            "8.8.8.8",
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "[2606:4700::1111]",
            "[2001:4860:4860::8888]",
            "a.example",
        ] {
            assert!(!refused(&format!("http://{host}/"), &[]), "{host}");
        }
    }

    #[test]
    fn networks_and_hosts_can_be_allowed() {
        assert!(!refused("http://10.1.2.3/", &["10.0.0.0/8"]));
        assert!(!refused("http://127.0.0.1/", &["127.0.0.1"]));
        assert!(!refused("http://[::ffff:10.1.2.3]/", &["10.0.0.0/8"]));
        assert!(!refused("http://[fd00::1]/", &["fd00::/8"]));
        assert!(refused("http://11.1.2.3/", &["10.0.0.0/8"]) == is_private(IpAddr::from([11, 1, 2, 3])));
        assert!(refused("http://127.0.0.1/", &["10.0.0.0/8", "erp.internal"]));
        for bad in ["10.0.0.0/33", "10.0.0.0/x", "name/8", ""] {
            assert!(AllowPrivate::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(AllowPrivate::parse(&["ERP.internal".to_owned()]).expect("a list").has_host("erp.internal."));
        assert_eq!(
            AllowPrivate::parse(&["0.0.0.0/0".to_owned()]).map(|all| all.has_address([9, 9, 9, 9].into())),
            Ok(true)
        );
    }

    #[tokio::test]
    async fn names_that_resolve_to_private_addresses_are_refused() {
        let resolve = |guard| async move {
            let name = "localhost".parse().expect("a name");
            let resolved = Resolver { guard }.resolve(name).await;
            resolved.map(Iterator::count).map_err(|error| error.downcast_ref::<ResolveError>().copied())
        };
        assert_eq!(resolve(Some(Arc::default())).await, Err(Some(ResolveError::Private)));
        assert!(resolve(None).await.is_ok_and(|count| count > 0));
        let allowed = AllowPrivate::parse(&["localhost".to_owned()]).expect("a list");
        assert!(resolve(Some(Arc::new(allowed))).await.is_ok());
    }
}
