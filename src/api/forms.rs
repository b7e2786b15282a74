//! Records of the model as the API shows them. No secret has a way through here.

use std::collections::BTreeMap;

use crate::api;
use crate::model::audit::{AuditRecord, Changed, Event, FieldChange, Origin};
use crate::model::client::{Access, Client};
use crate::model::credential::Verifier;
use crate::model::device::{Device, DeviceState};
use crate::model::enrolment::{Delegation, Link};
use crate::model::kind::Kind;
use crate::model::message::{Medium, mask};
use crate::model::session::{Session, cause_word};
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user::{User, Waiver};
use crate::model::user_key::UserKey;
use crate::otp::throttle::{Blocked, Throttle};
use crate::otp::{recovery, yubikey};
use crate::time::UnixTime;

pub(crate) fn user(user: &User, now: UnixTime) -> api::User {
    let waiver = |one: &Waiver| waiver(one, now);
    api::User {
        user: user.key.to_string(),
        name: user.key.name().to_owned(),
        realm: user.key.realm().to_owned(),
        aliases: user.aliases.iter().map(UserKey::joined).collect(),
        groups: user.groups.clone(),
        display_name: user.display_name.clone(),
        phone: user.phone.clone(),
        email: user.email.clone(),
        birth_date: user.birth_date.clone(),
        class: user.class.clone(),
        disabled: user.disabled,
        language: user.language.to_string(),
        remote_issue: user.remote_issue,
        bypass: user.bypass.as_ref().map(waiver),
        exemption: user.exemption.as_ref().map(waiver),
        pin: None,
        password: None,
        lock: None,
        tokens: None,
        source: user.directory.as_ref().map(|one| one.source.clone()),
        created: user.created.rfc3339(),
        revision: user.revision,
    }
}

pub(crate) fn waiver(waiver: &Waiver, now: UnixTime) -> api::Waiver {
    api::Waiver {
        reason: waiver.reason.clone(),
        owner: waiver.owner.clone(),
        from: waiver.from.rfc3339(),
        until: waiver.until.rfc3339(),
        holds: waiver.holds(now),
        effect: None,
    }
}

pub(crate) fn session(session: &Session) -> api::Session {
    let cause = |cause: u32| cause_word(cause).map_or_else(|| cause.to_string(), str::to_owned);
    api::Session {
        session: session.key.id.clone(),
        user: session.user.clone(),
        client: session.key.client.clone(),
        nas: session.key.nas.clone(),
        nas_ip: session.nas_ip.map(|address| address.to_string()),
        calling_station: session.calling_station.clone(),
        framed_ip: session.framed_ip.map(|address| address.to_string()),
        request_id: session.login.map(|login| login.to_string()),
        open: session.ended.is_none(),
        started: session.started.rfc3339(),
        updated: session.updated.rfc3339(),
        ended: session.ended.map(UnixTime::rfc3339),
        cause: session.cause.map(cause),
        seconds: session.usage.seconds,
        octets_in: session.usage.octets_in,
        octets_out: session.usage.octets_out,
    }
}

pub(crate) fn delegation(lent: &Delegation, now: UnixTime) -> api::Delegation {
    api::Delegation {
        from: lent.from.clone(),
        to: lent.to.clone(),
        until: lent.until.rfc3339(),
        reason: lent.reason.clone(),
        holds: now < lent.until,
        effect: None,
    }
}

pub(crate) fn verifier(verifier: &Verifier) -> api::VerifierInfo {
    let imported = verifier.hash.imported();
    api::VerifierInfo {
        set: verifier.set.rfc3339(),
        must_change: verifier.must_change,
        imported: imported.map(|scheme| scheme.word().to_owned()),
    }
}

pub(crate) fn lock(throttle: &Throttle, now: UnixTime) -> api::Lock {
    let (state, until) = match throttle.check(now) {
        Ok(()) => ("open", None),
        Err(Blocked::Throttled { until }) => ("throttled", Some(until)),
        Err(Blocked::Locked { until: Some(until) }) => ("locked", Some(until)),
        Err(Blocked::Locked { until: None }) => ("hard_locked", None),
    };
    api::Lock {
        failures: throttle.failures,
        state: state.to_owned(),
        until: until.map(UnixTime::rfc3339),
    }
}

/// Characters of its codes.
fn length(token: &Token) -> u8 {
    let otp = |id: String| u8::try_from(id.len() + yubikey::BLOCK).unwrap_or(u8::MAX);
    token.public_id().map_or_else(|| token.digits.get(), otp)
}

pub(crate) fn token(token: &Token, state: &TokenState, now: UnixTime) -> api::Token {
    let timed = token.kind == Kind::Totp;
    let drift = state.moving.drift;
    let enrolment = &token.enrolment;
    let address = token.address.as_deref();
    let medium = Medium::of(token.kind);
    let left = u32::from(recovery::MAX).saturating_sub(state.used.count());
    let life = token.state_at(now);
    // Of a token that has ended a restore refuses nothing more.
    let ended = matches!(life, LifeCycle::Revoked | LifeCycle::Expired);
    let refused = state.refused_until(now).filter(|_| !ended);
    let link = enrolment.link.filter(|_| life == LifeCycle::Pending);
    let link_state = |link: &Link| match link.redeemed {
        Some(_) => "used",
        None if link.is_open(now) => "open",
        None => "expired",
    };
    let closed = state.needs_resync().filter(|_| !ended);
    let repaired = closed.or_else(|| refused.map(|(at, _)| at));
    api::Token {
        serial: token.serial.to_string(),
        user: Some(&token.user)
            .filter(|user| !user.is_stock())
            .map(ToString::to_string),
        linked: Vec::new(),
        kind: token.kind.to_string(),
        state: life.to_string(),
        algorithm: match token.kind {
            Kind::Yubikey => "aes",
            _ => token.algorithm.as_str(),
        }
        .to_owned(),
        digits: length(token),
        public_id: token.public_id(),
        period: timed.then(|| token.period.as_secs()),
        last_step: state.moving.last,
        drift: timed.then(|| drift.offset() + i32::from(drift.learned())),
        lock: lock(&state.lock(), now),
        last_accept: state.last_accept.map(UnixTime::rfc3339),
        store_repaired: repaired.map(UnixTime::rfc3339),
        refused_until: refused.map(|(_, until)| until.rfc3339()),
        address: medium
            .zip(address)
            .map(|(medium, address)| mask(medium, address)),
        device: token.device.as_ref().map(ToString::to_string),
        codes_left: (token.kind == Kind::Recovery).then_some(left),
        expires: token.expires.map(UnixTime::rfc3339),
        first_use_until: enrolment
            .first_use_until
            .filter(|_| token.state == LifeCycle::Pending && closed.is_none())
            .map(UnixTime::rfc3339),
        link: link.as_ref().map(link_state).map(str::to_owned),
        link_until: link.map(|link| link.until.rfc3339()),
        replaces: enrolment.replaces.as_ref().map(ToString::to_string),
        requester: Some(enrolment.requester.clone()).filter(|who| !who.is_empty()),
        approvals_needed: Some(enrolment.needed).filter(|needed| *needed > 0),
        approvals: enrolment
            .approvals
            .iter()
            .map(|one| api::Approval {
                by: one.by.clone(),
                on_behalf: one.on_behalf.clone(),
                at: one.at.rfc3339(),
            })
            .collect(),
        created: token.created.rfc3339(),
        revision: token.revision,
    }
}

pub(crate) fn client(client: &Client, now: UnixTime) -> api::Client {
    let mut shown = api::Client {
        name: client.name.clone(),
        kind: String::new(),
        policy: client.policy.clone(),
        realm: client.realm.clone(),
        addresses: None,
        profile: None,
        require_message_authenticator: None,
        challenge: None,
        methods: None,
        disconnect_port: None,
        certificate: None,
        limit_proxy_state: None,
        name_rules: None,
        retry_window_secs: None,
        secrets_used: Vec::new(),
        counters: BTreeMap::new(),
        unsigned_replies_until: None,
        weak_secret: None,
        scopes: None,
        previous_until: None,
        created: client.created.rfc3339(),
        revision: client.revision,
    };
    let until = match &client.access {
        Access::Radius(radius) => {
            "radius".clone_into(&mut shown.kind);
            shown.addresses = Some(radius.addresses.iter().map(ToString::to_string).collect());
            shown.profile = Some(radius.settings.profile.clone());
            let require = radius.message_authenticator.as_str().to_owned();
            shown.require_message_authenticator = Some(require);
            shown.challenge = Some(radius.challenge);
            shown.methods = Some(radius.methods.words().to_vec());
            shown.disconnect_port = Some(radius.settings.disconnect_port.unwrap_or(0));
            shown.limit_proxy_state = Some(radius.settings.limit_proxy_state);
            let names = radius.settings.names.iter().map(ToString::to_string);
            shown.name_rules = Some(names.collect());
            shown.retry_window_secs = Some(radius.settings.retry_window.as_secs());
            let unsigned = radius.settings.unsigned_until;
            let unsigned = unsigned.filter(|until| now < *until);
            shown.unsigned_replies_until = unsigned.map(UnixTime::rfc3339);
            shown.certificate.clone_from(&radius.settings.certificate);
            let tls = shown.certificate.is_some();
            shown.weak_secret = radius.secret.weakness().filter(|_| !tls).map(str::to_owned);
            let previous = radius.previous.as_ref().filter(|_| !tls);
            previous.map(|(_, until)| *until)
        }
        Access::Api(api) => {
            "api".clone_into(&mut shown.kind);
            shown.scopes = Some(api.scopes.iter().map(ToString::to_string).collect());
            api.previous.map(|(_, until)| until)
        }
    };
    shown.previous_until = until.filter(|until| now < *until).map(UnixTime::rfc3339);
    shown
}

pub(crate) fn audit(record: &AuditRecord) -> api::AuditRecord {
    let none = Origin::default();
    let origin = match &record.event {
        Event::Decision(event) => event.origin.as_deref().unwrap_or(&none),
        Event::Change(_) => &none,
    };
    let event = match &record.event {
        Event::Decision(event) => api::AuditEvent::Decision {
            decision: event.decision.as_str().to_owned(),
            reason: event.reason.as_str().to_owned(),
            purpose: event.purpose.as_str().to_owned(),
            user: event.user.clone(),
            serial: event.serial.as_ref().map(ToString::to_string),
            step: event.step,
            client: event.client.to_string(),
            channel: event.channel.as_str().to_owned(),
            client_ip: event.source,
            nas: origin.nas.as_deref().map(str::to_owned),
            nas_ip: origin.nas_ip,
            calling_station: origin.calling_station.as_deref().map(str::to_owned),
            method: event.method.to_string(),
            rule: event.rule.as_deref().map(str::to_owned),
            waiver: event.waiver.clone(),
            note: event.note.clone(),
            failures: event.failures,
            latency_ms: event.latency,
        },
        Event::Change(event) => api::AuditEvent::Change {
            actor: event.actor.clone(),
            action: event.action.clone(),
            target: event.target.clone(),
            user: event.user.clone(),
            detail: event.detail.clone(),
        },
    };
    api::AuditRecord {
        seq: record.seq,
        time: record.at.rfc3339(),
        request_id: record.event.request().to_string(),
        event,
        changes: record.changes.iter().map(field_change).collect(),
    }
}

fn field_change(one: &FieldChange) -> api::FieldChange {
    let mut shown = api::FieldChange {
        record: one.record.clone(),
        field: one.field.clone(),
        before: None,
        after: None,
        added: None,
        removed: None,
        secret: None,
        hidden: None,
    };
    match &one.change {
        Changed::Text { before, after } => {
            shown.before.clone_from(before);
            shown.after.clone_from(after);
        }
        Changed::List { added, removed } => {
            shown.added = Some(added.clone());
            shown.removed = Some(removed.clone());
        }
        Changed::Secret(change) => shown.secret = Some(change.as_str().to_owned()),
        Changed::Sealed { .. } => shown.hidden = Some("unreadable".to_owned()),
        Changed::Hidden(why) => shown.hidden = Some((*why).to_owned()),
    }
    shown
}

pub(crate) fn device(device: &Device, state: &DeviceState) -> api::Device {
    let word = if device.revoked { "revoked" } else { "active" };
    api::Device {
        device: device.id.to_string(),
        user: device.user.to_string(),
        name: device.name.clone(),
        state: word.to_owned(),
        algorithm: device.algorithm.clone(),
        created: device.created.rfc3339(),
        last_seen: state.last_seen.map(UnixTime::rfc3339),
        this: None,
        revision: device.revision,
    }
}

pub(crate) fn device_token(token: &Token, now: UnixTime) -> api::DeviceToken {
    api::DeviceToken {
        serial: token.serial.to_string(),
        kind: token.kind.to_string(),
        state: token.state_at(now).to_string(),
        expires: token.expires.map(UnixTime::rfc3339),
    }
}
