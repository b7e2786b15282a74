//! A flood from addresses of no client is dropped by the kernel.
//!
//! A datagram from such an address costs a part of a call, a look-up, and room in the socket's buffer, where requests
//! of clients wait. While more than [`FLOOD`] of them come in a second, a classic BPF program on the socket drops all
//! but one in [`SAMPLE`]. Those that are let through are counted and logged as ever, and tell when it is over.
//!
//! Invariant: no datagram from an address of a client is dropped. The program lists them all, and is made anew before
//! a change of clients is told as done; where they are too many for a program there is none. Threat: the address of a
//! client can be forged; such a packet is let through, and fails its Message-Authenticator.
//!
//! Source: `Documentation/networking/filter.rst` of Linux.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use socket2::{SockFilter, SockRef};
use tokio_util::sync::CancellationToken;

use crate::server::radius::counters::{Ingress, ListenerCounters};
use crate::server::radius::table::Table;
use crate::server::radius::udp::Listener;

/// The shield of one listener.
pub(super) struct Shield {
    listener: Arc<Listener>,
    counters: Arc<ListenerCounters>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Datagrams from addresses of no client until the last look.
    counted: u64,
    is_up: bool,
    /// Whether it was said that it cannot be put up.
    told: bool,
}

impl Shield {
    /// Of a listener, which is down.
    pub(super) fn new(listener: &Arc<Listener>, ingress: &Ingress) -> Self {
        // A socket that systemd keeps may have the program of a daemon that was killed, which knows other clients.
        let _ = SockRef::from(listener.socket()).detach_filter();
        Self {
            listener: Arc::clone(listener),
            counters: Arc::clone(&ingress.counters),
            state: Mutex::default(),
        }
    }

    /// Looks once a second until shutdown.
    pub(super) async fn watch(self: Arc<Self>, table: Arc<ArcSwap<Table>>, end: CancellationToken) {
        let mut times = tokio::time::interval(LOOK);
        while end.run_until_cancelled(times.tick()).await.is_some() {
            self.look(&table);
        }
        self.put_down(&mut self.state.lock().expect(UNPOISONED));
    }

    /// Puts it up where a flood has begun since the last look, and down where it is over.
    fn look(&self, table: &ArcSwap<Table>) {
        let mut state = self.state.lock().expect(UNPOISONED);
        let counted = self.counters.unknown_client.load(Ordering::Relaxed);
        let came = counted.saturating_sub(state.counted);
        state.counted = counted;
        let listener = self.listener.local_addr();
        if !state.is_up && came > FLOOD {
            // Read under the lock: a change that comes later refreshes it.
            self.put_up(&mut state, table.load().networks());
            if state.is_up {
                tracing::warn!(
                    %listener,
                    "{came} datagrams in a second came from addresses of no client: the system drops all but one in \
                     {SAMPLE} of them while that lasts"
                );
            }
        } else if state.is_up && came.saturating_mul(SAMPLE.into()) < FLOOD / 2 {
            self.put_down(&mut state);
            tracing::info!(%listener, "the flood from addresses of no client is over");
        }
    }

    /// Takes other clients.
    pub(super) fn refresh(&self, clients: &[IpNet]) {
        let mut state = self.state.lock().expect(UNPOISONED);
        if state.is_up {
            self.put_up(&mut state, clients);
        }
    }

    fn put_up(&self, state: &mut State, clients: &[IpNet]) {
        // The one before does not know all clients, and counts against what the system allows.
        self.put_down(state);
        let socket = SockRef::from(self.listener.socket());
        let attached = program(clients).map(|program| socket.attach_filter(&program));
        if let Some(Ok(())) = attached {
            self.is(state, true);
            state.told = false;
        } else if !std::mem::replace(&mut state.told, true) {
            let error = attached.and_then(Result::err);
            tracing::warn!(
                ?error,
                networks = clients.len(),
                "a flood from addresses of no client is not dropped by the system: its program has no room for all \
                 clients (net.core.optmem_max)"
            );
        }
    }

    fn put_down(&self, state: &mut State) {
        if state.is_up {
            let socket = SockRef::from(self.listener.socket());
            if let Err(error) = socket.detach_filter() {
                tracing::warn!(%error, "a program that drops floods stays on the socket");
                return;
            }
        }
        self.is(state, false);
    }

    fn is(&self, state: &mut State, up: bool) {
        state.is_up = up;
        self.counters.shielded.store(up.into(), Ordering::Relaxed);
    }
}

/// What the kernel runs on each datagram: it takes those from these networks, and one in [`SAMPLE`] of the others.
/// `None`: they are too many.
fn program(clients: &[IpNet]) -> Option<Vec<SockFilter>> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for client in clients {
        match client {
            IpNet::V4(net) => {
                let (net, mask) = (u32::from(net.network()), u32::from(net.netmask()));
                v4.extend(one(&[(net, mask)]));
            }
            IpNet::V6(net) => {
                let (net, mask) = (words(net.network().into()), words(net.netmask().into()));
                v6.extend(one(&[0, 1, 2, 3].map(|at| (net[at], mask[at]))));
            }
        }
    }
    let mut v4 = [remember(&[SOURCE_V4]), v4].concat();
    let v6 = [remember(&[0, 4, 8, 12].map(|at| SOURCE_V6 + at)), v6].concat();
    v4.push((JUMP, 0, 0, length(&v6)?));
    // The version of IP is in the first half of its first octet.
    let begin = vec![
        (LOAD_OCTET, 0, 0, NETWORK),
        (AND, 0, 0, 0xf0),
        (IF_EQUAL, 1, 0, 0x40),
        (JUMP, 0, 0, length(&v4)?),
    ];
    let end = vec![
        (LOAD, 0, 0, RANDOM),
        (AND, 0, 0, SAMPLE - 1),
        (IF_EQUAL, 0, 1, 0),
        (RETURN, 0, 0, ALL),
        (RETURN, 0, 0, 0),
    ];
    let whole = [begin, v4, v6, end].concat();
    let step = |(code, yes, no, value)| SockFilter::new(code, yes, no, value);
    (whole.len() <= MOST).then(|| whole.into_iter().map(step).collect())
}

/// Operation, steps to skip where a comparison holds and where not, operand.
type Step = (u16, u8, u8, u32);

/// Puts words of the packet into the first cells of the memory.
fn remember(at: &[u32]) -> Vec<Step> {
    let cells = (0_u32..).zip(at);
    cells
        .flat_map(|(cell, at)| [(LOAD, 0, 0, *at), (STORE, 0, 0, cell)])
        .collect()
}

/// Takes the packet where the words in memory are these under their masks.
fn one(words: &[(u32, u32)]) -> Vec<Step> {
    let mut steps = vec![(RETURN, 0, 0, ALL)];
    let cells: Vec<_> = (0_u32..).zip(words).collect();
    let told = cells.into_iter().rev().filter(|(_, (_, mask))| *mask != 0);
    for (cell, (word, mask)) in told {
        // At most 13 steps are behind.
        let behind = u8::try_from(steps.len()).unwrap_or(u8::MAX);
        let compare = [
            (LOAD_CELL, 0, 0, cell),
            (AND, 0, 0, *mask),
            (IF_EQUAL, 0, behind, *word),
        ];
        steps.splice(..0, compare);
    }
    steps
}

fn words(address: IpAddr) -> [u32; 4] {
    let IpAddr::V6(address) = address else {
        return [0; 4];
    };
    let bits = address.to_bits();
    [96, 64, 32, 0].map(|shift| u32::try_from((bits >> shift) & 0xffff_ffff).unwrap_or_default())
}

fn length(steps: &[Step]) -> Option<u32> {
    u32::try_from(steps.len()).ok()
}

// `linux/bpf_common.h`, `linux/filter.h`.
const LOAD: u16 = 0x20;
const LOAD_OCTET: u16 = 0x30;
const LOAD_CELL: u16 = 0x60;
const STORE: u16 = 0x02;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// Where the header of IP begins, by an offset that stands for it.
const NETWORK: u32 = 0xfff0_0000;
const SOURCE_V4: u32 = NETWORK + 12;
const SOURCE_V6: u32 = NETWORK + 8;
/// A random word, by an offset that stands for it.
const RANDOM: u32 = 0xffff_f000 + 56;
/// All of the packet.
const ALL: u32 = u32::MAX;
/// Most steps of a program.
const MOST: usize = 4096;

/// Datagrams a second from addresses of no client that are a flood.
const FLOOD: u64 = 5000;
/// Of a flood one in so many is let through; a power of two.
const SAMPLE: u32 = 64;
const LOOK: Duration = Duration::from_secs(1);
const UNPOISONED: &str = "no panic while the lock is held";

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};

    use super::*;

    /// How many of `sent` datagrams from an address come through to a socket with this program.
    fn through(server: &UdpSocket, from: &str, sent: u16) -> usize {
        let client = UdpSocket::bind((from, 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        let to = match client.local_addr().unwrap() {
            SocketAddr::V4(_) => SocketAddr::from(([127, 0, 0, 1], port)),
            SocketAddr::V6(_) => SocketAddr::new("::1".parse().unwrap(), port),
        };
        let mut came = 0;
        for number in 1..=sent {
            client.send_to(&number.to_be_bytes(), to).unwrap();
            // As many as the buffer holds for sure.
            if number % 50 == 0 || number == sent {
                let mut buffer = [0; 2];
                while server.recv(&mut buffer).is_ok() {
                    came += 1;
                }
            }
        }
        came
    }

    #[test]
    fn the_kernel_takes_clients_and_few_of_the_others() {
        let nets =
            |all: &[&str]| -> Vec<IpNet> { all.iter().map(|net| net.parse().unwrap()).collect() };
        let v4 = ["127.0.0.2/32", "127.7.0.0/16"];
        let v6 = ["::1/128", "2001:db8:1::/48"];
        let many: Vec<String> = (0..500)
            .map(|n| format!("10.{}.{}.0/24", n / 250, n % 250))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (bind, networks, all, few) in [
            (
                "127.0.0.1:0",
                nets(&v4),
                &["127.0.0.2", "127.7.1.2"][..],
                &["127.0.0.3", "127.8.0.1"][..],
            ),
            // An IPv6 wildcard serves IPv4 too.
            (
                "[::]:0",
                nets(&[v4, v6].concat()),
                &["127.0.0.2", "::1"],
                &["127.0.0.3"],
            ),
            (
                "[::]:0",
                nets(&["2001:db8::/32", "fe80::1/128"]),
                &[],
                &["::1", "127.0.0.2"],
            ),
            (
                "127.0.0.1:0",
                nets(&[&many[..], &v4].concat()),
                &["127.0.0.2"],
                &["127.0.0.3"],
            ),
            ("127.0.0.1:0", nets(&["0.0.0.0/0"]), &["127.0.0.9"], &[]),
            ("127.0.0.1:0", nets(&[]), &[], &["127.0.0.2"]),
        ] {
            let server = match UdpSocket::bind(bind) {
                Ok(server) => server,
                // Without IPv6 there is nothing to be seen of it.
                Err(_) if bind.starts_with('[') => continue,
                Err(error) => panic!("{error}"),
            };
            let wait = Duration::from_millis(20);
            server.set_read_timeout(Some(wait)).unwrap();
            let socket = SockRef::from(&server);
            socket.attach_filter(&program(&networks).unwrap()).unwrap();
            for from in all {
                assert_eq!(through(&server, from, 300), 300, "{from} of {networks:?}");
            }
            for from in few {
                // 31 of 2,000 on the average.
                let came = through(&server, from, 2000);
                assert!(
                    (1..100).contains(&came),
                    "{came} from {from} of {networks:?}"
                );
            }
            socket.detach_filter().unwrap();
            for from in few {
                assert_eq!(through(&server, from, 100), 100);
            }
        }
    }

    #[test]
    fn too_many_clients_have_no_program() {
        let net = |n: u32| {
            IpNet::from(IpAddr::from(std::net::Ipv6Addr::from(
                u128::from(n) << 64 | 1,
            )))
        };
        let few: Vec<IpNet> = (0..200).map(net).collect();
        let many: Vec<IpNet> = (0..2000).map(net).collect();
        assert!(program(&few).is_some() && program(&many).is_none());
    }
}
