//! The networks that are trusted, and the one question that is asked of them.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Networks of proxies; none trusts nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Takes IPv4 networks that are written as mapped IPv6 (`::ffff:10.0.0.0/104`) for what they mean.
    #[must_use]
    pub fn new(list: &[IpNet]) -> Self {
        Self(list.iter().map(canonical).collect())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the address is in one of them. A mapped address is the IPv4 address that it maps, also where a socket listens on
    /// both; so `::/0` holds every IPv6 address and none of IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// RFC 4291, section 2.5.5.2: a mapped address has its IPv4 address in the last 32 bits.
fn canonical(network: &IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return *network };
    let address = mapped.network().to_ipv4_mapped();
    let length = mapped.prefix_len().checked_sub(96);
    match (address, length) {
        (Some(address), Some(length)) => {
            IpNet::V4(Ipv4Net::new(address, length).expect("at most 128 - 96 bits"))
        }
        _ => *network,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn networks(list: &[&str]) -> Networks {
        Networks::new(&list.iter().map(|text| crate::options::network(text).unwrap()).collect::<Vec<_>>())
    }

    fn contains(list: &[&str], address: &str) -> bool {
        networks(list).contains(address.parse().unwrap())
    }

    #[test]
    fn the_first_and_the_last_address_are_in_it_and_their_neighbours_are_not() {
        for (list, address, expected) in [
            (["10.2.0.0/15"], "10.2.0.0", true),
            (["10.2.0.0/15"], "10.3.255.255", true),
            (["10.2.0.0/15"], "10.1.255.255", false),
            (["10.2.0.0/15"], "10.4.0.0", false),
            (["192.0.2.7"], "192.0.2.7", true),
            (["192.0.2.7"], "192.0.2.6", false),
            (["2001:db8::/33"], "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff", true),
            (["2001:db8::/33"], "2001:db8:8000::", false),
            (["::1"], "::1", true),
            (["0.0.0.0/0"], "255.255.255.255", true),
        ] {
            assert_eq!(contains(&list, address), expected, "{address} in {list:?}");
        }
        assert!(contains(&["::1", "127.0.0.0/8"], "127.1.2.3"));
        assert!(!contains(&[], "127.0.0.1") && networks(&[]).is_empty());
    }

    #[test]
    fn a_mapped_address_is_ipv4_on_both_sides() {
        assert!(contains(&["10.0.0.0/8"], "::ffff:10.1.2.3"));
        assert!(contains(&["::ffff:10.0.0.0/104"], "10.1.2.3"));
        assert!(contains(&["::ffff:10.1.2.3"], "::ffff:10.1.2.3"));
        assert!(!contains(&["::ffff:10.0.0.0/104"], "11.1.2.3"));
        assert!(contains(&["::ffff:0:0/96"], "203.0.113.9"));
        assert!(contains(&["::/0"], "2001:db8::1"));
        assert!(!contains(&["::/0"], "203.0.113.9") && !contains(&["::/0"], "::ffff:203.0.113.9"));
        assert!(!contains(&["0.0.0.0/0"], "::1"));
    }

    proptest! {
        #[test]
        fn a_network_is_what_its_first_bits_say(bits: u32, length in 0_u8..=32, other: u32) {
            let network = Ipv4Net::new(Ipv4Addr::from(bits), length).unwrap();
            let same = (bits ^ other).leading_zeros() >= u32::from(length);
            let trusted = Networks::new(&[IpNet::V4(network)]);
            let address = Ipv4Addr::from(other);
            prop_assert_eq!(trusted.contains(address.into()), same);
            prop_assert_eq!(trusted.contains(address.to_ipv6_mapped().into()), same);
        }

        #[test]
        fn so_is_one_of_ipv6(bits: u128, length in 0_u8..=128, other: u128, shared in 0_u32..=128) {
            // Else two random addresses would hardly ever begin alike.
            let other = bits ^ other.checked_shr(shared).unwrap_or(0);
            prop_assume!(Ipv6Addr::from(other).to_ipv4_mapped().is_none());
            let trusted = Networks::new(&[IpNet::new(Ipv6Addr::from(bits).into(), length).unwrap()]);
            let same = (bits ^ other).leading_zeros() >= u32::from(length);
            prop_assert_eq!(trusted.contains(Ipv6Addr::from(other).into()), same);
        }
    }
}
