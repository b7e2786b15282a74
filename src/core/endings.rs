//! Sessions that shall end at their NAS because their user or token may log in no more.
//!
//! Invariant: what asks for it never waits for a NAS: the queue has [`MOST`] places, and takes no more.

use std::sync::Mutex;

use tokio::sync::mpsc;

use crate::model::session::Session;

/// A session, and why it shall end.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Which.
    pub session: Session,
    /// Why, in words.
    pub why: String,
}

/// The queue of them.
pub struct Endings {
    sender: mpsc::Sender<Ending>,
    receiver: Mutex<Option<mpsc::Receiver<Ending>>>,
}

impl Endings {
    /// Asks for the end of a session; whether there was room.
    pub fn ask(&self, ending: Ending) -> bool {
        self.sender.try_send(ending).is_ok()
    }

    /// The same for one who can wait for room.
    pub async fn wait_and_ask(&self, ending: Ending) {
        // Without a receiver the daemon is at its end.
        let _ = self.sender.send(ending).await;
    }

    /// The other end of the queue, for the one who sends requests to NASes; `None` from the second time on.
    pub fn receiver(&self) -> Option<mpsc::Receiver<Ending>> {
        let mut receiver = self.receiver.lock().expect("no panic under this lock");
        receiver.take()
    }
}

impl Default for Endings {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(MOST);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
        }
    }
}

/// Most sessions that wait for their request.
const MOST: usize = 1_024;
