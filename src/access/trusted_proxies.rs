//! Client address of a request: its peer or, if the peer is a trusted proxy, the address that the proxy
//! forwards.
//!
//! For limits and logs alone: an address proves nothing.

use std::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};
use thiserror::Error;

/// Proxies whose `X-Forwarded-For` is trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// Error: a text is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is neither an address nor a network; write it like 10.0.0.7, 10.0.0.0/8 or fd00::/8"
)]
pub struct NotANetwork(String);

impl TrustedProxies {
    /// Parses the addresses or networks of the proxies.
    pub fn new(texts: &[String]) -> Result<Self, NotANetwork> {
        let network = |text: &String| {
            let address = text.parse().map(|address: IpAddr| IpNet::from(address));
            let network = address.or_else(|_no_address| text.parse());
            network.map(canonical).map_err(|_neither| NotANetwork(text.clone()))
        };
        texts.iter().map(network).collect::<Result<_, _>>().map(Self)
    }

    /// Client of a request with this peer and these lines of `X-Forwarded-For`, to which each proxy has added
    /// its own peer: the last address that is no trusted proxy. Entries before that one, or before an entry
    /// that is no address, may have been written by anybody.
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

/// Parses one entry: an address, with or without a port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok();
    let address = address.or_else(|| text.parse().ok().map(|with: SocketAddr| with.ip()));
    address.map(|address| address.to_canonical())
}

/// Converts an IPv4 network that is written as IPv6 to IPv4; returns any other network unchanged.
fn canonical(network: IpNet) -> IpNet {
    const IPV4_MAPPED_PREFIX_BITS: u8 = 96;
    let IpNet::V6(mapped) = network else { return network };
    let within = mapped.prefix_len().checked_sub(IPV4_MAPPED_PREFIX_BITS);
    let address = mapped.addr().to_ipv4_mapped();
    let ipv4 = address.zip(within).and_then(|(address, length)| Ipv4Net::new(address, length).ok());
    ipv4.map_or(network, IpNet::V4)
}
