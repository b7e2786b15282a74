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
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage,
    recvmmsg, sendmmsg, sendmsg, setsockopt, sockopt,
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
    bind_or_take(addresses, &mut |_| None)
}

/// The same, but for addresses whose socket is `given`: it was bound by another.
pub fn bind_or_take(
    addresses: &[SocketAddr],
    given: &mut dyn FnMut(SocketAddr) -> Option<std::net::UdpSocket>,
) -> io::Result<Vec<Listener>> {
    let both = addresses.iter().any(SocketAddr::is_ipv4);
    let addresses = addresses.iter();
    let open = addresses.map(|address| match given(*address) {
        Some(socket) => ready(socket.into(), *address),
        None => open(*address, both),
    });
    open.collect()
}

fn open(address: SocketAddr, v6_only: bool) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    socket.bind(&address.into())?;
    ready(socket, address)
}

/// A listener of a socket that is bound.
fn ready(socket: Socket, address: SocketAddr) -> io::Result<Listener> {
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    socket.set_nonblocking(true)?;
    // As much as the kernel grants: a burst waits here while a commit is on its way to the disk.
    if let Err(error) = socket.set_recv_buffer_size(RECEIVE_BUFFER) {
        tracing::debug!(%error, "the receive buffer keeps its size");
    }
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

    /// The socket itself.
    pub(super) const fn socket(&self) -> &std::net::UdpSocket {
        &self.socket
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

    /// Waits until something may have arrived.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Receives what is there, as much as `inbox` takes; whether more may be waiting.
    pub(super) fn try_receive(&self, inbox: &mut Inbox) -> io::Result<bool> {
        let fd = self.socket.as_raw_fd();
        let received = self.socket.try_io(Interest::READABLE, || {
            // Fewer than there is room for: what arrives after them is told of anew, without another call.
            if inbox.receive(fd)? < AT_ONCE {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(())
        });
        match received {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends when there is room.
    pub(super) async fn send(&self, octets: &[u8], route: &Route) -> io::Result<()> {
        let fd = self.socket.as_raw_fd();
        self.socket
            .async_io(Interest::WRITABLE, || send(fd, octets, route))
            .await
    }

    /// Sends the first of these by one call, as far as they leave from the same address of ours and there is room;
    /// how many. Not those after an error: [`Port::send`] tells it, and to which of them it belongs.
    pub(super) fn try_send<T: AsRef<[u8]>>(
        &self,
        replies: &[(T, Route)],
        outbox: &mut Outbox,
    ) -> usize {
        let fd = self.socket.as_raw_fd();
        let sent = self
            .socket
            .try_io(Interest::WRITABLE, || outbox.send(fd, replies));
        sent.unwrap_or(0)
    }
}

/// Room for the datagrams of one call, and those that the last call received.
pub(super) struct Inbox {
    headers: MultiHeaders<SockaddrStorage>,
    buffers: Vec<[u8; BUFFER]>,
    /// One for each buffer from the first on.
    received: Vec<Result<(usize, Route), Unusable>>,
}

/// A datagram that is no packet.
#[derive(Clone, Copy)]
pub(super) enum Unusable {
    /// Longer than any packet with its padding.
    TooLong,
    /// It does not say whence it came.
    NoAddress,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            headers: headers(),
            buffers: vec![[0; BUFFER]; AT_ONCE],
            received: Vec::with_capacity(AT_ONCE),
        }
    }

    /// What was received last, each with its datagram; it is overwritten afterwards, since it holds a password that
    /// the shared secret opens (threats T26).
    pub(super) fn take(&mut self, mut take: impl FnMut(Result<(&[u8], Route), Unusable>)) {
        for (buffer, received) in self.buffers.iter_mut().zip(self.received.drain(..)) {
            let length = received.map_or(BUFFER, |(length, _)| length);
            let datagram = buffer.get_mut(..length).unwrap_or_default();
            take(received.map(|(_, route)| (&*datagram, route)));
            datagram.fill(0);
        }
    }

    /// Receives datagrams; how many.
    fn receive(&mut self, socket: RawFd) -> io::Result<usize> {
        self.received.clear();
        let mut slices: Vec<_> = self
            .buffers
            .iter_mut()
            .map(|buffer| [IoSliceMut::new(buffer)])
            .collect();
        let flags = MsgFlags::empty();
        let messages = recvmmsg(socket, &mut self.headers, &mut slices, flags, None)?;
        self.received
            .extend(messages.map(|message| received(&message)));
        let told = |one: &Result<(usize, Route), Unusable>| {
            one.as_ref().is_ok_and(|(_, route)| route.local.is_some())
        };
        if !self.received.iter().all(told) {
            // The kernel has noted there how little it had to say: it would have no more room the next time.
            self.headers = headers();
        }
        Ok(self.received.len())
    }
}

fn headers() -> MultiHeaders<SockaddrStorage> {
    MultiHeaders::preallocate(AT_ONCE, Some(vec![0; CONTROL]))
}

/// A datagram's length and route.
fn received(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Result<(usize, Route), Unusable> {
    let peer = message.address.as_ref().and_then(to_std);
    let peer = peer.ok_or(Unusable::NoAddress)?;
    let mut said = message.cmsgs().map_err(|_| Unusable::NoAddress)?;
    let local = said.find_map(|message| match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Local::V4(info)),
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Local::V6(info)),
        _ => None,
    });
    if message.flags.contains(MsgFlags::MSG_TRUNC) {
        return Err(Unusable::TooLong);
    }
    Ok((message.bytes, Route { peer, local }))
}

/// Room for what is sent by one call, from an IPv4 and from an IPv6 address.
pub(super) struct Outbox {
    v4: MultiHeaders<SockaddrStorage>,
    v6: MultiHeaders<SockaddrStorage>,
}

impl Outbox {
    pub(super) fn new() -> Self {
        let headers = |control| MultiHeaders::preallocate(AT_ONCE, Some(control));
        Self {
            v4: headers(nix::cmsg_space!(libc::in_pktinfo)),
            v6: headers(nix::cmsg_space!(libc::in6_pktinfo)),
        }
    }

    /// Sends those that leave from the address of the first; how many were sent.
    fn send<T: AsRef<[u8]>>(&mut self, socket: RawFd, replies: &[(T, Route)]) -> io::Result<usize> {
        let mut info = Info::default();
        let first = replies.first().map(|(_, route)| route);
        let Some((first, control)) = first.and_then(|first| Some((first, info.of(first)?))) else {
            return Ok(0);
        };
        let same = |(_, route): &&(T, Route)| route.leaves_as(first);
        let run = replies.iter().take(AT_ONCE).take_while(same);
        let (slices, peers): (Vec<_>, Vec<_>) = run
            .map(|(octets, route)| {
                let peer = SockaddrStorage::from(route.peer);
                ([IoSlice::new(octets.as_ref())], Some(peer))
            })
            .unzip();
        let headers = match control {
            ControlMessage::Ipv6PacketInfo(_) => &mut self.v6,
            _ => &mut self.v4,
        };
        let flags = MsgFlags::empty();
        let sent = sendmmsg(socket, headers, &slices, peers, [control], flags)?;
        Ok(sent.count())
    }
}

/// What the kernel is told of the address that a reply leaves from.
#[derive(Default)]
struct Info {
    v4: Option<libc::in_pktinfo>,
    v6: Option<libc::in6_pktinfo>,
}

impl Info {
    /// `None`: the routes choose.
    fn of(&mut self, route: &Route) -> Option<ControlMessage<'_>> {
        match route.local? {
            Local::V4(mut info) => {
                // The routes choose the interface; ipi_spec_dst becomes the source address.
                info.ipi_ifindex = 0;
                Some(ControlMessage::Ipv4PacketInfo(self.v4.insert(info)))
            }
            Local::V6(mut info) => {
                let local = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                if !local.is_unicast_link_local() {
                    info.ipi6_ifindex = 0;
                }
                // A request to a group address is answered from the address the routes choose.
                let info = self.v6.insert(info);
                (!local.is_multicast()).then_some(ControlMessage::Ipv6PacketInfo(info))
            }
        }
    }
}

impl Route {
    /// Whether a reply leaves from the same address as one of another route, by the same interface.
    fn leaves_as(&self, other: &Self) -> bool {
        match (self.local, other.local) {
            (Some(Local::V4(one)), Some(Local::V4(other))) => {
                one.ipi_spec_dst.s_addr == other.ipi_spec_dst.s_addr
            }
            (Some(Local::V6(one)), Some(Local::V6(other))) => {
                one.ipi6_addr.s6_addr == other.ipi6_addr.s6_addr
                    && one.ipi6_ifindex == other.ipi6_ifindex
            }
            _ => false,
        }
    }
}

fn send(socket: RawFd, octets: &[u8], route: &Route) -> io::Result<()> {
    let mut info = Info::default();
    let control = info.of(route);
    let peer = SockaddrStorage::from(route.peer);
    let slices = [IoSlice::new(octets)];
    let flags = MsgFlags::empty();
    sendmsg(socket, &slices, control.as_slice(), flags, Some(&peer))?;
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

/// Datagrams received or sent by one call.
const AT_ONCE: usize = 64;

/// Room for one control message with a packet info, either family.
const CONTROL: usize = 128;

/// What the kernel is asked to buffer: some ten thousand requests.
const RECEIVE_BUFFER: usize = 4 << 20;
