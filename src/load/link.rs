//! A connection of RADIUS over TLS (RFC 6614): what is queued is written, what came is cut into packets.

use std::io;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection};

use crate::cli::error::CliError;
use crate::net::tls::client_config;
use crate::radius::stream::{Framed, next};

/// What connections are made with.
#[derive(Clone, Debug)]
pub(super) struct Dial {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Dial {
    /// To a server of this name, whose certificate an authority of `ca` has signed, with a client's certificate
    /// and key.
    pub(super) fn new(
        ca: Option<&Path>,
        (certificate, key): (&Path, &Path),
        name: &str,
    ) -> Result<Self, CliError> {
        let mut config = client_config(ca)
            .map_err(|error| CliError::usage(error.to_string()).remedy(error.remedy()))?;
        let bad = |option: &str, path: &Path, why: &dyn std::fmt::Display| {
            CliError::usage(format!("--{option} {}: {why}", path.display()))
        };
        let chain = CertificateDer::pem_file_iter(certificate);
        let chain = chain.and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|why| bad("certificate", certificate, &why))?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|why| bad("key", key, &why))?;
        let provider = config.crypto_provider();
        let signing = provider.key_provider.load_private_key(private);
        let signing = signing.map_err(|why| bad("key", key, &why))?;
        let own = CertifiedKey::new(chain, signing);
        if let Err(why) = own.keys_match() {
            return Err(bad("key", key, &why));
        }
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(own));
        config.alpn_protocols = vec![b"radius/1.0".to_vec()];
        let name = ServerName::try_from(name.to_owned());
        let name = name.map_err(|_| CliError::usage("--server-name: no valid host name"))?;
        Ok(Self {
            config: Arc::new(config),
            name,
        })
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    socket: TcpStream,
    tls: ClientConnection,
    /// What came and is no whole packet yet, or was not taken.
    inbox: Vec<u8>,
}

impl Link {
    /// Connects, and completes the handshake.
    pub(super) fn open(server: SocketAddr, dial: &Dial) -> io::Result<Self> {
        let mut socket = TcpStream::connect_timeout(&server, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let tls = ClientConnection::new(Arc::clone(&dial.config), dial.name.clone());
        let mut tls = tls.map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            tls,
            inbox: Vec::new(),
        })
    }

    /// Takes a packet to be sent with the next [`Link::flush`].
    pub(super) fn queue(&mut self, packet: &[u8]) -> Result<(), Errno> {
        self.tls
            .writer()
            .write_all(packet)
            .map_err(|error| errno(&error))
    }

    /// Writes what is queued; a full socket is waited for.
    pub(super) fn flush(&mut self) -> Result<(), Errno> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut ready = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
                    match poll(&mut ready, PollTimeout::from(FULL_MILLIS)) {
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(errno(&error)),
            }
        }
        Ok(())
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// `EPROTO` when the server ends the connection for a reason of TLS.
    pub(super) fn read(&mut self) -> Result<(), Errno> {
        while self.inbox.len() < MOST {
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(Errno::ECONNRESET),
                Ok(_) => self.decrypt()?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(errno(&error)),
            }
        }
        Ok(())
    }

    fn decrypt(&mut self) -> Result<(), Errno> {
        let state = self.tls.process_new_packets();
        let length = state.map_err(|_| Errno::EPROTO)?.plaintext_bytes_to_read();
        let start = self.inbox.len();
        self.inbox.resize(start + length, 0);
        let place = self.inbox.get_mut(start..).unwrap_or_default();
        let read = self.tls.reader().read_exact(place);
        read.map_err(|error| errno(&error))
    }

    /// Moves the next packet into a buffer that has room for the longest one; its length.
    pub(super) fn take(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
        let length = match next(&self.inbox) {
            Framed::Incomplete => return Ok(None),
            Framed::Broken => return Err(Errno::EPROTO),
            Framed::Packet(length) => length,
        };
        if let (Some(place), Some(packet)) = (buffer.get_mut(..length), self.inbox.get(..length)) {
            place.copy_from_slice(packet);
        }
        self.inbox.drain(..length);
        Ok(Some(length))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a full socket is waited for before it is tried again.
const FULL_MILLIS: u8 = 10;
/// Most octets that are read ahead.
const MOST: usize = 1 << 18;
