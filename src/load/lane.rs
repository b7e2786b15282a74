//! A socket with its 256 identifiers, and batches in both directions.
//!
//! RADIUS tells replies apart by source port and Identifier, so one socket carries at most 256
//! requests at a time; more need more sockets (RFC 2865 s2.5 counts ports in the same way). An
//! identifier that was given back is used again as late as possible: the reply of a request that was
//! given up must not meet another one.
//!
//! `sendmmsg` and `recvmmsg` move a batch with one call: a generator shares its machine with what it
//! measures.

use std::collections::VecDeque;
use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, recvmmsg, sendmmsg};
use nix::sys::time::TimeSpec;
use socket2::SockRef;

use crate::load::drill::Ticket;
use crate::load::link::{Dial, Link};
use crate::load::mschap::Exchange;
use crate::load::packet::Nonce;
use crate::radius::packet::MAX_LENGTH;

/// What carries the packets of a lane.
#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Tls(Box<Link>),
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp(socket) => socket.as_fd(),
            Self::Tls(link) => link.as_fd(),
        }
    }
}

/// A socket from which only `server` can be reached.
fn connected(server: SocketAddr) -> io::Result<UdpSocket> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    // As much as the kernel grants: a reply that is lost here would be the server's timeout.
    let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
    Ok(socket)
}

/// One socket, or one connection.
#[derive(Debug)]
pub(super) struct Lane {
    socket: Socket,
    free: VecDeque<u8>,
    flights: Vec<Flight>,
    /// Identifiers whose datagrams are to be sent.
    queue: Vec<u8>,
}

/// A request on its way; the buffer stays when it has landed.
#[derive(Debug, Default)]
pub(super) struct Flight {
    pub(super) ticket: Option<Ticket>,
    pub(super) nonce: Nonce,
    pub(super) exchange: Option<Exchange>,
    /// From when its latency counts.
    pub(super) due: Duration,
    /// Retransmissions that are left.
    pub(super) retries: u8,
    /// How many requests had this identifier before.
    pub(super) round: u32,
    pub(super) datagram: Vec<u8>,
}

impl Lane {
    /// A lane to a server, over UDP or as it is dialled.
    pub(super) fn open(server: SocketAddr, dial: Option<&Dial>) -> io::Result<Self> {
        let socket = match dial {
            None => Socket::Udp(connected(server)?),
            Some(dial) => Socket::Tls(Box::new(Link::open(server, dial)?)),
        };
        Ok(Self {
            socket,
            free: (0..=u8::MAX).collect(),
            flights: (0..=u8::MAX).map(|_| Flight::default()).collect(),
            queue: Vec::new(),
        })
    }

    /// An identifier that is free.
    pub(super) fn take(&mut self) -> Option<(u8, &mut Flight)> {
        let identifier = self.free.pop_front()?;
        let flight = self.flights.get_mut(usize::from(identifier))?;
        flight.round = flight.round.wrapping_add(1);
        Some((identifier, flight))
    }

    /// What was sent with an identifier last.
    pub(super) fn flight(&mut self, identifier: u8) -> Option<&mut Flight> {
        self.flights.get_mut(usize::from(identifier))
    }

    /// Whether an identifier is free.
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Gives an identifier back.
    pub(super) fn give_back(&mut self, identifier: u8) {
        self.free.push_back(identifier);
    }

    /// Has the datagram of an identifier sent with the next batch.
    pub(super) fn queue(&mut self, identifier: u8) {
        self.queue.push(identifier);
    }

    /// Whether there is something to send.
    pub(super) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }
}

/// Kernel headers and receive buffers, for all lanes of a worker. Holds pointers: it stays with the
/// thread that made it.
pub(super) struct Post {
    out: MultiHeaders<()>,
    inbox: MultiHeaders<()>,
    buffers: Vec<Vec<u8>>,
    lengths: Vec<usize>,
}

impl Post {
    pub(super) fn new() -> Self {
        Self {
            out: MultiHeaders::preallocate(BATCH, None),
            inbox: MultiHeaders::preallocate(BATCH, None),
            // One octet more than a packet: a longer datagram is seen to be longer.
            buffers: (0..BATCH).map(|_| vec![0; MAX_LENGTH + 1]).collect(),
            lengths: Vec::with_capacity(BATCH),
        }
    }

    /// Sends what a lane has queued.
    ///
    /// # Errors
    /// Those of the system, except that a full queue is waited for and a port that nothing listens
    /// on is only known from what comes back.
    pub(super) fn send(&mut self, lane: &mut Lane) -> Result<(), Errno> {
        let socket = match &mut lane.socket {
            Socket::Udp(socket) => socket,
            Socket::Tls(link) => {
                let flights = &lane.flights;
                for identifier in lane.queue.drain(..) {
                    if let Some(flight) = flights.get(usize::from(identifier)) {
                        link.queue(&flight.datagram)?;
                    }
                }
                return link.flush();
            }
        };
        let mut first = 0;
        while first < lane.queue.len() {
            let batch = lane.queue.iter().skip(first).take(BATCH);
            let slices: Vec<[IoSlice<'_>; 1]> = batch
                .filter_map(|identifier| lane.flights.get(usize::from(*identifier)))
                .map(|flight| [IoSlice::new(&flight.datagram)])
                .collect();
            let none: [ControlMessage<'_>; 0] = [];
            let sent = sendmmsg(
                socket.as_raw_fd(),
                &mut self.out,
                &slices,
                [None; BATCH],
                none,
                MsgFlags::MSG_DONTWAIT,
            );
            match sent.map(Iterator::count) {
                Ok(count) => first += count,
                Err(Errno::EAGAIN | Errno::ENOBUFS) => {
                    let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
                    wait_for(&mut ready, FULL)?;
                }
                // An answer to what was sent earlier; it is taken off the socket by telling it.
                Err(Errno::ECONNREFUSED | Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
        lane.queue.clear();
        Ok(())
    }

    /// Receives what is there, at most a batch: the datagrams. Empty when there is nothing.
    ///
    /// # Errors
    /// `ECONNREFUSED` when nothing listens; others of the system.
    pub(super) fn receive<'s>(
        &'s mut self,
        lane: &mut Lane,
    ) -> Result<impl Iterator<Item = &'s [u8]> + use<'s>, Errno> {
        self.lengths.clear();
        match &mut lane.socket {
            Socket::Udp(socket) => self.receive_datagrams(socket)?,
            Socket::Tls(link) => {
                link.read()?;
                for buffer in &mut self.buffers {
                    let Some(length) = link.take(buffer)? else {
                        break;
                    };
                    self.lengths.push(length);
                }
            }
        }
        let filled = self.buffers.iter().zip(&self.lengths);
        Ok(filled.map(|(buffer, length)| buffer.get(..*length).unwrap_or_default()))
    }

    fn receive_datagrams(&mut self, socket: &UdpSocket) -> Result<(), Errno> {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
            .buffers
            .iter_mut()
            .map(|buffer| [IoSliceMut::new(buffer)])
            .collect();
        let received = recvmmsg(
            socket.as_raw_fd(),
            &mut self.inbox,
            slices.iter_mut(),
            MsgFlags::MSG_DONTWAIT,
            None,
        );
        match received {
            Ok(messages) => self.lengths.extend(messages.map(|message| message.bytes)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Sleeps until one of the lanes has received something, at most for `patience`.
pub(super) fn wait(lanes: &[Lane], patience: Duration) -> Result<(), Errno> {
    let ready = |lane| PollFd::new(AsFd::as_fd(lane), PollFlags::POLLIN);
    let mut ready: Vec<PollFd<'_>> = lanes.iter().map(|lane| ready(&lane.socket)).collect();
    wait_for(&mut ready, patience)
}

fn wait_for(ready: &mut [PollFd<'_>], patience: Duration) -> Result<(), Errno> {
    match ppoll(ready, Some(TimeSpec::from_duration(patience)), None) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Datagrams moved by one call.
pub(super) const BATCH: usize = 64;
/// Requests on one socket: below 256, so that an identifier rests before it is used again.
pub(super) const PER_LANE: usize = 192;
/// Room for the replies to a burst.
const RECEIVE_BUFFER: usize = 4 << 20;
/// How long a full send queue is waited for before it is tried again.
const FULL: Duration = Duration::from_millis(10);
