//! Captures of network traffic (pcap), as far as UDP datagrams are in them.
//!
//! Source: draft-ietf-opsawg-pcap (file format, link types). Fragments of IP are passed over: RADIUS over UDP is
//! shorter than they begin, in almost all networks.
//!
//! Invariant: no octets of a file make more than one datagram of [`LONGEST`] octets at a time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::time::UnixTime;
use crate::wire::Reader;

/// A datagram of a capture.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Datagram<'a> {
    /// When it was captured.
    pub at: UnixTime,
    /// Address and port it comes from.
    pub from: SocketAddr,
    /// Address and port it is sent to.
    pub to: SocketAddr,
    /// What it holds, as far as it was captured.
    pub octets: &'a [u8],
    /// Whether its end was not captured.
    pub cut: bool,
}

/// Why a file is no capture.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CaptureError {
    /// The file of another program.
    #[error("it does not begin as a pcap file")]
    NotPcap,
    /// The newer format of Wireshark.
    #[error("it is a pcapng file: make a pcap file of it by `editcap -F pcap FILE NEW`")]
    NextGeneration,
    /// Of a kind of network that is not read.
    #[error("its link type {0} is none of Ethernet, raw IP, Linux cooked, loopback")]
    LinkType(u32),
    /// Its end is missing.
    #[error("packet {0} reaches beyond the end of the file")]
    Cut(usize),
}

/// The datagrams of a file, in order. Packets of other protocols are passed over.
pub fn datagrams(file: &[u8]) -> Result<Vec<Datagram<'_>>, CaptureError> {
    let mut reader = Reader::new(file);
    let magic = reader.take_array::<4>().ok_or(CaptureError::NotPcap)?;
    let (little, nanos) = match magic {
        [0xd4, 0xc3, 0xb2, 0xa1] => (true, false),
        [0xa1, 0xb2, 0xc3, 0xd4] => (false, false),
        [0x4d, 0x3c, 0xb2, 0xa1] => (true, true),
        [0xa1, 0xb2, 0x3c, 0x4d] => (false, true),
        [0x0a, 0x0d, 0x0d, 0x0a] => return Err(CaptureError::NextGeneration),
        _ => return Err(CaptureError::NotPcap),
    };
    let number = |reader: &mut Reader<'_>| {
        let number = reader.u32()?;
        Some(if little { number.swap_bytes() } else { number })
    };
    // Version, time zone, accuracy, longest packet.
    reader.take(16).ok_or(CaptureError::NotPcap)?;
    let link = number(&mut reader).ok_or(CaptureError::NotPcap)? & 0x0fff_ffff;
    if !matches!(link, NULL | ETHERNET | RAW | LOOP | COOKED | COOKED_2) {
        return Err(CaptureError::LinkType(link));
    }
    let mut found = Vec::new();
    let mut count = 0;
    while !reader.is_empty() {
        count += 1;
        let mut packet = || {
            let seconds = number(&mut reader)?;
            let fraction = number(&mut reader)?;
            let captured = usize::try_from(number(&mut reader)?).ok()?;
            let length = usize::try_from(number(&mut reader)?).ok()?;
            let octets = reader.take(captured)?;
            let millis = fraction / if nanos { 1_000_000 } else { 1_000 };
            let at = u64::from(seconds) * 1_000 + u64::from(millis);
            Some((UnixTime::from_millis(at), octets, captured < length))
        };
        let (at, octets, cut) = packet().ok_or(CaptureError::Cut(count))?;
        let ip = network(link, octets);
        found.extend(ip.and_then(|ip| datagram(ip, at, cut)));
    }
    Ok(found)
}

/// The IP packet in a frame.
fn network(link: u32, frame: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(frame);
    match link {
        ETHERNET => {
            reader.take(12)?;
            let mut kind = reader.u16()?;
            // Tags of VLANs (IEEE 802.1Q, 802.1ad).
            while matches!(kind, 0x8100 | 0x88a8) {
                reader.take(2)?;
                kind = reader.u16()?;
            }
            matches!(kind, 0x0800 | 0x86dd).then(|| reader.rest())
        }
        COOKED => reader.take(16).map(|_| reader.rest()),
        COOKED_2 => reader.take(20).map(|_| reader.rest()),
        NULL | LOOP => reader.take(4).map(|_| reader.rest()),
        _ => Some(frame),
    }
}

fn datagram(ip: &[u8], at: UnixTime, cut: bool) -> Option<Datagram<'_>> {
    let mut reader = Reader::new(ip);
    let first = reader.u8()?;
    let (from, to, mut udp): (IpAddr, IpAddr, Reader<'_>) = match first >> 4 {
        4 => {
            let header = usize::from(first & 15) * 4;
            reader.take(1)?;
            let total = usize::from(reader.u16()?);
            reader.take(2)?;
            let fragment = reader.u16()?;
            // More fragments, or not the first one.
            if fragment & 0x3fff != 0 {
                return None;
            }
            let (_, protocol) = (reader.u8()?, reader.u8()?);
            reader.take(2)?;
            let from = Ipv4Addr::from(*reader.take_array::<4>()?);
            let to = Ipv4Addr::from(*reader.take_array::<4>()?);
            let end = total.min(ip.len());
            let rest = ip.get(header.max(20)..end)?;
            (protocol == UDP).then_some((from.into(), to.into(), Reader::new(rest)))?
        }
        6 => {
            reader.take(3)?;
            reader.take(2)?;
            let (next, _) = (reader.u8()?, reader.u8()?);
            let from = Ipv6Addr::from(*reader.take_array::<16>()?);
            let to = Ipv6Addr::from(*reader.take_array::<16>()?);
            (next == UDP).then_some((from.into(), to.into(), Reader::new(reader.rest())))?
        }
        _ => return None,
    };
    let (source, target) = (udp.u16()?, udp.u16()?);
    let length = usize::from(udp.u16()?).checked_sub(8)?;
    udp.take(2)?;
    let rest = udp.rest();
    let octets = rest.get(..length.min(LONGEST)).unwrap_or(rest);
    Some(Datagram {
        at,
        from: SocketAddr::new(from, source),
        to: SocketAddr::new(to, target),
        octets,
        cut: cut || rest.len() < length,
    })
}

/// Longest payload of a datagram.
const LONGEST: usize = 65_507;
/// Protocol number of UDP.
const UDP: u8 = 17;
const NULL: u32 = 0;
const ETHERNET: u32 = 1;
const RAW: u32 = 101;
const LOOP: u32 = 108;
const COOKED: u32 = 113;
const COOKED_2: u32 = 276;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file with one Ethernet frame: IPv4, UDP, this payload.
    fn file(payload: &[u8]) -> Vec<u8> {
        let udp = u16::try_from(payload.len() + 8).unwrap();
        let total = udp + 20;
        let mut frame = vec![0; 12];
        frame.extend([0x81, 0, 0, 7, 8, 0, 0x45, 0]);
        frame.extend(total.to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        frame.extend(40_000_u16.to_be_bytes());
        frame.extend(1_812_u16.to_be_bytes());
        frame.extend(udp.to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(payload);
        let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1];
        file.extend([0; 16]);
        file.extend(1_u32.to_le_bytes());
        let length = u32::try_from(frame.len()).unwrap().to_le_bytes();
        file.extend(1_800_000_000_u32.to_le_bytes());
        file.extend(250_000_u32.to_le_bytes());
        file.extend(length);
        file.extend(length);
        file.extend(frame);
        file
    }

    #[test]
    fn a_datagram_is_found_behind_a_tag_of_a_vlan() {
        let file = file(b"payload");
        let found = datagrams(&file).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].octets, b"payload");
        assert_eq!(found[0].at, UnixTime::from_millis(1_800_000_000_250));
        assert_eq!(found[0].from, "192.0.2.1:40000".parse().unwrap());
        assert_eq!(found[0].to, "192.0.2.2:1812".parse().unwrap());
        assert!(!found[0].cut);
    }

    #[test]
    fn what_is_no_capture_is_named() {
        assert_eq!(datagrams(b"PK"), Err(CaptureError::NotPcap));
        let next = [0x0a, 0x0d, 0x0d, 0x0a, 0, 0];
        assert_eq!(datagrams(&next), Err(CaptureError::NextGeneration));
        let mut cut = file(b"payload");
        cut.truncate(cut.len() - 1);
        assert_eq!(datagrams(&cut), Err(CaptureError::Cut(1)));
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(
            place in 0..120_usize, octet in any::<u8>(), end in 0..120_usize,
        ) {
            let mut file = file(b"payload");
            if let Some(at) = file.get_mut(place) {
                *at = octet;
            }
            let _ = datagrams(&file);
            let _ = datagrams(file.get(..end).unwrap_or(&file));
        }
    }
}
