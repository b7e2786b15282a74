//! A lab whose users are told what happens to them, through a gateway double.

use std::sync::Arc;
use std::time::Duration;

use oncegate::delivery::{Deliveries, Parts};
use oncegate::model::attempt::{Attempt, Compared, Comparison, DriftRule, Evidence, Success};
use oncegate::model::audit::{AuditRecord, ChangeEvent, Channel, Event, Purpose};
use oncegate::model::device::{Device, DeviceId};
use oncegate::model::enrolment::{Enrolment, RevokeReason};
use oncegate::model::id::Serial;
use oncegate::model::issue::{Issue, Way};
use oncegate::model::kind::Kind;
use oncegate::model::message::Language;
use oncegate::model::token::{LifeCycle, Token, TokenState};
use oncegate::notice::notice;
use oncegate::notify;
use oncegate::otp::issued::Mark;
use oncegate::otp::throttle::Lockout;
use oncegate::otp::{Algorithm, Digits, Matches, Period};
use oncegate::secret::{OtpKey, SecretBytes};
use oncegate::store::Change;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::gateway::{GatewayDouble, Names, config};
use crate::support::lab::{Lab, key};

/// Users are told all, by text message where possible.
pub(crate) const ALL: &str = r#"
reject_delay = "0s"
[[rule]]
name = "staff"
require = ["otp"]
alternatives = ["recovery"]
[lockout]
free = 3
lock_after = 3
[notify]
events = ["enrolment", "lock", "factor_change", "recovery"]
"#;

/// They are told nothing.
pub(crate) const NOTHING: &str = r#"
reject_delay = "0s"
[[rule]]
name = "staff"
require = ["otp"]
[lockout]
free = 3
lock_after = 3
"#;

pub(crate) const PHONE: &str = "+821012345678";

/// The lab, its gateway and the task that tells.
pub(crate) struct Desk {
    pub(crate) lab: Lab,
    pub(crate) double: GatewayDouble,
    running: Option<(JoinHandle<()>, CancellationToken)>,
}

impl Desk {
    /// With these policies; nobody tells yet.
    pub(crate) async fn new(policies: &[(&str, &str)]) -> Self {
        let desk = Self {
            lab: Lab::new(policies).await,
            double: GatewayDouble::start(),
            running: None,
        };
        desk.connect();
        desk
    }

    /// With one policy that tells all, and alice, who has a token of text messages.
    pub(crate) async fn telling() -> Self {
        let mut desk = Self::new(&[("default", ALL)]).await;
        desk.lab.user("alice", None, None).await;
        desk.token("alice", "SMS-1", Kind::Sms, LifeCycle::Active, PHONE)
            .await;
        desk.begin().await;
        desk
    }

    fn connect(&self) {
        let once = "attempts = 1\nbreaker_failures = 1000";
        let mail = self
            .double
            .table("mail", once)
            .replace("\"sms\"", "\"email\"");
        let text = self.double.table("sms", once) + &mail;
        let parts = Parts {
            clock: Arc::new(self.lab.clock.clone()),
            resolver: Arc::new(Names::default()),
        };
        let deliveries = Deliveries::open(&config(&text).delivery, &parts);
        let deliveries = deliveries.expect("gateways");
        self.lab.service().core.set_courier(Arc::new(deliveries));
    }

    /// Starts to tell, and waits until it is certain what is told.
    pub(crate) async fn begin(&mut self) {
        let mut records = self.lab.service().core.store().subscribe();
        let first = self.lab.service().core.store().notified().unwrap() == 0;
        let shutdown = CancellationToken::new();
        let service = self.lab.service();
        let (core, gauges) = (Arc::clone(&service.core), Arc::clone(&service.notices));
        let task = notify::run(core, gauges, shutdown.clone());
        self.running = Some((tokio::spawn(task), shutdown));
        while first && !is(records.recv().await.unwrap(), "notified") {}
    }

    /// Ends the task as the daemon does.
    pub(crate) async fn end(&mut self) {
        let (task, shutdown) = self.running.take().expect("it runs");
        shutdown.cancel();
        timeout(PATIENCE, task).await.expect("an end").unwrap();
    }

    /// Ends the task as a crash does.
    pub(crate) async fn kill(&mut self) {
        let (task, _) = self.running.take().expect("it runs");
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }

    /// Another daemon on the same store.
    pub(crate) async fn restart(&mut self) {
        self.lab.restart().await;
        self.connect();
    }

    pub(crate) async fn change(&self, change: Change) {
        let store = self.lab.service().core.store();
        store.change(change, self.lab.by()).await.expect("a change");
    }

    /// A record that tells nothing, but wakes whoever listens.
    pub(crate) async fn nudge(&self) {
        self.change(nothing()).await;
    }

    pub(crate) async fn token(
        &self,
        user: &str,
        serial: &str,
        kind: Kind,
        state: LifeCycle,
        address: &str,
    ) {
        let token = Token {
            serial: serial.parse().expect("a serial"),
            user: key(user),
            kind,
            state,
            algorithm: Algorithm::Sha1,
            digits: Digits::SIX,
            period: Period::THIRTY,
            key: key_of(serial),
            address: (!address.is_empty()).then(|| address.to_owned()),
            device: None,
            expires: None,
            enrolment: Enrolment::default(),
            created: self.lab.by().at,
            revision: 1,
        };
        self.change(Change::CreateToken(token, TokenState::default()))
            .await;
    }

    pub(crate) async fn set_state(&self, serial: &str, state: LifeCycle) {
        let (serial, by) = (serial.parse().expect("a serial"), self.lab.by());
        let admin = &self.lab.service().admin;
        let set = match state {
            LifeCycle::Suspended => admin.suspend_token(&serial, None, by).await,
            LifeCycle::Active => admin.resume_token(&serial, None, by).await,
            _ => {
                let why = RevokeReason::Other;
                admin.revoke_token(&serial, why, None, by).await
            }
        };
        set.expect("a change");
    }

    pub(crate) fn state_of(&self, serial: &str) -> LifeCycle {
        let serial: Serial = serial.parse().expect("a serial");
        let (token, _) = self.lab.service().admin.token(&serial).expect("a token");
        token.state
    }

    /// Changes the user's record.
    pub(crate) async fn describe(&self, name: &str, about: About<'_>) {
        let mut user = self.lab.service().admin.user(&key(name)).expect("a user");
        user.phone = about.phone.map(str::to_owned);
        user.email = about.email.map(str::to_owned);
        user.language = about.language;
        self.change(Change::UpdateUser(user)).await;
    }

    /// A wrong code of a user at the client of a policy.
    pub(crate) async fn fail(&self, policy: &str, user: &str) {
        let body = serde_json::json!({ "user": user, "otp": "000000" });
        assert_eq!(self.lab.http(policy, body).await.decision, "reject");
    }

    /// Binds a device to a pending token by a right code.
    pub(crate) async fn bind(&self, user: &str, serial: &str) -> DeviceId {
        let store = self.lab.service().core.store();
        let serial: Serial = serial.parse().expect("a serial");
        let by = self.lab.by();
        let (token, state) = store.token(&serial).unwrap().expect("a token");
        let issue = Issue {
            request: by.request,
            at: by.at,
            actor: by.actor,
            user: token.user.clone(),
            serial: serial.clone(),
            revision: token.revision,
            number: 1,
            way: Way::Enrol,
            mark: Mark::of(&token.key, Way::Enrol.as_str(), None, "7F3K9Q2M44XZ"),
            client: None,
            pair: None,
            life: Some(Duration::from_mins(10)),
            message: None,
            device: None,
            detail: "enrol".to_owned(),
        };
        store.issue(issue).await.unwrap().expect("a code");
        let view = store.view(&key(user)).unwrap().expect("a user");
        let mut matches = Matches::default();
        matches.insert(1);
        let device = Device {
            id: DeviceId::new([7; 5]),
            user: key(user),
            name: "phone".to_owned(),
            algorithm: "ed25519".to_owned(),
            public_key: vec![7; 32],
            revoked: false,
            created: by.at,
            revision: 1,
        };
        let id = device.id.clone();
        let attempt = Attempt {
            request: self.lab.by().request,
            at: by.at,
            deadline: by.at.plus(PATIENCE),
            purpose: Purpose::Enrol,
            user: key(user).to_string(),
            client: id.as_str().into(),
            channel: Channel::Device,
            method: "device".into(),
            source: None,
            rule: None,
            origin: None,
            began_at: None,
            alias: None,
            proven: Vec::new(),
            note: oncegate::model::attempt::Note::default(),
            waived: None,
            lockout: Lockout::default(),
            evidence: Evidence::Compared(Compared {
                user: key(user),
                generation: view.generation,
                revision: view.user.revision,
                credentials: None,
                knowledge: Vec::new(),
                tokens: Some(vec![Comparison {
                    serial,
                    kind: token.kind,
                    revision: token.revision,
                    seen: state.moving,
                    issued: Some(1),
                    matches,
                    drift: DriftRule::None,
                    first: false,
                }]),
                success: Success::Accept,
                answers: None,
            }),
            enrols: Some(Box::new(device)),
        };
        let Ok(settled) = store.attempt(attempt).await.unwrap() else {
            panic!("a decision");
        };
        assert_eq!(settled.reason.as_str(), "enrol_ok");
        id
    }

    /// The texts that came, with the numbers and addresses they came to.
    pub(crate) fn told(&self) -> Vec<(String, String)> {
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let received = self.double.received();
        let bodies = received.iter().map(super::gateway::Received::json);
        let told = bodies.map(|body| (text(&body["to"]), text(&body["text"])));
        told.collect()
    }

    /// Waits until everything is done up to the last record that is to be told, and returns the texts
    /// that came.
    pub(crate) async fn settled(&self) -> Vec<(String, String)> {
        let (trail, policies) = (self.trail().await, self.lab.service().core.policies());
        let told = |record: &&AuditRecord| {
            notice(record).is_some_and(|notice| notice.is_wanted(&policies))
        };
        let last = trail.iter().rev().find(told).map(|record| record.seq);
        let last = last.expect("something to be told");
        self.passed(last).await;
        self.told()
    }

    /// Waits until the cursor is there.
    pub(crate) async fn passed(&self, seq: u64) {
        let store = self.lab.service().core.store();
        let mut records = store.subscribe();
        let passed = async {
            while store.notified().unwrap() < seq {
                // Whoever lags behind a flood looks again.
                let _ = records.recv().await;
            }
        };
        timeout(PATIENCE, passed).await.expect("everything told");
    }

    /// Waits until so many attempts have failed.
    pub(crate) async fn retried(&self, count: u64) {
        let failed = async {
            while self.lab.service().notices.retried() < count {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, failed).await.expect("failed attempts");
    }

    /// Everything on record.
    pub(crate) async fn trail(&self) -> Vec<AuditRecord> {
        let store = self.lab.service().core.store();
        store.audit_after(0, 100_000).await.expect("the audit")
    }

    /// The changes with this action.
    pub(crate) async fn changes(&self, action: &str) -> Vec<ChangeEvent> {
        let trail = self.trail().await.into_iter();
        let changes = trail.filter_map(|record| match record.event {
            Event::Change(event) if event.action == action => Some(event),
            _ => None,
        });
        changes.collect()
    }

    /// Waits for the record of an action that is written after this call.
    pub(crate) async fn await_change(&self, action: &str, during: impl Future<Output = ()>) {
        let mut records = self.lab.service().core.store().subscribe();
        during.await;
        let wait = async { while !is(records.recv().await.unwrap(), action) {} };
        timeout(PATIENCE, wait).await.expect("a record");
    }
}

/// What is on a user's record.
#[derive(Clone, Copy, Default)]
pub(crate) struct About<'a> {
    pub(crate) phone: Option<&'a str>,
    pub(crate) email: Option<&'a str>,
    pub(crate) language: Language,
}

/// A change of nothing, told to nobody.
pub(crate) const fn nothing() -> Change {
    Change::Note {
        action: "nudge",
        target: String::new(),
        user: None,
        detail: String::new(),
    }
}

/// The key of a token.
pub(crate) fn key_of(serial: &str) -> OtpKey {
    let octets = serial.bytes().cycle().take(20).collect();
    OtpKey::new(SecretBytes::new(octets)).expect("20 octets")
}

fn is(record: &AuditRecord, action: &str) -> bool {
    matches!(&record.event, Event::Change(event) if event.action == action)
}

/// Longer than any honest wait on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);
