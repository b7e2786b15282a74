//! Whether the addresses of the configuration are free, where no daemon answers.
//!
//! The kernel is asked what is bound, and the ports themselves are not bound here: a socket of ours would be in the way
//! of a daemon that starts at this moment, and ports below 1024 take privileges that doctor does not need.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;

use nix::unistd::{Uid, User};

use crate::cli::doctor::report::Report;
use crate::config::Accounting;
use crate::daemon::Site;

#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Udp,
    Tcp,
}

/// A socket of this machine, and the user whose it is.
#[derive(Debug, Eq, PartialEq)]
struct Bound {
    at: SocketAddr,
    uid: u32,
}

/// A listener of the configuration: its name, the key that sets it, whether the daemon starts without it.
type Wanted = (&'static str, &'static str, bool, Kind, Vec<SocketAddr>);

/// Names each address at which another program listens, or which this machine does not have.
pub(super) fn ports(report: &mut Report, site: &Site) {
    let (Some(udp), Some(tcp)) = (bound(Kind::Udp), bound(Kind::Tcp)) else {
        return; // Not to be known here.
    };
    let before = report.0.len();
    let mut any = false;
    for (what, key, optional, kind, addresses) in wanted(site) {
        let bound = if kind == Kind::Udp { &udp } else { &tcp };
        for at in addresses.into_iter().filter(|at| at.port() != 0) {
            any = true;
            let Some((why, fix)) = trouble(at, kind, bound) else {
                continue;
            };
            let (found, fix) = (
                format!("{what} cannot listen on {at}: {why}"),
                fix.replace("KEY", key),
            );
            if optional {
                report.warning("listeners", found, fix);
            } else {
                report.failure("listeners", found, fix);
            }
        }
    }
    if any && report.0.len() == before {
        report.ok("listeners", "no other program has an address of the daemon");
    }
}

fn wanted(site: &Site) -> Vec<Wanted> {
    let (radius, http) = (&site.config.radius, &site.config.http);
    let console = site.config.web.console_listen.clone();
    let tls = radius.tls.as_ref().map(|tls| tls.listen.clone());
    let auto = radius.accounting == Accounting::Auto;
    let accounting = radius.accounting.beside(&radius.listen);
    vec![
        (
            "RADIUS",
            "radius.listen",
            false,
            Kind::Udp,
            radius.listen.clone(),
        ),
        (
            "RADIUS accounting",
            "radius.accounting_listen",
            auto,
            Kind::Udp,
            accounting,
        ),
        (
            "RADIUS over TLS",
            "radius.tls.listen",
            false,
            Kind::Tcp,
            tls.unwrap_or_default(),
        ),
        ("HTTP", "http.listen", false, Kind::Tcp, http.listen.clone()),
        (
            "the console",
            "web.console_listen",
            false,
            Kind::Tcp,
            console,
        ),
    ]
}

/// Why a listener cannot be bound, and what to do.
fn trouble(at: SocketAddr, kind: Kind, bound: &[Bound]) -> Option<(String, String)> {
    let holder = bound.iter().find(|bound| takes(bound.at, at, kind));
    if let Some(holder) = holder {
        // Sockets that systemd holds for the daemon are handed over when it starts.
        if holder.uid == 0 && is_handed_over(at) {
            return None;
        }
        let user = User::from_uid(Uid::from_raw(holder.uid)).ok().flatten();
        let user = user.map_or_else(|| holder.uid.to_string(), |user| user.name);
        let option = if kind == Kind::Udp { "-lunp" } else { "-ltnp" };
        let port = at.port();
        return Some((
            format!("a program of the user {user} listens there"),
            format!(
                "ss {option} 'sport = :{port}' names it (as root); stop it, or choose another address: `KEY` in \
                 oncegate.toml"
            ),
        ));
    }
    // With another port: whether the machine has the address.
    let tried = UdpSocket::bind((at.ip(), 0)).map(drop);
    let missing = tried.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable);
    missing.then(|| {
        (
            "this machine does not have that address".to_owned(),
            "ip address shows those it has; correct `KEY` in oncegate.toml".to_owned(),
        )
    })
}

/// Whether who has `bound` keeps others from `wanted`.
fn takes(bound: SocketAddr, wanted: SocketAddr, kind: Kind) -> bool {
    if bound.port() != wanted.port() {
        return false;
    }
    let (there, here) = (bound.ip().to_canonical(), wanted.ip().to_canonical());
    if there.is_ipv4() == here.is_ipv4() {
        return there == here || there.is_unspecified() || here.is_unspecified();
    }
    // `[::]` takes both families or one, which only the system can tell.
    let any = |ip: IpAddr| ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    (any(there) || any(here)) && is_taken(wanted, kind)
}

fn is_taken(at: SocketAddr, kind: Kind) -> bool {
    let tried = match kind {
        Kind::Udp => UdpSocket::bind(at).map(drop),
        Kind::Tcp => TcpListener::bind(at).map(drop),
    };
    tried.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// Whether the socket unit of the package is active and has this address.
fn is_handed_over(at: SocketAddr) -> bool {
    let show = ["show", "--property=ActiveState,Listen", "oncegate.socket"];
    let Ok(output) = Command::new("systemctl").args(show).output() else {
        return false;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    is_listed(&text, at)
}

fn is_listed(shown: &str, at: SocketAddr) -> bool {
    let mut listed = shown.lines().filter_map(|line| {
        let listen = line.strip_prefix("Listen=")?;
        let (address, _) = listen.split_once(' ')?;
        address.parse::<SocketAddr>().ok()
    });
    shown.lines().any(|line| line == "ActiveState=active") && listed.any(|listed| listed == at)
}

/// All sockets of a kind that receive; `None` where the kernel does not say.
fn bound(kind: Kind) -> Option<Vec<Bound>> {
    let (four, six) = match kind {
        Kind::Udp => ("/proc/net/udp", "/proc/net/udp6"),
        Kind::Tcp => ("/proc/net/tcp", "/proc/net/tcp6"),
    };
    let four = fs::read_to_string(four).ok()?;
    // A kernel without IPv6 has no such file.
    let six = fs::read_to_string(six).unwrap_or_default();
    let lines = four.lines().chain(six.lines());
    Some(lines.filter_map(|line| socket(line, kind)).collect())
}

/// A line of these files (proc(5)): number, local address, remote address, state, queues, timers, retransmissions, user.
fn socket(line: &str, kind: Kind) -> Option<Bound> {
    let mut words = line.split_whitespace().skip(1);
    let at = socket_address(words.next()?)?;
    let state = words.nth(1)?;
    if kind == Kind::Tcp && state != LISTENING {
        return None;
    }
    let uid = words.nth(3)?.parse().ok()?;
    Some(Bound { at, uid })
}

/// `0100007F:0714`: the address as words of 32 bits in the order of this machine's octets, the port as a number.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        Some(u32::from_be(word))
    };
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let join = |number: u128, word: u32| (number << 32) | u128::from(word);
            Ipv6Addr::from(words.into_iter().fold(0, join)).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// `TCP_LISTEN` of the kernel.
const LISTENING: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_program_has_is_found() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (udp, tcp) = (socket.local_addr().unwrap(), listener.local_addr().unwrap());
        for (at, kind) in [(udp, Kind::Udp), (tcp, Kind::Tcp)] {
            let bound = bound(kind).unwrap();
            let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), at.port());
            for wanted in [at, any] {
                let (why, fix) = trouble(wanted, kind, &bound).unwrap();
                assert!(why.contains("listens there"), "{why}");
                assert!(fix.contains(&format!(":{}'", at.port())), "{fix}");
            }
            let other = SocketAddr::new([127, 0, 0, 2].into(), at.port());
            assert_eq!(trouble(other, kind, &bound), None);
        }
        let elsewhere = "203.0.113.9:1812".parse().unwrap();
        let (why, _) = trouble(elsewhere, Kind::Udp, &[]).unwrap();
        assert!(why.contains("does not have that address"), "{why}");
    }

    #[test]
    fn lines_of_the_kernel_are_read() {
        let line = "  12: 00000000000000000000000001000000:0714 00000000000000000000000000000000:0000 07 \
                    00000000:00000000 00:00000000 00000000   997        0 4711 2 0000000000000000 0";
        let little = cfg!(target_endian = "little");
        let read = socket(line, Kind::Udp).unwrap();
        assert_eq!((read.at.port(), read.uid), (1812, 997));
        assert_eq!(read.at.ip() == IpAddr::V6(Ipv6Addr::LOCALHOST), little);
        assert!(socket(line, Kind::Tcp).is_none(), "it does not listen");
        assert!(socket("  sl  local_address rem_address   st", Kind::Udp).is_none());
    }

    #[test]
    fn sockets_of_the_unit_are_handed_over() {
        let shown =
            "Listen=0.0.0.0:1812 (Datagram)\nListen=[::]:8443 (Stream)\nActiveState=active\n";
        let at = |text: &str| is_listed(shown, text.parse().unwrap());
        assert!(at("0.0.0.0:1812") && at("[::]:8443") && !at("0.0.0.0:8443"));
        assert!(!is_listed(
            &shown.replace("=active", "=inactive"),
            "0.0.0.0:1812".parse().unwrap()
        ));
    }
}
