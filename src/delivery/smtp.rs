//! A mail server as a gateway (RFC 5321, RFC 3207, RFC 8314).
//!
//! The connection is ours ([`Way::connect`]), so that it goes to the address that was checked; the
//! dialogue is lettre's.
//!
//! Threats: a subject with a line end would be a header of its own: control characters become
//! spaces before it is encoded, and addresses are plain ([`crate::model::message::address`]). A
//! password is sent over TLS only, or where the configuration allows the private network.

use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use lettre::Address;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use tokio::time::timeout;

use crate::config::delivery::{SmtpGateway, SmtpTls};
use crate::delivery::answer::{Answered, Fault, scrub};
use crate::diagnostic::units::show_duration;
use crate::model::message::Message;
use crate::net::connect::Way;
use crate::secret::SecretString;
use crate::time::Clock;

pub(super) struct Route {
    way: Way,
    from: Address,
    /// How we introduce ourselves: the sender's domain.
    hello: ClientId,
    tls: SmtpTls,
    starttls: Option<TlsParameters>,
    login: Option<(String, SecretString)>,
    clock: Arc<dyn Clock>,
}

impl Route {
    /// The error says which part of the configuration is not usable.
    pub(super) fn new(
        config: &SmtpGateway,
        way: Way,
        ca: Option<&Path>,
        secret: Option<SecretString>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let from = Address::from_str(&config.from).map_err(|error| error.to_string())?;
        let starttls = match config.tls {
            SmtpTls::None => None,
            SmtpTls::Opportunistic | SmtpTls::Required => Some(starttls(way.host(), ca)?),
        };
        Ok(Self {
            hello: ClientId::Domain(from.domain().to_owned()),
            from,
            way,
            tls: config.tls,
            starttls,
            login: config.user.clone().zip(secret),
            clock,
        })
    }

    /// Hands a message over; ends within `limit`, but for a short farewell.
    pub(super) async fn send(&self, message: &Message, limit: Duration) -> Answered {
        let mail = match self.mail(message) {
            Ok(mail) => mail,
            Err(why) => return Answered::nothing(Fault::Refused(why)),
        };
        let Ok(done) = timeout(limit, self.talk(&mail)).await else {
            let time = show_duration(limit);
            let why = format!("no answer within {time}");
            return Answered::nothing(Fault::Failed(why));
        };
        let secret = self.login.as_ref().map(|(_, secret)| secret);
        match done {
            Ok((mut connection, response)) => {
                // The message is taken already; a server without manners changes nothing.
                let _ = timeout(FAREWELL, connection.quit()).await;
                let said = response.message().collect::<Vec<_>>().join(" ");
                let said = scrub(&said, message, secret);
                Answered {
                    answer: Some(format!("{} {said}", response.code())),
                    outcome: Ok(Some(said.chars().take(REFERENCE_MAX).collect())),
                }
            }
            Err(Broken::Way(why)) => Answered::nothing(Fault::Failed(why)),
            Err(Broken::Dialogue(error)) => {
                let said = scrub(&error.to_string(), message, secret);
                let answer = error.status().is_some().then(|| said.clone());
                let outcome = Err(judge(&error, said));
                Answered { outcome, answer }
            }
        }
    }

    async fn talk(
        &self,
        mail: &lettre::Message,
    ) -> Result<(AsyncSmtpConnection, Response), Broken> {
        let stream = self.way.connect().await.map_err(Broken::Way)?;
        let secure = self.way.is_secure();
        let stream = Box::new(stream);
        let mut connection =
            AsyncSmtpConnection::connect_with_transport(stream, &self.hello).await?;
        if let Some(parameters) = self.starttls.as_ref().filter(|_| !secure)
            && (self.tls == SmtpTls::Required || connection.can_starttls())
        {
            connection.starttls(parameters.clone(), &self.hello).await?;
        }
        if let Some((user, password)) = &self.login {
            let credentials = Credentials::new(user.clone(), password.expose().to_owned());
            connection.auth(&MECHANISMS, &credentials).await?;
        }
        let response = connection.send(mail.envelope(), &mail.formatted()).await?;
        Ok((connection, response))
    }

    /// The mail of a message: the same octets on every attempt within one millisecond, the same
    /// Message-ID on all of them.
    fn mail(&self, message: &Message) -> Result<lettre::Message, String> {
        let to = Address::from_str(&message.to).map_err(|_| "not a mail address".to_owned())?;
        let millis = Duration::from_millis(self.clock.now().as_millis());
        let (id, domain) = (HEXLOWER.encode(&message.id), self.from.domain());
        let mut mail = lettre::Message::builder()
            .from(Mailbox::new(None, self.from.clone()))
            .to(Mailbox::new(None, to))
            .date(UNIX_EPOCH + millis)
            .message_id(Some(format!("<{id}@{domain}>")))
            // RFC 3834 s5: no automatic replies.
            .raw_header(raw("Auto-Submitted", "auto-generated"))
            .raw_header(raw("Content-Language", message.language.as_str()))
            .header(ContentType::TEXT_PLAIN);
        if let Some(subject) = &message.subject {
            let line = subject.replace(char::is_control, " ");
            mail = mail.subject(line);
        }
        let body = message.text.expose().to_owned();
        mail.body(body).map_err(|error| error.to_string())
    }
}

enum Broken {
    Way(String),
    Dialogue(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Dialogue(error)
    }
}

fn raw(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

fn starttls(host: String, ca: Option<&Path>) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(host);
    if let Some(path) = ca {
        let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let pem = std::fs::read(path).map_err(|error| fault(&error))?;
        let authority = Certificate::from_pem(&pem).map_err(|error| fault(&error))?;
        builder = builder
            .certificate_store(CertificateStore::None)
            .add_root_certificate(authority);
    }
    builder.build_rustls().map_err(|error| error.to_string())
}

/// A server that says no to one mailbox works; one that cannot talk, or closes (RFC 5321 s3.8), does
/// not.
fn judge(error: &Error, said: String) -> Fault {
    let closing = error.status().is_some_and(|code| u16::from(code) == 421);
    if (error.is_permanent() || error.is_transient()) && !closing {
        Fault::Refused(said)
    } else {
        Fault::Failed(said)
    }
}

const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];
const FAREWELL: Duration = Duration::from_millis(200);
/// Longest answer that is kept as the name of a message.
const REFERENCE_MAX: usize = 128;
