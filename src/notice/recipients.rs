//! To which addresses a notice may go.
//!
//! Threat: whoever enrols a token in another's name gives their own number, and must not be the only
//! one who hears of it; whoever changes the number on record likewise. An address that the notice is
//! about, or that is the same as one, comes into question only when no other can be reached at all.

use crate::model::message::Medium;
use crate::model::token::LifeCycle;
use crate::model::token::Token;
use crate::model::user::User;
use crate::notice::Notice;
use crate::notice::Topic;
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
/// that is known longest first, then those of the user's record; each in the order of `media`.
/// `reachable` says whether a message could be sent to an address.
pub fn recipients(
    notice: &Notice,
    user: &User,
    tokens: &[&Token],
    media: &[Wish],
    reachable: &dyn Fn(Medium, &str) -> bool,
    at: UnixTime,
) -> Vec<Recipient> {
    let about = |token: &Token| notice.target.as_deref() == Some(token.serial.as_str());
    let in_use = |token: &Token| token.state_at(at) == LifeCycle::Active;
    let mut own: Vec<&Token> = tokens.to_vec();
    own.retain(|token| token.user == user.key);
    own.sort_by_key(|token| token.created);
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
    let mut known = Vec::new();
    let mut new = Vec::new();
    for medium in media.iter().map(|wish| medium_of(*wish)) {
        for token in own.iter().filter(|token| carries(token, medium)) {
            let Some(address) = &token.address else {
                continue;
            };
            if about(token) {
                new.push(recipient(medium, address));
            } else if in_use(token) {
                known.push(recipient(medium, address));
            }
        }
    }
    for medium in media.iter().map(|wish| medium_of(*wish)) {
        let (contact, changed) = match medium {
            Medium::Email => (&user.email, Topic::EmailChanged),
            _ => (&user.phone, Topic::PhoneChanged),
        };
        let Some(address) = contact else { continue };
        let is_new = notice.topic == changed || notice.topic == Topic::ContactsChanged;
        let list = if is_new { &mut new } else { &mut known };
        list.push(recipient(medium, address));
    }
    let is_new = |one: &Recipient| new.iter().any(|other| same(one, other));
    known.retain(|one| !is_new(one) && reachable(one.medium, &one.address));
    if known.is_empty() {
        new.retain(|one| reachable(one.medium, &one.address));
        known = new;
    }
    let mut once: Vec<Recipient> = Vec::new();
    for one in known {
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
