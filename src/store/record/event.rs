//! The stored form of an audit event.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::audit::{ChangeEvent, Channel, DecisionEvent, Event, Origin, Purpose};
use crate::model::id::{RequestId, Serial};
use crate::model::reason::{Decision, Reason};

#[derive(Serialize, Deserialize)]
pub(super) enum EventV1<'a> {
    #[serde(borrow)]
    Decision(DecisionV1<'a>),
    #[serde(borrow)]
    Change(ChangeV1<'a>),
}

#[derive(Serialize, Deserialize)]
pub(super) struct DecisionV1<'a> {
    request: [u8; 16],
    purpose: u8,
    decision: u8,
    reason: u8,
    user: &'a str,
    #[serde(borrow)]
    serial: Option<&'a str>,
    step: Option<u64>,
    client: &'a str,
    channel: u8,
    method: &'a str,
    source: Option<IpAddr>,
    #[serde(borrow)]
    rule: Option<&'a str>,
    #[serde(borrow)]
    waiver: Option<&'a str>,
    #[serde(borrow)]
    nas: Option<&'a str>,
    nas_ip: Option<IpAddr>,
    #[serde(borrow)]
    calling_station: Option<&'a str>,
    #[serde(borrow)]
    note: Option<&'a str>,
    failures: u32,
    locked: bool,
    latency: u32,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ChangeV1<'a> {
    request: [u8; 16],
    actor: &'a str,
    action: &'a str,
    target: &'a str,
    #[serde(borrow)]
    user: Option<&'a str>,
    #[serde(borrow)]
    detail: Option<&'a str>,
}

impl<'a> From<&'a Event> for EventV1<'a> {
    fn from(event: &'a Event) -> Self {
        match event {
            Event::Decision(event) => Self::Decision(event.into()),
            Event::Change(event) => Self::Change(ChangeV1 {
                request: event.request.to_bytes(),
                actor: &event.actor,
                action: &event.action,
                target: &event.target,
                user: event.user.as_deref(),
                detail: event.detail.as_deref(),
            }),
        }
    }
}

impl<'a> From<&'a DecisionEvent> for DecisionV1<'a> {
    fn from(event: &'a DecisionEvent) -> Self {
        let origin = event.origin.as_ref();
        Self {
            request: event.request.to_bytes(),
            purpose: event.purpose.number(),
            decision: event.decision.number(),
            reason: event.reason.number(),
            user: &event.user,
            serial: event.serial.as_ref().map(Serial::as_str),
            step: event.step,
            client: &event.client,
            channel: event.channel.number(),
            method: &event.method,
            source: event.source,
            rule: event.rule.as_deref(),
            waiver: event.waiver.as_deref(),
            nas: origin.and_then(|origin| origin.nas.as_deref()),
            nas_ip: origin.and_then(|origin| origin.nas_ip),
            calling_station: origin.and_then(|origin| origin.calling_station.as_deref()),
            note: event.note.as_deref(),
            failures: event.failures,
            locked: event.locked,
            latency: event.latency,
        }
    }
}

impl EventV1<'_> {
    /// The event; `None` where it has a number that is not known.
    pub(super) fn parse(self) -> Option<Event> {
        Some(match self {
            Self::Decision(form) => Event::Decision(form.parse()?),
            Self::Change(form) => Event::Change(ChangeEvent {
                request: RequestId::from_bytes(form.request),
                actor: form.actor.to_owned(),
                action: form.action.to_owned(),
                target: form.target.to_owned(),
                user: form.user.map(str::to_owned),
                detail: form.detail.map(str::to_owned),
            }),
        })
    }
}

impl DecisionV1<'_> {
    fn parse(self) -> Option<DecisionEvent> {
        let origin = Origin {
            nas: self.nas.map(Into::into),
            nas_ip: self.nas_ip,
            calling_station: self.calling_station.map(Into::into),
        };
        let told =
            origin.nas.is_some() || origin.nas_ip.is_some() || origin.calling_station.is_some();
        Some(DecisionEvent {
            request: RequestId::from_bytes(self.request),
            purpose: Purpose::from_number(self.purpose)?,
            decision: Decision::from_number(self.decision)?,
            reason: Reason::from_number(self.reason)?,
            user: self.user.to_owned(),
            serial: self.serial.map(str::parse).transpose().ok()?,
            step: self.step,
            client: self.client.into(),
            channel: Channel::from_number(self.channel)?,
            method: self.method.into(),
            source: self.source,
            rule: self.rule.map(Into::into),
            waiver: self.waiver.map(str::to_owned),
            origin: told.then(|| Arc::new(origin)),
            note: self.note.map(str::to_owned),
            failures: self.failures,
            locked: self.locked,
            latency: self.latency,
        })
    }
}
