//! Stores and records to fill them with.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use oncegate::model::attempt::{
    Attempt, Compared, Comparison, DriftRule, Evidence, Stale, Success, Verdict,
};
use oncegate::model::audit::{Channel, Purpose};
use oncegate::model::id::{RequestId, Serial};
use oncegate::model::kind::Kind;
use oncegate::model::sealing::SealAlgorithm;
use oncegate::model::token::{LifeCycle, Token, TokenState};
use oncegate::model::user::User;
use oncegate::model::user_key::UserKey;
use oncegate::otp::throttle::Lockout;
use oncegate::otp::{Algorithm, Digits, Matches, Period};
use oncegate::secret::{Key256, SystemEntropy};
use oncegate::store::medium::Medium;
use oncegate::store::{By, Change, Parts, Store, StoreError};
use oncegate::time::{FixedClock, UnixTime};

/// The time at which the tests play.
pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);

/// Opens a store on `medium` with small segments and no timed checkpoint.
pub(crate) fn open(medium: Arc<dyn Medium>) -> Result<Store, StoreError> {
    open_sealed(medium, SealAlgorithm::default())
}

/// Opens such a store, which seals by this algorithm from now on.
pub(crate) fn open_sealed(
    medium: Arc<dyn Medium>,
    algorithm: SealAlgorithm,
) -> Result<Store, StoreError> {
    open_as(medium, [7; 32], algorithm, 16 << 10)
}

/// Opens a store with this master key and segment size.
pub(crate) fn open_with(
    medium: Arc<dyn Medium>,
    master: [u8; 32],
    segment_size: u64,
) -> Result<Store, StoreError> {
    open_as(medium, master, SealAlgorithm::default(), segment_size)
}

fn open_as(
    medium: Arc<dyn Medium>,
    master: [u8; 32],
    algorithm: SealAlgorithm,
    segment_size: u64,
) -> Result<Store, StoreError> {
    Store::open(Parts {
        medium,
        master: Key256::new(master),
        algorithm,
        clock: Arc::new(FixedClock::at(NOW)),
        entropy: Arc::new(SystemEntropy),
        segment_size,
        checkpoint: Duration::from_millis(5),
    })
}

/// A user with this name.
pub(crate) fn user(name: &str) -> User {
    User {
        key: key(name),
        aliases: Vec::new(),
        groups: Vec::new(),
        display_name: None,
        phone: None,
        email: None,
        birth_date: None,
        class: None,
        disabled: false,
        bypass: None,
        exemption: None,
        remote_issue: false,
        former: Vec::new(),
        acts: Vec::new(),
        directory: None,
        language: oncegate::model::message::Language::default(),
        created: NOW,
        modified: NOW,
        revision: 1,
    }
}

/// The key of a user with this name.
pub(crate) fn key(name: &str) -> UserKey {
    UserKey::parse(name).unwrap()
}

/// An active HOTP token of this user.
pub(crate) fn token(name: &str, serial: &str) -> Token {
    Token {
        address: None,
        device: None,
        expires: None,
        enrolment: oncegate::model::enrolment::Enrolment::default(),
        serial: serial.parse().unwrap(),
        user: key(name),
        kind: Kind::Hotp,
        state: LifeCycle::Active,
        algorithm: Algorithm::Sha1,
        digits: Digits::SIX,
        period: Period::THIRTY,
        key: crate::support::codes::key_of(name),
        created: NOW,
        revision: 1,
    }
}

/// An administrator.
pub(crate) fn by() -> By {
    By {
        request: request(0),
        actor: "test".to_owned(),
        person: None,
        at: NOW,
        limited: false,
    }
}

/// Request id number `n`.
pub(crate) fn request(n: u64) -> RequestId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    RequestId::new(NOW, random)
}

/// Removes audit records that are older, as far as whole segments are.
pub(crate) async fn prune(store: &Store, before: UnixTime) -> Result<(), StoreError> {
    let prunable = store.prunable(before).await?;
    let prunable = prunable.ok_or(StoreError::NotFound)?;
    store.change(Change::PruneAudit(prunable), by()).await
}

/// Makes a user with one active token.
pub(crate) async fn enrol(store: &Store, name: &str, serial: &str) -> Result<(), StoreError> {
    store
        .change(Change::CreateUser(user(name), None), by())
        .await?;
    store
        .change(
            Change::CreateToken(token(name, serial), TokenState::default()),
            by(),
        )
        .await
}

/// An attempt on one token whose code matched `steps`, at `at`, by the newest view.
pub(crate) async fn attempt(
    store: &Store,
    name: &str,
    serial: &str,
    steps: &[u64],
    at: UnixTime,
) -> Result<Verdict, StoreError> {
    let view = store.view(&key(name))?.expect("the user exists");
    let wanted: Serial = serial.parse().unwrap();
    let (token, state) = view
        .tokens
        .iter()
        .find(|(token, _)| token.serial == wanted)
        .expect("the token exists");
    let mut matches = Matches::default();
    steps.iter().for_each(|step| matches.insert(*step));
    let comparison = Comparison {
        serial: wanted,
        issued: None,
        kind: token.kind,
        revision: token.revision,
        seen: state.moving,
        matches,
        drift: DriftRule::None,
        first: false,
    };
    let evidence = Evidence::Compared(Compared {
        user: key(name),
        generation: view.generation,
        revision: view.user.revision,
        credentials: None,
        knowledge: Vec::new(),
        tokens: Some(vec![comparison]),
        success: Success::Accept,
        answers: None,
    });
    match store.attempt(attempt_of(name, evidence, at)).await? {
        Ok(verdict) => Ok(*verdict),
        Err(Stale) => Err(StoreError::Conflict("stale")),
    }
}

/// An attempt with this evidence.
pub(crate) fn attempt_of(name: &str, evidence: Evidence, at: UnixTime) -> Attempt {
    Attempt {
        request: request(1),
        at,
        deadline: at.plus(Duration::from_secs(3)),
        purpose: Purpose::Login,
        user: key(name).to_string(),
        client: "test".into(),
        channel: Channel::Http,
        method: "http".into(),
        origin: None,
        began_at: None,
        alias: None,
        proven: Vec::new(),
        note: oncegate::model::attempt::Note::default(),
        waived: None,
        enrols: None,
        source: Some(IpAddr::from([192, 0, 2, 1])),
        rule: Some("default:everyone".into()),
        lockout: Lockout::default(),
        evidence,
    }
}
