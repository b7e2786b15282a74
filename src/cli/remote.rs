//! A daemon behind a URL: TCP on loopback, TLS anywhere, a key for each request.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::{Request, Uri, header};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::cli::error::CliError;
use crate::cli::output;
use crate::net::connect::Stream;
use crate::net::tls::{TlsError, client_config};
use crate::secret::SecretString;

/// A server, and the key it knows us by.
pub(crate) struct Remote {
    /// As it was given.
    url: String,
    /// Where the key was read; none when it was handed over.
    key_file: Option<PathBuf>,
    host: String,
    port: u16,
    /// `host:port` as it was written.
    authority: HeaderValue,
    /// What stands before `/v1`, without a slash at the end.
    prefix: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    key: SecretString,
}

impl Remote {
    /// Reads `--server`, `--key-file` and `--ca-file`.
    pub(crate) fn open(url: &str, key: &Path, ca: Option<&Path>) -> Result<Self, CliError> {
        Ok(Self {
            key_file: Some(key.to_owned()),
            ..Self::new(url, read_key(key)?, ca)?
        })
    }

    /// The server at a URL.
    pub(crate) fn new(url: &str, key: SecretString, ca: Option<&Path>) -> Result<Self, CliError> {
        let bad = |why: &str| {
            CliError::usage(format!("--server {url}: {why}"))
                .remedy("write https://HOST[:PORT], or http://127.0.0.1:PORT on this machine")
        };
        let uri: Uri = url.parse().map_err(|_| bad("not a URL"))?;
        let authority = uri.authority().ok_or_else(|| bad("no host"))?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(bad(
                "only a scheme, a host, a port and a path are understood",
            ));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let (port, secure) = match uri.scheme_str() {
            Some("https") => (443, true),
            Some("http") if is_loopback(&host) => (80, false),
            Some("http") => {
                return Err(bad(
                    "the key would travel readable; http:// is for loopback only",
                ));
            }
            _ => return Err(bad("the scheme is neither https nor http")),
        };
        let tls = if secure {
            let name = ServerName::try_from(host.clone()).map_err(|_| bad("no valid host name"))?;
            Some((TlsConnector::from(Arc::new(tls_config(ca)?)), name))
        } else if ca.is_some() {
            return Err(CliError::usage("--ca-file is for https:// servers"));
        } else {
            None
        };
        Ok(Self {
            url: url.to_owned(),
            key_file: None,
            port: authority.port_u16().unwrap_or(port),
            authority: HeaderValue::from_str(authority.as_str())
                .map_err(|_| bad("no valid host"))?,
            prefix: uri.path().trim_end_matches('/').to_owned(),
            host,
            tls,
            key,
        })
    }

    /// The server does not know the key.
    pub(crate) fn bad_key(&self) -> CliError {
        let file = self
            .key_file
            .as_deref()
            .map(|file| format!(" in {}", file.display()));
        let (place, url) = (file.unwrap_or_default(), &self.url);
        CliError::unavailable(format!("the key{place} is not valid for {url}")).remedy(format!(
            "name the file of a key of that server: --key-file FILE; {MAKES_KEY}"
        ))
    }

    /// Adds host, key and path prefix to a request.
    pub(crate) fn authorize<B>(&self, call: &mut Request<B>) -> Result<(), CliError> {
        let bearer = Zeroizing::new(format!("Bearer {}", self.key.expose()));
        let mut bearer = HeaderValue::from_str(&bearer)
            .map_err(|_| CliError::usage("the key in --key-file is not one line of ASCII"))?;
        bearer.set_sensitive(true);
        if !self.prefix.is_empty() {
            let path = format!("{}{}", self.prefix, call.uri());
            *call.uri_mut() = path
                .parse()
                .map_err(|_| CliError::usage("the path of --server is not valid"))?;
        }
        let headers = call.headers_mut();
        headers.insert(header::HOST, self.authority.clone());
        headers.insert(header::AUTHORIZATION, bearer);
        Ok(())
    }

    /// Adds the host to a request that carries a signature instead of a key. A prefix is refused:
    /// what is signed is the path that arrives at the server.
    pub(crate) fn address<B>(&self, call: &mut Request<B>) -> Result<(), CliError> {
        if !self.prefix.is_empty() {
            return Err(CliError::usage(format!(
                "--server {}: a device talks to the root of a server",
                self.url
            ))
            .remedy("write https://HOST[:PORT] without a path"));
        }
        call.headers_mut()
            .insert(header::HOST, self.authority.clone());
        Ok(())
    }

    /// Connects; with TLS the server has shown its certificate when this returns.
    pub(crate) async fn connect(&self) -> Result<Box<dyn Stream>, CliError> {
        let place = self.authority.to_str().unwrap_or(&self.host);
        let unreachable = |why: String| {
            CliError::unavailable(format!("cannot reach {place}: {why}"))
                .remedy("see that the daemon runs and that --server names its HTTP address")
        };
        let attempt = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
            let stream = stream.map_err(|error| unreachable(error.to_string()))?;
            let Some((connector, name)) = &self.tls else {
                return Ok(Box::new(stream) as Box<dyn Stream>);
            };
            let stream = connector
                .connect(name.clone(), stream)
                .await
                .map_err(|error| {
                    CliError::unavailable(format!("no TLS with {place}: {error}"))
                        .remedy("if its certificate is your own, name the authority: --ca-file PEM")
                })?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        };
        timeout(CONNECT, attempt)
            .await
            .unwrap_or_else(|_| Err(unreachable(format!("no answer in {} s", CONNECT.as_secs()))))
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

fn read_key(path: &Path) -> Result<SecretString, CliError> {
    let failed = |error: std::io::Error| {
        CliError::usage(format!("--key-file {}: {error}", path.display()))
            .remedy(format!("name a file with a key: {MAKES_KEY}"))
    };
    let mode = std::fs::metadata(path)
        .map_err(failed)?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        let path = path.display();
        output::warn(&format!(
            "warning: others may read {path}; chmod 600 {path}"
        ));
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
    let key = text.trim();
    if key.is_empty() || !key.bytes().all(|octet| octet.is_ascii_graphic()) {
        let message = format!(
            "--key-file {}: not a key; it holds the key and nothing else",
            path.display()
        );
        return Err(CliError::usage(message).remedy(format!("put a key there: {MAKES_KEY}")));
    }
    Ok(SecretString::from(key))
}

fn tls_config(ca: Option<&Path>) -> Result<ClientConfig, CliError> {
    client_config(ca).map_err(|error| match error {
        TlsError::Authority { .. } => CliError::usage(format!("--ca-file {error}")),
        TlsError::NoAuthorities => CliError::unavailable(error.to_string())
            .remedy("install ca-certificates, or name the authority: --ca-file PEM"),
        TlsError::Name | TlsError::Library(_) => CliError::unavailable(error.to_string()),
    })
}

/// Where a key comes from. With a directory it is no command for the same server by the same key, which is what
/// failed.
const MAKES_KEY: &str =
    "on the machine of the server `oncegate client add api NAME --scope admin --dir DIR` makes one";
/// Time for a connection. A user waits at a terminal; a firewall that drops packets is noticed by then.
const CONNECT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::context::Context;
    use crate::cli::error::Exit;

    fn server(url: &str) -> Result<Remote, CliError> {
        Remote::new(url, SecretString::from("k"), None)
    }

    #[test]
    fn plain_http_is_for_loopback() {
        for url in [
            "http://127.0.0.1:8080",
            "http://[::1]:8080/",
            "http://localhost:1/x/",
        ] {
            assert!(server(url).is_ok(), "{url}");
        }
        for url in [
            "http://10.0.0.1:8080",
            "http://localhost.example",
            "http://127.0.0.1.example",
            "ftp://127.0.0.1",
            "http://user@127.0.0.1",
            "http://127.0.0.1/?x=1",
            "127.0.0.1:8080",
            "",
        ] {
            assert_eq!(
                server(url).err().map(|error| error.exit),
                Some(Exit::Usage),
                "{url}"
            );
        }
    }

    #[test]
    fn requests_carry_key_host_and_prefix() {
        let remote = server("http://127.0.0.1:8080/otp/").unwrap();
        let mut call = Request::builder()
            .uri("/v1/admin/users?limit=1")
            .body(())
            .unwrap();
        remote.authorize(&mut call).unwrap();
        assert_eq!(call.uri(), "/otp/v1/admin/users?limit=1");
        assert_eq!(call.headers()[header::AUTHORIZATION], "Bearer k");
        assert!(call.headers()[header::AUTHORIZATION].is_sensitive());
        assert_eq!(call.headers()[header::HOST], "127.0.0.1:8080");
    }

    /// The command that makes a key is not one that needs the key.
    #[test]
    fn a_bad_key_is_not_mended_with_itself() {
        let context = Context {
            dir: PathBuf::from("./oncegate-data"),
            config: None,
            server: Some("http://127.0.0.1:1".to_owned()),
            key_file: Some(PathBuf::from("kw")),
            ca_file: None,
            out: output::Output::default(),
        };
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty");
        std::fs::write(&empty, "").unwrap();
        let known = server("http://127.0.0.1:1").unwrap();
        for error in [
            known.bad_key(),
            read_key(&dir.path().join("missing")).unwrap_err(),
            read_key(&empty).unwrap_err(),
        ] {
            let advised = error.advised(|remedy| context.advice(remedy));
            let (_, remedy) = advised.words();
            let remedy = remedy.expect("what to do");
            assert!(
                remedy.contains("client add api NAME --scope admin --dir DIR"),
                "{remedy}"
            );
            assert!(!remedy.contains("--key-file kw"), "{remedy}");
        }
    }

    #[test]
    fn keys_are_one_word() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for (text, good) in [
            ("og_abc\n", true),
            ("", false),
            ("two words", false),
            ("a\u{e9}", false),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_key(&path).is_ok(), good, "{text:?}");
        }
    }
}
