//! What a gateway said to one message, harmless to show.

use crate::model::message::{Message, mask};
use crate::secret::SecretString;
use crate::text::is_unsafe;

/// Why a gateway did not take a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// It was not asked.
    Passed(String),
    /// It works, and does not take this message.
    Refused(String),
    /// It does not work.
    Failed(String),
}

impl Fault {
    pub(super) fn text(self) -> String {
        match self {
            Self::Passed(text) | Self::Refused(text) | Self::Failed(text) => text,
        }
    }
}

/// What a gateway answered.
#[derive(Debug)]
pub(super) struct Answered {
    /// What the gateway calls the message it took, or why it did not take it.
    pub(super) outcome: Result<Option<String>, Fault>,
    /// The beginning of its answer, scrubbed.
    pub(super) answer: Option<String>,
}

impl Answered {
    /// No answer.
    pub(super) const fn nothing(fault: Fault) -> Self {
        Self {
            outcome: Err(fault),
            answer: None,
        }
    }
}

/// The beginning of what a gateway said, fit for logs and terminals: one line, without what we sent
/// it. Gateways like to repeat a request they did not understand.
pub(super) fn scrub(said: &str, message: &Message, secret: Option<&SecretString>) -> String {
    let mut text = said.to_owned();
    let code = message.code.as_ref();
    let hidden = [
        (secret.map(SecretString::expose), HIDDEN.to_owned()),
        (Some(message.text.expose()), HIDDEN.to_owned()),
        (code.map(SecretString::expose), HIDDEN.to_owned()),
        (Some(message.to.as_str()), mask(message.medium, &message.to)),
        (
            message.to.strip_prefix('+'),
            mask(message.medium, &message.to),
        ),
    ];
    for (value, instead) in hidden {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            text = text.replace(value, &instead);
        }
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let plain = line.chars().filter(|sign| !is_unsafe(*sign));
    plain.take(SAID).collect()
}

const HIDDEN: &str = "[redacted]";
/// Signs of an answer that are kept.
const SAID: usize = 300;
