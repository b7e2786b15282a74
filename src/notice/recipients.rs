//! To which addresses a notice may go.
//!
//! Threat: an attacker who enrols a token in a user's name gives a number of their own, and must not be
//! the only one who is notified; nor when the number on record was changed. What is about contacts,
//! passwords and tokens therefore goes everywhere the user was reached within the last 30 days. An
//! address that was never proven, because the notice is about its token, comes into question only
//! when no other can be reached at all.

use crate::model::message::Medium;
use crate::model::token::{LifeCycle, Token};
use crate::model::user::User;
use crate::notice::{Notice, Topic};
use crate::policy::Medium as Wish;
use crate::time::UnixTime;

/// An address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recipient {
    /// How a message gets there.
    pub medium: Medium,
    /// The address as it is on record.
    pub address: String,
    /// Whether an answer from there freezes the token that the notice is about.
    pub freezes: bool,
}

/// Where a notice may go, the best place first: the addresses of the user's tokens in use, the one
/// that is known longest first, then those of the user's record, then the former ones; each in the
/// order of `media`. `reachable` says whether a message could be sent to an address.
pub fn recipients(
    notice: &Notice,
    user: &User,
    tokens: &[&Token],
    media: &[Wish],
    reachable: &dyn Fn(Medium, &str) -> bool,
    at: UnixTime,
) -> Vec<Recipient> {
    let everywhere = notice.topic.goes_everywhere();
    let about = |token: &Token| notice.target.as_deref() == Some(token.serial.as_str());
    let in_use = |token: &Token| token.state_at(at) == LifeCycle::Active;
    let own = own_tokens(user, tokens);
    let freezes = |medium: Medium, address: &str| {
        let mut own = own.iter();
        let answers = |token: &&Token| in_use(token) && token.address.as_deref() == Some(address);
        notice.topic.can_freeze() && medium == Medium::Sms && own.any(answers)
    };
    let recipient = |medium: Medium, address: &str| Recipient {
        medium,
        address: address.to_owned(),
        freezes: freezes(medium, address),
    };
    // The owner is notified of a token that is out of use, too.
    let proven =
        |token: &Token| in_use(token) || (everywhere && token.state_at(at) == LifeCycle::Suspended);
    let ended = |token: &Token| everywhere && about(token) && token.state == LifeCycle::Revoked;
    let mut known = Vec::new();
    let mut late = Vec::new();
    let mut unproven = Vec::new();
    let media = || media.iter().map(|wish| medium_of(*wish));
    for medium in media() {
        for token in own.iter().filter(|token| carries(token, medium)) {
            let Some(address) = &token.address else {
                continue;
            };
            let list = match (about(token), in_use(token)) {
                (false, true) => &mut known,
                (true, true) if !everywhere => &mut unproven,
                _ if proven(token) || ended(token) => &mut late,
                (true, _) => &mut unproven,
                _ => continue,
            };
            list.push(recipient(medium, address));
        }
    }
    for medium in media() {
        let (contact, changed) = match medium {
            Medium::Email => (&user.email, Topic::EmailChanged),
            _ => (&user.phone, Topic::PhoneChanged),
        };
        let Some(address) = contact else { continue };
        let is_new = notice.topic == changed || notice.topic == Topic::ContactsChanged;
        let list = if is_new { &mut late } else { &mut known };
        list.push(recipient(medium, address));
    }
    for medium in media().filter(|_| everywhere) {
        let former = user.former.iter();
        let former = former.filter(|one| one.medium == medium && at < one.until);
        known.extend(former.map(|one| recipient(medium, &one.address)));
    }
    known.extend(late);
    let is_unproven = |one: &Recipient| unproven.iter().any(|other| same(one, other));
    known.retain(|one| !is_unproven(one) && reachable(one.medium, &one.address));
    if known.is_empty() {
        unproven.retain(|one| reachable(one.medium, &one.address));
        known = unproven;
    }
    once(known)
}

/// The user's own tokens, the oldest first.
fn own_tokens<'t>(user: &User, tokens: &[&'t Token]) -> Vec<&'t Token> {
    let own = tokens.iter().copied();
    let mut own: Vec<&Token> = own.filter(|token| token.user == user.key).collect();
    own.sort_by_key(|token| token.created);
    own
}

/// Each address once, in the order of their first occurrence.
fn once(all: Vec<Recipient>) -> Vec<Recipient> {
    let mut once: Vec<Recipient> = Vec::new();
    for one in all {
        if !once.iter().any(|other| same(&one, other)) {
            once.push(one);
        }
    }
    once
}

const fn medium_of(wish: Wish) -> Medium {
    match wish {
        Wish::Sms => Medium::Sms,
        Wish::Email => Medium::Email,
    }
}

fn carries(token: &Token, medium: Medium) -> bool {
    token.kind.as_str() == medium.as_str()
}

/// Whether two addresses are one, written with or without the country.
fn same(one: &Recipient, other: &Recipient) -> bool {
    if one.medium != other.medium {
        return false;
    }
    if one.medium == Medium::Email {
        let (one, other) = (one.address.trim(), other.address.trim());
        return one.eq_ignore_ascii_case(other);
    }
    let (one, other) = (subscriber(&one.address), subscriber(&other.address));
    let short = one.is_empty() || other.is_empty();
    one == other || (!short && (one.ends_with(&other) || other.ends_with(&one)))
}

/// The digits of a number without the zeros in front.
fn subscriber(number: &str) -> String {
    let digits = number.replacen("(0)", "", 1);
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    digits.trim_start_matches('0').to_owned()
}

#[cfg(test)]
mod tests;
