//! Where a request comes from: from its peer or, if that is a trusted proxy, from whom it names.
//!
//! For limits and logs alone: an address proves nothing.

use std::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};
use thiserror::Error;

/// The proxies whose word is taken for whom they speak.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// A text is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is neither an address nor a network; write it like 10.0.0.7, 10.0.0.0/8 or fd00::/8"
)]
pub struct NotANetwork(String);

impl TrustedProxies {
    /// The proxies at these addresses, or in these networks.
    pub fn new(texts: &[String]) -> Result<Self, NotANetwork> {
        let network = |text: &String| {
            let address = text.parse().map(|address: IpAddr| IpNet::from(address));
            let network = address.or_else(|_no_address| text.parse());
            network.map(canonical).map_err(|_neither| NotANetwork(text.clone()))
        };
        texts.iter().map(network).collect::<Result<_, _>>().map(Self)
    }

    /// The client of a request with this peer and these lines of `X-Forwarded-For`, to which each
    /// proxy has added its own peer: the last one that is no trusted proxy. What stands before that,
    /// or before an entry that is no address, anybody may have written.
    pub fn client<'a>(&self, peer: IpAddr, forwarded: impl Iterator<Item = &'a [u8]>) -> IpAddr {
        let lines: Vec<&[u8]> = forwarded.collect();
        let entries = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
        let mut entries = entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty());
        let mut client = peer.to_canonical();
        while self.trusts(client)
            && let Some(before) = entries.next().and_then(address)
        {
            client = before;
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An entry: an address, with a port or without.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok();
    let address = address.or_else(|| text.parse().ok().map(|with: SocketAddr| with.ip()));
    address.map(|address| address.to_canonical())
}

/// The same network, in IPv4 if it is one of IPv4 that is written in IPv6.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    let IpNet::V6(mapped) = network else { return network };
    let within = mapped.prefix_len().checked_sub(MAPPED);
    let address = mapped.addr().to_ipv4_mapped();
    let same = address.zip(within).and_then(|(address, length)| Ipv4Net::new(address, length).ok());
    same.map_or(network, IpNet::V4)
}
