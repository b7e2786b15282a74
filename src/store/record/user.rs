//! The stored form of a user.

use serde::{Deserialize, Serialize};

use crate::model::user::{DirectoryId, FormerContact, OperatorAct, Touched, User, Waiver};
use crate::model::user_key::UserKey;
use crate::secret::Entropy;
use crate::store::StoreError;
use crate::store::record::various::WaiverV1;
use crate::store::record::{BAD_FORM, Table, alias_key, row, take, user_key};
use crate::store::seal::{Place, Sealer};
use crate::time::UnixTime;

#[derive(Serialize, Deserialize)]
struct UserV1<'a> {
    name: &'a str,
    realm: &'a str,
    groups: Vec<String>,
    class: Option<String>,
    disabled: bool,
    bypass: Option<WaiverV1>,
    exemption: Option<WaiverV1>,
    remote_issue: bool,
    language: &'a str,
    acts: Vec<(String, String, u64)>,
    created: u64,
    revision: u64,
    /// Number of the key of the personal data.
    person: u64,
    /// A sealed [`PersonalV1`], if any of it is known.
    #[serde(borrow)]
    personal: Option<&'a [u8]>,
}

/// The first form, and what was added to it.
#[derive(Serialize, Deserialize)]
struct UserV2<'a> {
    #[serde(borrow)]
    first: UserV1<'a>,
    /// Source, identity there, and whether the user is disabled by it.
    directory: Option<(&'a str, &'a str, bool)>,
}

/// The second form, and what was added to it.
#[derive(Serialize, Deserialize)]
struct UserV3<'a> {
    #[serde(borrow)]
    second: UserV2<'a>,
    /// Row keys of the aliases: a user can be removed whose personal data cannot be read.
    aliases: Vec<Vec<u8>>,
}

/// The third form, and what was added to it.
#[derive(Serialize, Deserialize)]
struct UserV4<'a> {
    #[serde(borrow)]
    third: UserV3<'a>,
    /// What the source calls the identity.
    external: Option<&'a str>,
}

/// The fourth form, and what was added to it.
#[derive(Serialize, Deserialize)]
struct UserV5<'a> {
    #[serde(borrow)]
    fourth: UserV4<'a>,
    modified: u64,
}

/// Reads a row of any form.
fn form(bytes: &[u8]) -> Result<UserV5<'_>, StoreError> {
    let no_aliases = |second| UserV3 {
        second,
        aliases: Vec::new(),
    };
    let third = match bytes.first() {
        Some(1) => no_aliases(UserV2 {
            first: take(1, bytes)?,
            directory: None,
        }),
        Some(2) => no_aliases(take(2, bytes)?),
        Some(3) => take(3, bytes)?,
        Some(4) => return Ok(unmodified(take(4, bytes)?)),
        _ => return take(5, bytes),
    };
    Ok(unmodified(UserV4 {
        third,
        external: None,
    }))
}

/// As if it were never changed.
fn unmodified(fourth: UserV4<'_>) -> UserV5<'_> {
    let modified = fourth.third.second.first.created;
    UserV5 { fourth, modified }
}

/// Version 2: names in other systems are personal data.
#[derive(Default, Serialize, Deserialize)]
struct PersonalV2 {
    personal: PersonalV1,
    /// Name and realm of each alias.
    aliases: Vec<(String, String)>,
}

/// Reads personal data of either version.
fn personal(bytes: &[u8]) -> Result<PersonalV2, StoreError> {
    match bytes.first() {
        Some(1) => Ok(PersonalV2 {
            personal: take(1, bytes)?,
            aliases: Vec::new(),
        }),
        _ => take(2, bytes),
    }
}

#[derive(Default, Serialize, Deserialize)]
struct PersonalV1 {
    display_name: Option<String>,
    phone: Option<String>,
    email: Option<String>,
    birth_date: Option<String>,
    former: Vec<(String, String, u64)>,
}

/// A user's row at this revision, changed at this time; personal data are sealed under the key of this number.
pub(crate) fn user_row(
    user: &User,
    (revision, modified): (u64, UnixTime),
    person: u64,
    sealer: &Sealer,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, StoreError> {
    let personal = PersonalV1 {
        display_name: user.display_name.clone(),
        phone: user.phone.clone(),
        email: user.email.clone(),
        birth_date: user.birth_date.clone(),
        former: user.former.iter().map(left_contact).collect(),
    };
    let known = [
        &personal.display_name,
        &personal.phone,
        &personal.email,
        &personal.birth_date,
    ];
    let none = known.into_iter().all(Option::is_none) && personal.former.is_empty();
    let sealed = if none && user.aliases.is_empty() {
        None
    } else {
        let halves = |alias: &UserKey| (alias.name().to_owned(), alias.realm().to_owned());
        let aliases = user.aliases.iter().map(halves).collect();
        let plain = zeroize::Zeroizing::new(row(2, &PersonalV2 { personal, aliases })?);
        let key = user_key(&user.key);
        Some(sealer.seal_personal(person, personal_place(&key), &plain, entropy)?)
    };
    let marks = user.aliases.iter();
    let marks = marks.map(|alias| alias_key(alias, sealer));
    let first = UserV1 {
        name: user.key.name(),
        realm: user.key.realm(),
        groups: user.groups.clone(),
        class: user.class.clone(),
        disabled: user.disabled,
        bypass: user.bypass.as_ref().map(WaiverV1::from),
        exemption: user.exemption.as_ref().map(WaiverV1::from),
        remote_issue: user.remote_issue,
        language: user.language.as_str(),
        acts: user.acts.iter().map(act).collect(),
        created: user.created.as_millis(),
        revision,
        person,
        personal: sealed.as_deref(),
    };
    let directory = user.directory.as_ref();
    let directory = directory.map(|one| (one.source.as_str(), one.id.as_str(), one.disabled));
    let third = UserV3 {
        second: UserV2 { first, directory },
        aliases: marks.collect(),
    };
    let external = user.directory.as_ref();
    let external = external.and_then(|one| one.external.as_deref());
    let fourth = UserV4 { third, external };
    let modified = modified.as_millis();
    row(5, &UserV5 { fourth, modified })
}

/// Reads a user's row and opens the personal data.
pub(crate) fn user(bytes: &[u8], sealer: &Sealer) -> Result<User, StoreError> {
    let UserV5 { fourth, modified } = form(bytes)?;
    let UserV4 { third, external } = fourth;
    let UserV2 {
        first: form,
        directory,
    } = third.second;
    let key = UserKey::with_realm(form.name, form.realm).map_err(|_| BAD_FORM)?;
    let PersonalV2 { personal, aliases } = match form.personal {
        None => PersonalV2::default(),
        Some(sealed) => {
            let row = user_key(&key);
            let opened = sealer.open_personal(form.person, personal_place(&row), sealed)?;
            let opened = opened.ok_or(StoreError::Corrupt(
                "the key of the user's personal data was destroyed",
            ))?;
            personal(opened.expose())?
        }
    };
    let alias = |(name, realm): &(String, String)| UserKey::with_realm(name, realm);
    let aliases: Result<_, _> = aliases.iter().map(alias).collect();
    Ok(User {
        key,
        aliases: aliases.map_err(|_| BAD_FORM)?,
        groups: form.groups,
        display_name: personal.display_name,
        phone: personal.phone,
        email: personal.email,
        birth_date: personal.birth_date,
        class: form.class,
        disabled: form.disabled,
        bypass: form.bypass.map(Waiver::from),
        exemption: form.exemption.map(Waiver::from),
        remote_issue: form.remote_issue,
        language: form.language.parse().map_err(|()| BAD_FORM)?,
        former: personal
            .former
            .into_iter()
            .map(read_left_contact)
            .collect::<Result<_, _>>()?,
        acts: form
            .acts
            .into_iter()
            .map(read_act)
            .collect::<Result<_, _>>()?,
        directory: directory.map(|(source, id, disabled)| DirectoryId {
            source: source.to_owned(),
            id: id.to_owned(),
            external: external.map(str::to_owned),
            disabled,
        }),
        created: UnixTime::from_millis(form.created),
        modified: UnixTime::from_millis(modified),
        revision: form.revision,
    })
}

/// The number of the key of a user's personal data, and whether anything is sealed under it.
pub(crate) fn user_personal(bytes: &[u8]) -> Result<(u64, bool), StoreError> {
    let form = form(bytes)?.fourth.third.second.first;
    Ok((form.person, form.personal.is_some()))
}

/// The number of the key of a user's personal data.
pub(crate) fn user_person(bytes: &[u8]) -> Result<u64, StoreError> {
    Ok(form(bytes)?.fourth.third.second.first.person)
}

/// The row keys of a user's aliases.
pub(crate) fn user_aliases(bytes: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
    Ok(form(bytes)?.fourth.third.aliases)
}

fn personal_place(row: &[u8]) -> Place<'_> {
    Place {
        table: Table::Users.as_str(),
        row,
        field: "personal",
        version: 1,
    }
}

fn left_contact(one: &FormerContact) -> (String, String, u64) {
    let medium = one.medium.as_str().to_owned();
    (medium, one.address.clone(), one.until.as_millis())
}

fn read_left_contact(
    (medium, address, until): (String, String, u64),
) -> Result<FormerContact, StoreError> {
    Ok(FormerContact {
        medium: medium.parse().map_err(|()| BAD_FORM)?,
        address,
        until: UnixTime::from_millis(until),
    })
}

fn act(one: &OperatorAct) -> (String, String, u64) {
    let touched = one.touched.as_str().to_owned();
    (touched, one.actor.clone(), one.at.as_millis())
}

fn read_act((touched, actor, at): (String, String, u64)) -> Result<OperatorAct, StoreError> {
    let mut all = Touched::ALL.into_iter();
    Ok(OperatorAct {
        touched: all.find(|one| one.as_str() == touched).ok_or(BAD_FORM)?,
        actor,
        at: UnixTime::from_millis(at),
    })
}

/// What an attempt's conditions compare: revision, and whether the user may come in at all.
pub(crate) fn user_condition(bytes: &[u8]) -> Result<(u64, bool), StoreError> {
    let form = form(bytes)?.fourth.third.second.first;
    Ok((form.revision, form.disabled))
}
