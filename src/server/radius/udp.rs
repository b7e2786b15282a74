//! Datagram sockets: bind, receive, answer from the address that was asked.
//!
//! Sources: RFC 3542 s6 (`IPV6_PKTINFO`), ip(7) (`IP_PKTINFO`), RFC 5080 s2.2.2.
//!
//! A host with several addresses that listens on the wildcard would answer from the address its
//! routes prefer; gear drops such an answer, as it must. So each datagram is received together with
//! its destination address, and the reply names that as its source.
//!
//! Invariant: the receiving task ends on shutdown only. Threats: a flood that starves the other
//! tasks (it yields after [`BATCH`] datagrams), errors that repeat at once (it backs off).

use std::io;
use std::io::IoSlice;
use std::io::IoSliceMut;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::ControlMessage;
use nix::sys::socket::ControlMessageOwned;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::SockaddrStorage;
use nix::sys::socket::recvmsg;
use nix::sys::socket::sendmsg;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt;
use socket2::Domain;
use socket2::Socket;
use socket2::Type;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::radius::packet::MAX_LENGTH;
use crate::server::radius::counters::Ingress;
use crate::server::radius::counters::bump;
use crate::server::radius::pipeline::Pipeline;
use crate::server::radius::pipeline::Received;

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: UdpSocket,
    local: SocketAddr,
}

/// Where a datagram came from, and to which of our addresses.
#[derive(Clone, Copy, Debug)]
struct Route {
    peer: SocketAddr,
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
        socket: UdpSocket::from_std(socket.into())?,
        local,
    })
}

impl Listener {
    /// The address it is bound to, with the real port.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Receives now, or `WouldBlock`.
    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, Route)>> {
        let fd = self.socket.as_raw_fd();
        self.socket
            .try_io(Interest::READABLE, || receive(fd, buffer))
    }

    /// Sends now or not at all.
    fn try_send(&self, octets: &[u8], route: &Route) -> io::Result<()> {
        let fd = self.socket.as_raw_fd();
        self.socket
            .try_io(Interest::WRITABLE, || send(fd, octets, route))
    }

    /// Sends when there is room.
    async fn send(&self, octets: &[u8], route: &Route) -> io::Result<()> {
        let fd = self.socket.as_raw_fd();
        self.socket
            .async_io(Interest::WRITABLE, || send(fd, octets, route))
            .await
    }
}

/// Serves until `shutdown`, then finishes what is in flight, for as long as the settings say.
pub async fn run(listeners: Vec<Listener>, pipeline: Arc<Pipeline>, shutdown: CancellationToken) {
    let (receivers, jobs) = (TaskTracker::new(), TaskTracker::new());
    for listener in listeners {
        let server = Server {
            ingress: pipeline.listener(listener.local),
            listener: Arc::new(listener),
            pipeline: Arc::clone(&pipeline),
            jobs: jobs.clone(),
        };
        receivers.spawn(server.receive(shutdown.clone()));
    }
    receivers.close();
    receivers.wait().await;
    shutdown.cancelled().await;
    jobs.close();
    if tokio::time::timeout(pipeline.settings.drain, jobs.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            jobs = jobs.len(),
            "requests were still being worked on at shutdown"
        );
    }
}

/// One listener at work.
#[derive(Clone)]
struct Server {
    listener: Arc<Listener>,
    ingress: Ingress,
    pipeline: Arc<Pipeline>,
    jobs: TaskTracker,
}

impl Server {
    async fn receive(self, shutdown: CancellationToken) {
        let mut buffer = vec![0; BUFFER];
        let mut failures = 0_u32;
        loop {
            let ready = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                ready = self.listener.socket.readable() => ready,
            };
            let outcome = match ready {
                Ok(()) => self.batch(&mut buffer),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => {
                    failures = 0;
                    // The others' turn: a socket that is always readable never waits by itself.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    bump(&self.ingress.counters.receive_errors);
                    failures = failures.saturating_add(1);
                    if failures.is_power_of_two() {
                        let listener = self.listener.local;
                        tracing::warn!(%listener, %error, failures, "receiving failed; trying on");
                    }
                    let pause = BACKOFF.saturating_mul(failures).min(BACKOFF_MOST);
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }

    fn batch(&self, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..BATCH {
            match self.listener.try_receive(buffer) {
                Ok(Some((length, route))) => {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    self.dispatch(datagram, route);
                }
                // Longer than any packet with its padding.
                Ok(None) => {
                    bump(&self.ingress.counters.received);
                    bump(&self.ingress.counters.too_long);
                }
                // An ICMP message about an earlier reply, or a signal: about no datagram.
                Err(error) if is_passing(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn dispatch(&self, datagram: &[u8], route: Route) {
        let arrived = Instant::now();
        match self.pipeline.receive(datagram, route.peer, &self.ingress) {
            Received::Silence(_) => {}
            // Kept answers are sent now or not at all: the gear will ask for them again.
            Received::Reply(octets) => self.sent(self.listener.try_send(&octets, &route)),
            Received::Work(job) => {
                let server = self.clone();
                self.jobs.spawn(async move {
                    let Some(answer) = job.run().await else {
                        return;
                    };
                    if !answer.delay().is_zero() {
                        // By a monotonic clock: a step of the real one moves no reply.
                        tokio::time::sleep_until(arrived + answer.delay()).await;
                    }
                    if let Some(octets) = answer.release() {
                        server.sent(server.listener.send(&octets, &route).await);
                    }
                });
            }
        }
    }
}

impl Server {
    fn sent(&self, result: io::Result<()>) {
        if let Err(error) = result {
            bump(&self.ingress.counters.send_errors);
            tracing::debug!(listener = %self.listener.local, %error, "a reply was not sent");
        }
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
fn is_passing(error: &io::Error) -> bool {
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

/// Datagrams read before other tasks get their turn.
const BATCH: usize = 64;

/// What the kernel is asked to buffer: some ten thousand requests.
const RECEIVE_BUFFER: usize = 4 << 20;

/// First pause after a failure to receive; grows with each.
const BACKOFF: Duration = Duration::from_millis(10);

/// Longest pause.
const BACKOFF_MOST: Duration = Duration::from_secs(1);
