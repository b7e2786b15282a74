//! The conversations under way, found by their State.
//!
//! Threats: a peer that begins conversations and ends none. There is room for [`PLACES`]; when they are
//! taken, the oldest one of the client that holds most of them is given up, so that a client with a
//! misbehaving network disturbs its own logins first, and the log names it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;

use crate::server::radius::eap::conversation::Conversation;
use crate::time::UnixTime;

/// Names a conversation.
pub(super) type State = [u8; 16];

/// The RADIUS State that stands for it: every NAS carries base64url unharmed.
pub(super) fn text_of(state: &State) -> String {
    BASE64URL_NOPAD.encode(state)
}

/// What a RADIUS State stands for. `None`: it is none of ours.
pub(super) fn read(text: &[u8]) -> Option<State> {
    BASE64URL_NOPAD.decode(text).ok()?.try_into().ok()
}

/// The conversations under way.
#[derive(Default)]
pub(in crate::server::radius) struct Conversations(Mutex<Places>);

#[derive(Default)]
struct Places {
    entries: HashMap<State, Entry>,
    /// When those that took too long were removed last.
    swept: UnixTime,
}

struct Entry {
    client: Arc<str>,
    touched: UnixTime,
    /// None while one of its packets is worked on.
    conversation: Option<Box<Conversation>>,
}

/// What a State stands for.
pub(super) enum Found {
    /// The caller gives it back, or it ends.
    Here(Box<Conversation>),
    /// Another packet of it is worked on.
    Busy,
    /// Nothing, or of another client, or it took too long.
    Unknown,
}

/// The place of a conversation while a packet of it is worked on. It ends with that work, however this ends,
/// unless it is kept: a place that is left behind would take no packet until it is swept.
pub(super) struct Held<'t> {
    table: &'t Conversations,
    pub(super) state: State,
    is_kept: bool,
}

impl Held<'_> {
    /// Puts the conversation back. The client that had to give up another one.
    pub(super) fn keep(
        mut self,
        client: &str,
        conversation: Box<Conversation>,
        now: UnixTime,
    ) -> Option<Crowd> {
        self.is_kept = true;
        self.table.put(self.state, client, conversation, now)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.table.end(&self.state);
        }
    }
}

/// A client whose conversations took the last place.
pub(super) struct Crowd {
    pub(super) client: Arc<str>,
    pub(super) holds: usize,
}

impl Conversations {
    /// Takes a conversation out.
    pub(super) fn take(&self, state: &State, client: &str, now: UnixTime) -> Found {
        let mut all = self.lock();
        let Some(entry) = all.entries.get_mut(state) else {
            return Found::Unknown;
        };
        if &*entry.client != client || now.since(entry.touched) > LIFE {
            return Found::Unknown;
        }
        match entry.conversation.take() {
            Some(conversation) => Found::Here(conversation),
            None => Found::Busy,
        }
    }

    /// The place of a conversation that was taken out, or that begins.
    pub(super) const fn held(&self, state: State) -> Held<'_> {
        Held {
            table: self,
            state,
            is_kept: false,
        }
    }

    /// Puts a conversation in its place, or in a new one. The client that had to give up another one.
    fn put(
        &self,
        state: State,
        client: &str,
        conversation: Box<Conversation>,
        now: UnixTime,
    ) -> Option<Crowd> {
        let mut all = self.lock();
        let Places { entries, swept } = &mut *all;
        let full = entries.len() >= PLACES && !entries.contains_key(&state);
        // A clock that was set back sweeps, too.
        if full || now < *swept || now.since(*swept) > SWEEP {
            entries.retain(|_, entry| now.since(entry.touched) <= LIFE);
            *swept = now;
        }
        let full = full && entries.len() >= PLACES;
        let crowd = full.then(|| give_up(entries)).flatten();
        let entry = Entry {
            client: client.into(),
            touched: now,
            conversation: Some(conversation),
        };
        entries.insert(state, entry);
        crowd
    }

    /// Ends a conversation.
    fn end(&self, state: &State) {
        self.lock().entries.remove(state);
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().expect("no panic while the lock is held")
    }
}

/// Gives up the oldest conversation of the client that holds most.
fn give_up(all: &mut HashMap<State, Entry>) -> Option<Crowd> {
    let mut holds: HashMap<&Arc<str>, usize> = HashMap::new();
    for entry in all.values() {
        *holds.entry(&entry.client).or_default() += 1;
    }
    let (client, holds) = holds.into_iter().max_by_key(|(_, count)| *count)?;
    let crowd = Crowd {
        client: Arc::clone(client),
        holds,
    };
    let its = all.iter().filter(|(_, entry)| entry.client == crowd.client);
    let (oldest, _) = its.min_by_key(|(_, entry)| entry.touched)?;
    let oldest = *oldest;
    all.remove(&oldest);
    Some(crowd)
}

/// Conversations under way at a time.
pub(super) const PLACES: usize = 4096;
/// How long the peer's next packet is awaited: a person may have to find the token.
const LIFE: Duration = Duration::from_mins(2);
/// How often those that took too long are removed.
const SWEEP: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn state(number: usize) -> State {
        let mut state = [0; 16];
        state[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
        state
    }

    fn begun() -> Box<Conversation> {
        Box::new(Conversation::new("alice".to_owned(), 1))
    }

    #[test]
    fn a_conversation_is_its_clients_and_ends_in_time() {
        let (table, now) = (Conversations::default(), UnixTime::from_secs(1_795_000_000));
        assert!(table.put(state(1), "vpn", begun(), now).is_none());
        assert!(matches!(
            table.take(&state(1), "other", now),
            Found::Unknown
        ));
        assert_eq!(read(text_of(&state(1)).as_bytes()), Some(state(1)));
        assert_eq!(read(b"abc"), None);
        let late = now.plus(Duration::from_secs(121));
        assert!(matches!(table.take(&state(1), "vpn", late), Found::Unknown));
        assert!(matches!(table.take(&state(1), "vpn", now), Found::Here(_)));
        assert!(matches!(table.take(&state(1), "vpn", now), Found::Busy));
        table.end(&state(1));
        assert!(matches!(table.take(&state(1), "vpn", now), Found::Unknown));
    }

    #[test]
    fn a_conversation_ends_with_the_work_on_its_packet_unless_it_is_kept() {
        let (table, now) = (Conversations::default(), UnixTime::from_secs(1_795_000_000));
        assert!(table.held(state(1)).keep("vpn", begun(), now).is_none());
        let Found::Here(conversation) = table.take(&state(1), "vpn", now) else {
            panic!("it was kept");
        };
        table.held(state(1)).keep("vpn", conversation, now);
        assert!(matches!(table.take(&state(1), "vpn", now), Found::Here(_)));
        drop(table.held(state(1)));
        assert!(matches!(table.take(&state(1), "vpn", now), Found::Unknown));
    }

    #[test]
    fn a_client_that_crowds_the_table_gives_way_and_is_named() {
        let (table, now) = (Conversations::default(), UnixTime::from_secs(1_795_000_000));
        table.put(state(0), "small", begun(), now);
        for number in 1..PLACES {
            let crowd = table.put(
                state(number),
                "flood",
                begun(),
                now.plus(Duration::from_millis(1)),
            );
            assert!(crowd.is_none());
        }
        let crowd = table.put(state(PLACES), "small", begun(), now).unwrap();
        assert_eq!((&*crowd.client, crowd.holds), ("flood", PLACES - 1));
        assert!(matches!(
            table.take(&state(0), "small", now),
            Found::Here(_)
        ));
        // What took too long makes room by itself.
        let later = now.plus(Duration::from_mins(3));
        assert!(
            table
                .put(state(PLACES + 1), "flood", begun(), later)
                .is_none()
        );
        assert!(table.lock().entries.len() < 3);
    }
}
