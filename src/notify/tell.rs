//! One notice: to whom, in which words, and whether a gateway took it.

use sha2::{Digest as _, Sha256};

use crate::core::Core;
use crate::model::id::Serial;
use crate::model::kind::Kind;
use crate::model::message::{Medium, Message, mask};
use crate::model::token::{Token, TokenState};
use crate::model::user::User;
use crate::model::user_key::{DEFAULT_REALM, UserKey};
use crate::model::user_state::UserState;
use crate::notice::{Notice, Place, Recipient, Text, Topic, recipients};
use crate::otp::recovery;
use crate::otp::throttle::Blocked;
use crate::store::View;
use crate::time::UnixTime;

/// What became of a notice.
#[derive(Debug)]
pub(super) enum Told {
    /// A gateway took it: how, for the trail.
    Sent(String),
    /// There is no one to be told any more.
    NoUser,
    /// Nothing can be sent to the user: why, for the trail.
    Unreachable(String),
    /// Not this time, or not everywhere: why, and where it arrived.
    Failed(String, Vec<Reached>),
}

/// An address at which a gateway took the notice.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    medium: Medium,
    address: String,
    /// How, for the trail.
    pub(super) how: String,
}

/// Sends a notice once: to every address that it has not reached, or to one. In the second case every
/// attempt asks the next, so that a gateway that is down does not keep from the user what another
/// medium could carry.
pub(super) async fn tell(
    core: &Core,
    notice: &Notice,
    id: [u8; 16],
    attempt: u32,
    mut reached: Vec<Reached>,
) -> Told {
    let found = match &notice.left {
        Some(left) => Ok(Some(left_view(left))),
        None => core.store.view(&notice.user),
    };
    let view = match found {
        Ok(Some(view)) => view,
        Ok(None) => return Told::NoUser,
        Err(error) => return Told::Failed(error.to_string(), reached),
    };
    let policies = core.policies();
    let Some(policy) = notice.policy(&policies) else {
        return Told::NoUser;
    };
    let courier = core.courier();
    let (now, media) = (core.now(), &policy.notify.media);
    let tokens: Vec<&Token> = view.tokens.iter().map(|(token, _)| token).collect();
    let reachable = |medium: Medium, to: &str| courier.check(medium, to).is_ok();
    let all = recipients(notice, &view.user, &tokens, media, &reachable, now);
    let turn = usize::try_from(attempt).unwrap_or_default();
    let Some(next) = turn.checked_rem(all.len()).and_then(|turn| all.get(turn)) else {
        let media: Vec<&str> = media.iter().map(|medium| medium.as_str()).collect();
        let media = media.join(" or ");
        return Told::Unreachable(format!("the user has no address that is served by {media}"));
    };
    let everywhere = notice.topic.goes_everywhere();
    let wanted = if everywhere {
        all.as_slice()
    } else {
        std::slice::from_ref(next)
    };
    let mut failed = Vec::new();
    for to in wanted {
        let has = |one: &Reached| one.medium == to.medium && one.address == to.address;
        if reached.iter().any(has) {
            continue;
        }
        let shown = mask(to.medium, &to.address);
        let id = if everywhere { id_at(id, to) } else { id };
        let message = message(core, notice, &view, to, id);
        match courier.deliver(message).await {
            Ok(delivered) => reached.push(Reached {
                medium: to.medium,
                address: to.address.clone(),
                how: format!("{} to {shown} by {}", to.medium, delivered.gateway),
            }),
            Err(error) => failed.push(format!("{} to {shown}: {error}", to.medium)),
        }
    }
    if failed.is_empty() {
        return Told::Sent(hows(&reached));
    }
    Told::Failed(failed.join(", "), reached)
}

/// A user who was removed, as far as they are needed to be told.
fn left_view(left: &User) -> View {
    View {
        generation: 0,
        user: left.clone(),
        state: UserState::default(),
        tokens: Vec::new(),
    }
}

/// Where a notice arrived, for the trail.
pub(super) fn hows(reached: &[Reached]) -> String {
    let hows: Vec<&str> = reached.iter().map(|one| one.how.as_str()).collect();
    hows.join(", ")
}

/// The id of a notice at one of its addresses: a gateway that knows ids drops the second copy to an
/// address, and not the copy to another.
fn id_at(id: [u8; 16], to: &Recipient) -> [u8; 16] {
    let digest = Sha256::new()
        .chain_update(id)
        .chain_update(to.medium.as_str())
        .chain_update(&to.address)
        .finalize();
    let mut own = [0; 16];
    own.copy_from_slice(&digest[..16]);
    own
}

fn message(core: &Core, notice: &Notice, view: &View, to: &Recipient, id: [u8; 16]) -> Message {
    let texts = core.texts();
    let (language, medium) = (view.user.language, to.medium);
    let target = notice.target.as_deref().unwrap_or_default();
    let found = view
        .tokens
        .iter()
        .find(|(token, _)| token.serial.as_str() == target);
    let until = lock_end(&view.state, core.now());
    let text = match (notice.topic, until) {
        (Topic::Locked, Some(_)) => Text::LockedUntil,
        (topic, _) => topic.text(),
    };
    let freeze = to.freezes.then(|| core.freeze_word(target));
    let end = match freeze {
        Some(_) => Text::NotYou,
        None => Text::NotYouOtherwise,
    };
    let time = texts.time(language, notice.at);
    let until = until.map(|until| texts.time(language, until));
    let left = found.map(|(_, state)| left(state).to_string());
    let values = [
        (Place::User, name(&notice.user)),
        (Place::Serial, target.to_owned()),
        (Place::Kind, kind(target, found.map(|(token, _)| token))),
        (Place::Time, time),
        (Place::Client, notice.client.clone().unwrap_or_default()),
        (Place::Until, until.unwrap_or_default()),
        (Place::Left, left.unwrap_or_default()),
    ];
    let values = values.iter().map(|(place, value)| (*place, value.as_str()));
    let word = freeze.as_ref().map(|word| (Place::Freeze, word.expose()));
    let values: Vec<(Place, &str)> = values.chain(word).collect();
    Message {
        id,
        medium,
        to: to.address.clone(),
        subject: texts.subject(language, medium, text, &values),
        text: texts.message(language, medium, &[text, end], &values),
        code: None,
        language,
    }
}

/// The user as people know themselves.
fn name(user: &UserKey) -> String {
    if user.realm() == DEFAULT_REALM {
        return user.name().to_owned();
    }
    user.to_string()
}

/// The kind of a token; of one that is gone what its serial says.
fn kind(serial: &str, token: Option<&Token>) -> String {
    if let Some(token) = token {
        return token.kind.to_string();
    }
    let serial: Option<Serial> = serial.parse().ok();
    let prefix = serial
        .as_ref()
        .and_then(|serial| serial.as_str().split_once('-'));
    let kind = prefix.and_then(|(prefix, _)| prefix.to_ascii_lowercase().parse::<Kind>().ok());
    kind.map_or_else(|| "OTP".to_owned(), |kind| kind.to_string())
}

/// When the user's lock ends, if there is one that ends by itself.
fn lock_end(state: &UserState, now: UnixTime) -> Option<UnixTime> {
    let known = state.known.iter().map(|known| &known.throttle);
    let mut latest = None;
    for throttle in known.chain([&state.throttle]) {
        if let Err(Blocked::Locked { until }) = throttle.check(now) {
            latest = latest.max(Some(until?));
        }
    }
    latest
}

fn left(state: &TokenState) -> u32 {
    u32::from(recovery::MAX).saturating_sub(state.used.count())
}
