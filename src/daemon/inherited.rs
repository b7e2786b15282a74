//! Sockets that systemd has bound and hands over (socket activation): each is the listener of the address that it has.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use listenfd::ListenFd;

/// What was handed over, and is not used yet.
#[derive(Default)]
pub(super) struct Inherited {
    udp: Vec<(SocketAddr, UdpSocket)>,
    tcp: Vec<(SocketAddr, TcpListener)>,
}

impl Inherited {
    /// The sockets of `LISTEN_FDS`; what is no socket of the internet is left alone, with a warning.
    pub(super) fn new() -> Self {
        let (mut given, mut inherited) = (ListenFd::from_env(), Self::default());
        for number in 0..given.len() {
            if let Ok(Some(socket)) = given.take_udp_socket(number) {
                let at = socket.local_addr();
                inherited.udp.extend(at.ok().map(|at| (at, socket)));
            } else if let Ok(Some(listener)) = given.take_tcp_listener(number) {
                let at = listener.local_addr();
                inherited.tcp.extend(at.ok().map(|at| (at, listener)));
            } else {
                tracing::warn!(
                    number,
                    "systemd hands over something that is neither a UDP nor a TCP socket: see oncegate.socket"
                );
            }
        }
        inherited
    }

    /// The one for datagrams that is bound to this address.
    pub(super) fn udp(&mut self, at: SocketAddr) -> Option<UdpSocket> {
        taken(&mut self.udp, at)
    }

    /// The one for connections that is bound to this address.
    pub(super) fn tcp(&mut self, at: SocketAddr) -> Option<TcpListener> {
        taken(&mut self.tcp, at)
    }

    /// Says which no listener of the configuration has asked for: what arrives there is not answered.
    pub(super) fn warn_of_rest(self) {
        let udp = self.udp.iter().map(|(at, _)| ("UDP", at));
        let tcp = self.tcp.iter().map(|(at, _)| ("TCP", at));
        for (kind, address) in udp.chain(tcp) {
            tracing::warn!(
                %address,
                kind,
                "systemd hands over a socket for an address that no listener has: make oncegate.socket and \
                 oncegate.toml say the same"
            );
        }
    }
}

fn taken<T>(sockets: &mut Vec<(SocketAddr, T)>, at: SocketAddr) -> Option<T> {
    let place = sockets.iter().position(|(bound, _)| *bound == at)?;
    Some(sockets.swap_remove(place).1)
}
