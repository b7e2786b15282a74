//! The row of a token, and the row that makes another user's token count for a user.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::model::enrolment::{Approval, Enrolment, Link};
use crate::model::id::Serial;
use crate::model::token::{LifeCycle, Token};
use crate::model::user_key::UserKey;
use crate::otp::issued::Mark;
use crate::otp::{Algorithm, Digits, Period};
use crate::secret::{Entropy, OtpKey, SecretBytes};
use crate::store::StoreError;
use crate::store::record::{BAD_FORM, Table, address_mark, row, take};
use crate::store::seal::ring::number_of;
use crate::store::seal::{Place, Sealer};
use crate::time::UnixTime;

/// A row under a user's prefix: a version octet and a token, or [`LINK`] and whose token it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct TokenV1<'a> {
    state: u8,
    revision: u64,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    realm: Cow<'a, str>,
    #[serde(borrow)]
    serial: Cow<'a, str>,
    algorithm: u8,
    digits: u8,
    period: u16,
    created: u64,
    #[serde(borrow, with = "serde_bytes")]
    key: Cow<'a, [u8]>,
    address: Option<AddressV1>,
    device: Option<String>,
    expires: Option<u64>,
    requester: String,
    by_knowledge: bool,
    needed: u8,
    approvals: Vec<(String, Option<String>, u64)>,
    replaces: Option<String>,
    max_active: Option<u8>,
    verify: bool,
    valid_for: Option<u64>,
}

/// What version 2 of the row has after the fields of version 1.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct TokenV2 {
    first_use_within: Option<u64>,
    first_use_until: Option<u64>,
    link: Option<LinkV2>,
    policy: Option<String>,
}

/// The link by which the key is taken over.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct LinkV2 {
    mark: [u8; 16],
    until: u64,
    redeemed: Option<u64>,
}

/// Reads a row of either version.
fn form(bytes: &[u8]) -> Result<(TokenV1<'_>, TokenV2), StoreError> {
    match bytes.first() {
        Some(1) => Ok((take(1, bytes)?, TokenV2::default())),
        _ => take(VERSION, bytes),
    }
}

/// Where codes of the token are sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct AddressV1 {
    /// Number of the key of the owner's personal data.
    person: u64,
    /// Under it.
    sealed: Vec<u8>,
    /// What stands for it in the index.
    mark: [u8; 16],
}

impl TokenV1<'_> {
    fn into_owned(self) -> TokenV1<'static> {
        let text = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        TokenV1 {
            kind: text(self.kind),
            name: text(self.name),
            realm: text(self.realm),
            serial: text(self.serial),
            key: Cow::Owned(self.key.into_owned()),
            ..self
        }
    }
}

/// A token's row that is changed without opening its key: the sealed key stays as it is.
#[derive(Clone, Debug)]
pub(crate) struct Row(TokenV1<'static>, TokenV2);

impl Row {
    /// Reads a token's row.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, StoreError> {
        let (form, more) = form(bytes)?;
        Ok(Self(form.into_owned(), more))
    }

    /// Its next revision, as a row.
    pub(crate) fn changed(mut self) -> Result<Vec<u8>, StoreError> {
        self.0.revision += 1;
        row(VERSION, &(self.0, self.1))
    }

    pub(crate) const fn revision(&self) -> u64 {
        self.0.revision
    }

    pub(crate) fn state(&self) -> Result<LifeCycle, StoreError> {
        LifeCycle::from_number(self.0.state).ok_or(BAD_FORM)
    }

    /// Where it stands at `at`.
    pub(crate) fn state_at(&self, at: UnixTime) -> Result<LifeCycle, StoreError> {
        let state = self.state()?;
        let expired = self.expires().is_some_and(|end| at >= end);
        Ok(match state {
            LifeCycle::Revoked => state,
            _ if expired => LifeCycle::Expired,
            _ => state,
        })
    }

    /// The sealed key: the same octets as long as it is the same key.
    pub(crate) fn sealed_key(&self) -> &[u8] {
        &self.0.key
    }

    /// Algorithm, digits and period, for people.
    pub(crate) fn parameters(&self) -> String {
        let algorithm = match self.0.algorithm {
            1 => "sha1",
            2 => "sha256",
            3 => "sha512",
            _ => "unknown algorithm",
        };
        let (digits, period) = (self.0.digits, self.0.period);
        format!("{algorithm}, {digits} digits, {period} s")
    }

    pub(crate) const fn set_state(&mut self, state: LifeCycle) {
        self.0.state = state.number();
    }

    pub(crate) fn set_owner(&mut self, user: &UserKey) {
        self.0.name = Cow::Owned(user.name().to_owned());
        self.0.realm = Cow::Owned(user.realm().to_owned());
    }

    pub(crate) fn kind(&self) -> &str {
        &self.0.kind
    }

    /// What stands for its address in the index.
    pub(crate) fn address_mark(&self) -> Option<&[u8; 16]> {
        self.0.address.as_ref().map(|address| &address.mark)
    }

    /// The number of the key that its address is sealed under, and the address; an address whose key was
    /// destroyed, or that does not open, is a word that says so.
    pub(crate) fn address(&self, sealer: &Sealer) -> Option<(u64, String)> {
        let address = self.0.address.as_ref()?;
        let opened = match open_address(&self.0.serial, address, sealer) {
            Ok(opened) => opened.unwrap_or_else(|| "(erased)".to_owned()),
            Err(_) => "(unreadable)".to_owned(),
        };
        Some((address.person, opened))
    }

    /// The number of the key that its address is sealed under.
    pub(crate) fn person(&self) -> Option<u64> {
        self.0.address.as_ref().map(|address| address.person)
    }

    pub(crate) fn period(&self) -> Result<Period, StoreError> {
        Period::new(self.0.period).ok_or(BAD_FORM)
    }

    pub(crate) fn device(&self) -> Option<&str> {
        self.0.device.as_deref()
    }

    pub(crate) fn set_device(&mut self, device: Option<String>) {
        self.0.device = device;
    }

    pub(crate) const fn created(&self) -> UnixTime {
        UnixTime::from_millis(self.0.created)
    }

    pub(crate) fn expires(&self) -> Option<UnixTime> {
        self.0.expires.map(UnixTime::from_millis)
    }

    pub(crate) fn set_expires(&mut self, expires: Option<UnixTime>) {
        self.0.expires = expires.map(UnixTime::as_millis);
    }

    pub(crate) fn enrolment(&self) -> Result<Enrolment, StoreError> {
        enrolment(&self.0, &self.1)
    }

    pub(crate) fn set_enrolment(&mut self, enrolment: &Enrolment) {
        self.1 = set_enrolment(&mut self.0, enrolment);
    }
}

/// A token's row at this revision; the key is sealed for it, the address under the key of its owner's
/// personal data.
pub(crate) fn token_row(
    token: &Token,
    revision: u64,
    person: u64,
    sealer: &Sealer,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, StoreError> {
    let serial = token.serial.as_str();
    let address = token.address.as_deref().map(|address| {
        let place = address_place(serial);
        Ok::<_, StoreError>(AddressV1 {
            person,
            sealed: sealer.seal_personal(person, place, address.as_bytes(), entropy)?,
            mark: address_mark(address, sealer),
        })
    });
    let mut form = TokenV1 {
        state: token.state.number(),
        revision,
        kind: token.kind.as_str().into(),
        name: token.user.name().into(),
        realm: token.user.realm().into(),
        serial: serial.into(),
        algorithm: match token.algorithm {
            Algorithm::Sha1 => 1,
            Algorithm::Sha256 => 2,
            Algorithm::Sha512 => 3,
        },
        digits: token.digits.get(),
        period: token.period.as_secs(),
        created: token.created.as_millis(),
        key: sealer
            .seal(token_place(serial), token.key.expose(), entropy)?
            .into(),
        address: address.transpose()?,
        device: token.device.as_ref().map(ToString::to_string),
        expires: token.expires.map(UnixTime::as_millis),
        requester: String::new(),
        by_knowledge: false,
        needed: 0,
        approvals: Vec::new(),
        replaces: None,
        max_active: None,
        verify: false,
        valid_for: None,
    };
    let more = set_enrolment(&mut form, &token.enrolment);
    row(VERSION, &(form, more))
}

/// Reads a token's row and opens its key.
pub(crate) fn token(bytes: &[u8], sealer: &Sealer) -> Result<Token, StoreError> {
    let (form, more) = form(bytes)?;
    let key = sealer.open(token_place(&form.serial), &form.key)?;
    let enrolment = enrolment(&form, &more)?;
    let address = form.address.as_ref().map(|address| {
        let opened = open_address(&form.serial, address, sealer)?;
        opened.ok_or(StoreError::Corrupt(
            "the key of the owner's personal data was destroyed",
        ))
    });
    let address = address.transpose()?;
    let device = form.device.map(|id| id.parse());
    Ok(Token {
        serial: form.serial.parse().map_err(|_| BAD_FORM)?,
        user: UserKey::stored(&form.name, &form.realm).map_err(|_| BAD_FORM)?,
        kind: form.kind.parse().map_err(|()| BAD_FORM)?,
        state: LifeCycle::from_number(form.state).ok_or(BAD_FORM)?,
        algorithm: match form.algorithm {
            1 => Algorithm::Sha1,
            2 => Algorithm::Sha256,
            3 => Algorithm::Sha512,
            _ => return Err(BAD_FORM),
        },
        digits: Digits::new(form.digits).ok_or(BAD_FORM)?,
        period: Period::new(form.period).ok_or(BAD_FORM)?,
        key: OtpKey::new(key).ok_or(BAD_FORM)?,
        address,
        device: device.transpose().map_err(|_| BAD_FORM)?,
        expires: form.expires.map(UnixTime::from_millis),
        enrolment,
        created: UnixTime::from_millis(form.created),
        revision: form.revision,
    })
}

/// Number of the data key that seals its key; a link has none.
pub(crate) fn token_sealed_by(bytes: &[u8]) -> Result<Option<u8>, StoreError> {
    match link_target(bytes) {
        Some(_) => Ok(None),
        None => Ok(Some(number_of(&form(bytes)?.0.key))),
    }
}

/// The row with its key sealed by the newest data key; `None`: it is already.
pub(crate) fn token_resealed(
    bytes: &[u8],
    sealer: &Sealer,
    entropy: &dyn Entropy,
) -> Result<Option<Vec<u8>>, StoreError> {
    if link_target(bytes).is_some() {
        return Ok(None);
    }
    let (mut form, more) = form(bytes)?;
    let Some(key) = sealer.reseal(token_place(&form.serial), &form.key, entropy)? else {
        return Ok(None);
    };
    form.key = key.into();
    row(VERSION, &(form, more)).map(Some)
}

/// What a conditional transition compares: revision and life cycle, without opening the key.
pub(crate) fn token_condition(bytes: &[u8]) -> Result<(u64, LifeCycle), StoreError> {
    let (form, _) = form(bytes)?;
    let state = LifeCycle::from_number(form.state).ok_or(BAD_FORM)?;
    Ok((form.revision, state))
}

/// The row that makes `owner`'s token count for a second user too.
pub(crate) fn link_row(owner: &[u8], serial: &Serial) -> Vec<u8> {
    let mut row = vec![LINK];
    row.extend_from_slice(owner);
    row.push(0);
    row.extend_from_slice(serial.as_str().as_bytes());
    row
}

/// The key of the token's own row, when this row is a link.
pub(crate) fn link_target(bytes: &[u8]) -> Option<&[u8]> {
    bytes
        .split_first()
        .filter(|(first, _)| **first == LINK)
        .map(|(_, target)| target)
}

fn enrolment(form: &TokenV1<'_>, more: &TokenV2) -> Result<Enrolment, StoreError> {
    let replaces = form.replaces.as_deref().map(str::parse);
    let approvals = form.approvals.iter();
    Ok(Enrolment {
        requester: form.requester.clone(),
        by_knowledge: form.by_knowledge,
        needed: form.needed,
        approvals: approvals
            .map(|(by, on_behalf, at)| Approval {
                by: by.clone(),
                on_behalf: on_behalf.clone(),
                at: UnixTime::from_millis(*at),
            })
            .collect(),
        replaces: replaces.transpose().map_err(|_| BAD_FORM)?,
        max_active: form.max_active,
        verify: form.verify,
        valid_for: form.valid_for,
        first_use_within: more.first_use_within,
        first_use_until: more.first_use_until.map(UnixTime::from_millis),
        link: more.link.map(|link| Link {
            mark: Mark::from_bytes(link.mark),
            until: UnixTime::from_millis(link.until),
            redeemed: link.redeemed.map(UnixTime::from_millis),
        }),
        policy: more.policy.clone(),
    })
}

fn set_enrolment(form: &mut TokenV1<'_>, enrolment: &Enrolment) -> TokenV2 {
    let approvals = enrolment.approvals.iter();
    let approvals =
        approvals.map(|one| (one.by.clone(), one.on_behalf.clone(), one.at.as_millis()));
    form.requester.clone_from(&enrolment.requester);
    form.by_knowledge = enrolment.by_knowledge;
    form.needed = enrolment.needed;
    form.approvals = approvals.collect();
    form.replaces = enrolment.replaces.as_ref().map(ToString::to_string);
    form.max_active = enrolment.max_active;
    form.verify = enrolment.verify;
    form.valid_for = enrolment.valid_for;
    TokenV2 {
        first_use_within: enrolment.first_use_within,
        first_use_until: enrolment.first_use_until.map(UnixTime::as_millis),
        link: enrolment.link.map(|link| LinkV2 {
            mark: link.mark.to_bytes(),
            until: link.until.as_millis(),
            redeemed: link.redeemed.map(UnixTime::as_millis),
        }),
        policy: enrolment.policy.clone(),
    }
}

fn open_address(
    serial: &str,
    address: &AddressV1,
    sealer: &Sealer,
) -> Result<Option<String>, StoreError> {
    let place = address_place(serial);
    let opened = sealer.open_personal(address.person, place, &address.sealed)?;
    let text = |opened: SecretBytes| {
        let text = std::str::from_utf8(opened.expose());
        text.map(str::to_owned).map_err(|_| BAD_FORM)
    };
    opened.map(text).transpose()
}

fn address_place(serial: &str) -> Place<'_> {
    Place {
        field: "address",
        ..token_place(serial)
    }
}

fn token_place(serial: &str) -> Place<'_> {
    Place {
        table: Table::Tokens.as_str(),
        row: serial.as_bytes(),
        field: "key",
        version: 1,
    }
}

/// The version of a row that is written.
const VERSION: u8 = 2;
/// First octet of a link; no version of a token's form.
const LINK: u8 = 0;
