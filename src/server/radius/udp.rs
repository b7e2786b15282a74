//! Datagram sockets: bind, receive, answer from the address that was asked.
//!
//! Sources: RFC 3542 s6 (`IPV6_PKTINFO`), ip(7) (`IP_PKTINFO`), RFC 5080 s2.2.2.
//!
//! A host with several addresses that listens on the wildcard would answer from the address its
//! routes prefer; a NAS drops such an answer, as it must. So each datagram is received together with
//! its destination address, and the reply names that as its source.

use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};

use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use socket2::{Domain, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::radius::packet::MAX_LENGTH;

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: std::net::UdpSocket,
    local: SocketAddr,
    serves: Serves,
}

/// Which requests a listener takes: RFC 2866 s3 has a port of its own for accounting.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Serves {
    /// Access-Request.
    Authentication,
    /// Accounting-Request.
    Accounting,
}

/// A listener's socket in the runtime that serves it.
#[derive(Debug)]
pub(super) struct Port {
    socket: UdpSocket,
    local: SocketAddr,
}

/// Where a datagram came from, and to which of our addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) peer: SocketAddr,
    local: Option<Local>,
}

/// The address that was asked, in the form in which the kernel wants it back.
#[derive(Clone, Copy)]
enum Local {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

/// Binds one address. An IPv6 wildcard serves IPv4 too.
pub fn bind(address: SocketAddr) -> io::Result<Listener> {
    open(address, false)
}

/// Binds all addresses. When both families are among them, each has its own sockets.
pub fn bind_all(addresses: &[SocketAddr]) -> io::Result<Vec<Listener>> {
    let both = addresses.iter().any(SocketAddr::is_ipv4);
    addresses
        .iter()
        .map(|address| open(*address, both))
        .collect()
}

fn open(address: SocketAddr, v6_only: bool) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    socket.set_nonblocking(true)?;
    // As much as the kernel grants: a burst waits here while a commit is on its way to the disk.
    if let Err(error) = socket.set_recv_buffer_size(RECEIVE_BUFFER) {
        tracing::debug!(%error, "the receive buffer keeps its size");
    }
    socket.bind(&address.into())?;
    let local = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok(Listener {
        socket: socket.into(),
        local,
        serves: Serves::Authentication,
    })
}

impl Listener {
    /// The same socket for Accounting-Requests.
    #[must_use]
    pub const fn for_accounting(mut self) -> Self {
        self.serves = Serves::Accounting;
        self
    }

    /// Which requests it takes.
    pub(super) const fn serves(&self) -> Serves {
        self.serves
    }

    /// The address it is bound to, with the real port.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The socket, for use in the present runtime; several share what arrives.
    pub(super) fn port(&self) -> io::Result<Port> {
        Ok(Port {
            socket: UdpSocket::from_std(self.socket.try_clone()?)?,
            local: self.local,
        })
    }
}

impl Port {
    /// The address it is bound to, with the real port.
    pub(super) const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Room for whatever may be received.
    pub(super) fn buffer() -> Vec<u8> {
        vec![0; BUFFER]
    }

    /// Waits until something may have arrived.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Receives now, or `WouldBlock`; `None` when the datagram is longer than any packet.
    pub(super) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, Route)>> {
        let fd = self.socket.as_raw_fd();
        self.socket
            .try_io(Interest::READABLE, || receive(fd, buffer))
    }

    /// Sends when there is room.
    pub(super) async fn send(&self, octets: &[u8], route: &Route) -> io::Result<()> {
        let fd = self.socket.as_raw_fd();
        self.socket
            .async_io(Interest::WRITABLE, || send(fd, octets, route))
            .await
    }
}

/// The next datagram's length and route; `None` when it did not fit the buffer.
fn receive(socket: RawFd, buffer: &mut [u8]) -> io::Result<Option<(usize, Route)>> {
    let mut control = [0_u8; CONTROL];
    let mut slices = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::empty();
    let message = recvmsg::<SockaddrStorage>(socket, &mut slices, Some(&mut control), flags)?;
    let peer = message
        .address
        .as_ref()
        .and_then(to_std)
        .ok_or(io::ErrorKind::InvalidData)?;
    let local = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Local::V4(info)),
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Local::V6(info)),
        _ => None,
    });
    let whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
    Ok(whole.then_some((message.bytes, Route { peer, local })))
}

fn send(socket: RawFd, octets: &[u8], route: &Route) -> io::Result<()> {
    let mut v4;
    let mut v6;
    let control = match route.local {
        Some(Local::V4(info)) => {
            // The routes choose the interface; ipi_spec_dst becomes the source address.
            v4 = info;
            v4.ipi_ifindex = 0;
            Some(ControlMessage::Ipv4PacketInfo(&v4))
        }
        Some(Local::V6(info)) => {
            v6 = info;
            let local = Ipv6Addr::from(v6.ipi6_addr.s6_addr);
            if !local.is_unicast_link_local() {
                v6.ipi6_ifindex = 0;
            }
            // A request to a group address is answered from the address the routes choose.
            (!local.is_multicast()).then_some(ControlMessage::Ipv6PacketInfo(&v6))
        }
        None => None,
    };
    let peer = SockaddrStorage::from(route.peer);
    let slices = [IoSlice::new(octets)];
    sendmsg(
        socket,
        &slices,
        control.as_slice(),
        MsgFlags::empty(),
        Some(&peer),
    )?;
    Ok(())
}

fn to_std(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|address| SocketAddr::V4((*address).into()));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|address| SocketAddr::V6((*address).into()))
    })
}

/// Errors that say nothing about the socket itself.
pub(super) fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::Interrupted
            | io::ErrorKind::InvalidData
    )
}

/// Without the interface numbers, which say nothing to people.
impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::V4(info) => Ipv4Addr::from_bits(u32::from_be(info.ipi_spec_dst.s_addr)).fmt(f),
            Self::V6(info) => Ipv6Addr::from(info.ipi6_addr.s6_addr).fmt(f),
        }
    }
}

/// Room for the largest packet and as much padding as anybody may send with it.
const BUFFER: usize = MAX_LENGTH + 1024;

/// Room for one control message with a packet info, either family.
const CONTROL: usize = 128;

/// What the kernel is asked to buffer: some ten thousand requests.
const RECEIVE_BUFFER: usize = 4 << 20;
