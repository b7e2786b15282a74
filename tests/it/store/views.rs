//! What logins read of a user is what was last made durable, however it is kept in memory.

use std::sync::Arc;

use oncegate::model::token::TokenState;
use oncegate::store::{Change, Store, View};

use crate::support::Random;
use crate::support::disk::Disk;
use crate::support::store::{NOW, attempt, by, enrol, key, open, token};

const USERS: u64 = 5;

/// A view in words; the generation counts from the start of the process.
fn seen(view: Option<View>) -> String {
    let view = view.map(|view| (view.user, view.state, view.tokens));
    format!("{view:?}")
}

/// Users, tokens and states change, checkpoints are written all the time, the store is opened again and again, and every view is that of a store which is
/// opened afresh on the same files.
#[tokio::test]
async fn a_view_is_the_one_that_the_files_hold() {
    let disk = Disk::default();
    let mut store = open(Arc::new(disk.clone())).unwrap();
    let mut random = Random(29);
    let mut step = 0;
    for round in 0..60 {
        for _ in 0..8 {
            step += 1;
            change(&store, random.below(USERS), random.below(8), step).await;
            // So that what the next change makes old is kept.
            for number in 0..USERS {
                store.view(&key(&name(number))).unwrap();
            }
        }
        if random.below(3) > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(8)).await;
        }
        let afresh = open(Arc::new(Disk::with(disk.files()))).unwrap();
        assert_eq!(afresh.health().fault, None);
        for number in 0..USERS {
            let key = key(&name(number));
            let (now, then) = (store.view(&key).unwrap(), afresh.view(&key).unwrap());
            assert_eq!(seen(now), seen(then), "round {round}, {key}");
        }
        if round % 8 == 7 {
            // What it then holds in memory was taken there while it was opened.
            drop(store);
            store = open(Arc::new(disk.clone())).unwrap();
        }
    }
}

fn name(number: u64) -> String {
    format!("user{number}")
}

/// One change or login of a user; what cannot be in its state is refused, which is as good.
async fn change(store: &Store, number: u64, what: u64, step: u64) {
    let name = name(number);
    let view = store.view(&key(&name)).unwrap();
    let serials: Vec<_> = view
        .iter()
        .flat_map(|view| view.tokens.iter().map(|(token, _)| token.serial.clone()))
        .collect();
    match (view, serials.first()) {
        (None, _) => enrol(store, &name, &format!("HOTP-{number}-{step}"))
            .await
            .unwrap(),
        (Some(view), _) if what == 0 => {
            let mut changed = view.user;
            changed.groups = vec![format!("group{step}")];
            store
                .change(Change::UpdateUser(changed), by())
                .await
                .unwrap();
        }
        (Some(_), _) if what == 1 => {
            let mut another = token(&name, &format!("HOTP-{number}-{step}"));
            another.key = crate::support::codes::key_of(&format!("{name}{step}"));
            let made = Change::CreateToken(another, TokenState::default());
            store.change(made, by()).await.unwrap();
        }
        (Some(_), Some(serial)) if what == 2 && serials.len() > 1 => {
            let removed = Change::RemoveToken(serial.clone(), None);
            store.change(removed, by()).await.unwrap();
        }
        (Some(_), _) if what == 3 && step.is_multiple_of(5) => {
            let removed = Change::RemoveUser(key(&name), None);
            store.change(removed, by()).await.unwrap();
        }
        (Some(_), Some(serial)) => {
            attempt(store, &name, serial.as_str(), &[step], NOW)
                .await
                .unwrap();
        }
        (Some(_), None) => {}
    }
}
