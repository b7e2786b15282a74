//! Connections to hosts that others name: resolved, checked, and made to what was checked.
//!
//! Threats T31: a name in the DNS of an attacker leads to this machine, to the private network or
//! to the cloud's metadata; or it leads there only the second time it is asked (rebinding). So the
//! name is resolved once, every address it has is judged, and the connection is made to one of
//! those very addresses. A name with one refused address is refused as a whole. TLS is checked
//! against the name, not the address.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{fmt, io};

use futures_util::future::BoxFuture;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::target::{Host, Reach, Target, refusal};
use crate::net::tls::{TlsError, client_config};

/// Finds the addresses of names.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of the name.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The resolver of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// A connection, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// The way to a gateway.
pub struct Way {
    target: Target,
    reach: Reach,
    /// None where TLS does not begin at once.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    resolver: Arc<dyn Resolve>,
}

impl Way {
    /// The way to `target`, whose certificate is checked against the authorities of `ca`.
    pub fn new(
        target: Target,
        reach: Reach,
        ca: Option<&Path>,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, TlsError> {
        let tls = if target.secure {
            let host = host_text(&target.host);
            let name = ServerName::try_from(host).map_err(|_| TlsError::Name)?;
            let config = client_config(ca)?;
            Some((TlsConnector::from(Arc::new(config)), name))
        } else {
            None
        };
        Ok(Self {
            target,
            reach,
            tls,
            resolver,
        })
    }

    /// The host as TLS and logs name it.
    pub fn host(&self) -> String {
        host_text(&self.target.host)
    }

    /// Whether TLS begins at once.
    pub const fn is_secure(&self) -> bool {
        self.target.secure
    }

    /// A connection to the gateway, encrypted where TLS begins at once. The error says what is
    /// wrong.
    pub async fn connect(&self) -> Result<Channel, String> {
        let (stream, address) = self.reached().await?;
        self.secure(stream, address).await
    }

    /// A connection without TLS, for what begins it itself.
    pub async fn tcp(&self) -> Result<TcpStream, String> {
        Ok(self.reached().await?.0)
    }

    /// The same, which yields at most so many octets.
    pub async fn bounded(&self, octets: usize) -> Result<Channel, String> {
        let (stream, peer) = self.reached().await?;
        Ok(Channel {
            stream: Box::new(stream),
            peer,
            left: octets,
        })
    }

    async fn reached(&self) -> Result<(TcpStream, SocketAddr), String> {
        let addresses = self.addresses().await?;
        let mut last = format!("{} has no address", self.host());
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Short questions and answers: what waits to be sent together waits 40 ms for an acknowledgement.
                    let _ = stream.set_nodelay(true);
                    return Ok((stream, address));
                }
                Err(error) => last = format!("no connection to {address}: {error}"),
            }
        }
        Err(last)
    }

    /// Every address of the target; none if one of them is refused.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let found = match &self.target.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                let found = self.resolver.resolve(name).await;
                found.map_err(|error| format!("{name} has no address: {error}"))?
            }
        };
        for address in &found {
            if let Some(why) = refusal(*address, self.reach) {
                return Err(format!("{} leads to {address}, {why}", self.host()));
            }
        }
        let port = self.target.port;
        let socket = |address| SocketAddr::new(address, port);
        Ok(found.into_iter().take(ADDRESSES).map(socket).collect())
    }

    async fn secure(&self, stream: TcpStream, peer: SocketAddr) -> Result<Channel, String> {
        let stream: Box<dyn Stream> = if let Some((tls, name)) = &self.tls {
            let encrypted = tls.connect(name.clone(), stream).await;
            Box::new(encrypted.map_err(|error| format!("no TLS with {}: {error}", self.host()))?)
        } else {
            Box::new(stream)
        };
        let left = ANSWER_MAX;
        Ok(Channel { stream, peer, left })
    }
}

fn host_text(host: &Host) -> String {
    match host {
        Host::Address(address) => address.to_string(),
        Host::Name(name) => name.clone(),
    }
}

/// A connection that yields a bounded number of octets: those that were asked for, else [`ANSWER_MAX`].
pub struct Channel {
    stream: Box<dyn Stream>,
    peer: SocketAddr,
    left: usize,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({})", self.peer)
    }
}

impl lettre::transport::smtp::client::AsyncTokioStream for Channel {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let read = buffer.filled().len().saturating_sub(before);
        match self.left.checked_sub(read) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(io::Error::other("the answer is too long"))),
        }
        polled
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Addresses of one name that are tried: a name with thousands must not hold an attempt.
const ADDRESSES: usize = 4;
/// Most octets of one answer, heads and certificates of a STARTTLS included, against a server that
/// sends without end.
const ANSWER_MAX: usize = 256 * 1024;
