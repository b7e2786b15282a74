//! A courier that keeps what it is given, and tokens whose codes it carries.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use oncegate::core::courier::{
    Courier, Delivered, Delivering, DeliveryError, GatewayStatus, Undeliverable,
};
use oncegate::model::enrolment::Enrolment;
use oncegate::model::id::Serial;
use oncegate::model::issue::{Issue, Way, next_number};
use oncegate::model::kind::Kind;
use oncegate::model::message::{Medium, Message};
use oncegate::model::token::{LifeCycle, Token, TokenState};
use oncegate::otp::issued::{Mark, client_mark};
use oncegate::otp::recovery::Used;
use oncegate::otp::{Algorithm, Digits, Period};
use oncegate::secret::{OtpKey, SecretBytes};
use oncegate::store::Change;
use tokio::sync::Notify;

use crate::support::lab::{Lab, key};

/// Keeps every message.
#[derive(Default)]
pub(crate) struct Postbox {
    messages: Mutex<Vec<Message>>,
    arrived: Notify,
}

impl Courier for Postbox {
    fn check(&self, _: Medium, _: &str) -> Result<(), Undeliverable> {
        Ok(())
    }

    fn deliver(&self, message: Message) -> Delivering<'_, Result<Delivered, DeliveryError>> {
        self.messages.lock().unwrap().push(message);
        self.arrived.notify_waiters();
        let gateway = "postbox".to_owned();
        Box::pin(async move {
            Ok(Delivered {
                gateway,
                reference: None,
            })
        })
    }

    fn gateways(&self) -> Vec<GatewayStatus> {
        Vec::new()
    }
}

impl Postbox {
    /// The courier of a lab from now on, until it is restarted.
    pub(crate) fn of(lab: &Lab) -> Arc<Self> {
        let postbox = Arc::new(Self::default());
        postbox.serve(lab);
        postbox
    }

    pub(crate) fn serve(self: &Arc<Self>, lab: &Lab) {
        lab.service()
            .core
            .set_courier(Arc::clone(self) as Arc<dyn Courier>);
    }

    /// Waits until so many messages have come; all of them.
    pub(crate) async fn after(&self, count: usize) -> Vec<Message> {
        loop {
            let arrived = self.arrived.notified();
            let messages = self.messages.lock().unwrap().clone();
            if messages.len() >= count {
                return messages;
            }
            arrived.await;
        }
    }

    /// How many have come so far.
    pub(crate) fn count(&self) -> usize {
        self.messages.lock().unwrap().len()
    }

    /// The code in message `number`, counted from 1.
    pub(crate) async fn code(&self, number: usize) -> String {
        let messages = self.after(number).await;
        let code = messages[number - 1].code.as_ref().expect("a code");
        code.expose().to_owned()
    }
}

/// The key of every token made here.
pub(crate) fn octets(serial: &str) -> OtpKey {
    let seed = serial.bytes().cycle().take(20).collect();
    OtpKey::new(SecretBytes::new(seed)).expect("20 octets")
}

/// An active token of a kind whose codes the server makes.
pub(crate) async fn issued_token(lab: &Lab, user: &str, kind: Kind, serial: &str, address: &str) {
    let token = Token {
        serial: serial.parse().expect("a serial"),
        user: key(user),
        kind,
        state: LifeCycle::Active,
        algorithm: Algorithm::Sha1,
        digits: Digits::SIX,
        period: Period::THIRTY,
        key: octets(serial),
        address: Some(address.to_owned()).filter(|address| !address.is_empty()),
        device: None,
        expires: None,
        enrolment: Enrolment::default(),
        created: lab.service().core.now(),
        revision: 1,
    };
    let mut state = TokenState::default();
    if kind == Kind::Recovery {
        // Ten were printed.
        state.used = (10..32).fold(Used::default(), Used::with);
    }
    let change = Change::CreateToken(token, state);
    let made = lab.service().core.store().change(change, lab.by()).await;
    made.expect("a token");
}

/// A code of a `server` token, as its device would get it.
pub(crate) async fn server_code(lab: &Lab, serial: &str, client: Option<&str>) -> String {
    let store = lab.service().core.store();
    let serial: Serial = serial.parse().expect("a serial");
    let (token, state) = store.token(&serial).expect("readable").expect("a token");
    let by = lab.by();
    let number = next_number(&state);
    let text = format!("{:06}", (number * 7919 + 104_729) % 1_000_000);
    let issue = Issue {
        request: by.request,
        at: by.at,
        actor: by.actor,
        user: token.user.clone(),
        serial,
        revision: token.revision,
        number,
        way: Way::Code,
        mark: Mark::of(&token.key, Way::Code.as_str(), client, &text),
        client: client.map(|client| client_mark(&token.key, client)),
        pair: None,
        life: Some(Duration::from_mins(1)),
        message: None,
        device: None,
        detail: String::new(),
    };
    store.issue(issue).await.expect("decided").expect("issued");
    text
}
