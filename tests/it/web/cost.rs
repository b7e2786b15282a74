//! What a page of the console costs does not grow with the number of users and records: counted in allocations, since
//! every row that is read makes some, and in octets over the wire.

use std::time::Instant;

use allocation_counter::measure;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::support::console::{Console, text};

/// The pages, and searches of every sort.
const PAGES: [&str; 18] = [
    "/console",
    "/console?span=day",
    "/console/users",
    "/console/users?q=user0",
    "/console/users?q=zzz",
    "/console/users?tab=no-token",
    "/console/users?tab=locked",
    "/console/users?tab=suspended",
    "/console/users?tab=exempt",
    "/console/users/user00007@default",
    "/console/find?q=user00007",
    "/console/requests",
    "/console/clients",
    "/console/policies",
    "/console/audit",
    "/console/audit?user=user00007@default",
    "/console/health",
    "/console/stock",
];

/// A console with so many users, each with a token, and the session of an administrator.
struct House {
    runtime: Runtime,
    console: Console,
    session: String,
}

impl House {
    fn of(users: usize) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let (console, session) = runtime.block_on(async {
            let console = Console::new();
            let kim = console.person("kim", &["admin"]).await;
            for first in (0..users).step_by(500) {
                let rows: Vec<Value> = (first..users.min(first + 500)).map(row).collect();
                let import = json!({ "make": "users", "rows": rows });
                console
                    .admin("POST", "/v1/admin/import", Some(import))
                    .await;
            }
            let session = console.sign_in(&kim).await;
            // Many users are counted once, in the background.
            console.get("/console/users", Some(&session)).await;
            while console
                .service
                .admin
                .counts()
                .expect("counts")
                .0
                .is_none_or(|last| last.users.all == 0)
            {
                tokio::task::yield_now().await;
            }
            (console, session)
        });
        Self {
            runtime,
            console,
            session,
        }
    }

    /// Allocations of a page, its octets, and how long it took in milliseconds.
    fn page(&self, path: &str) -> (u64, usize, f64) {
        let get = || {
            self.runtime
                .block_on(self.console.get(path, Some(&self.session)))
        };
        // What is made at the first request of its kind is no matter of size.
        let answer = get();
        assert!(
            [200, 303].contains(&answer.status.as_u16()),
            "{path}: {}",
            text(&answer)
        );
        let octets = answer.body.len();
        let began = Instant::now();
        let counted = measure(|| drop(get()));
        (
            counted.count_total,
            octets,
            began.elapsed().as_secs_f64() * 1000.0,
        )
    }
}

fn row(number: usize) -> Value {
    json!({
        "user": format!("user{number:05}"), "groups": ["staff"],
        "display_name": format!("Person {number}"),
        "secret": base32(number),
    })
}

/// A key of its own.
fn base32(number: usize) -> String {
    let signs = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::new();
    let mut rest = number;
    for _ in 0..32 {
        text.push(char::from(signs[rest % 32]));
        rest = rest / 32 + 7;
    }
    text
}

#[test]
fn a_page_costs_the_same_however_many_users_there_are() {
    let (few, many) = (House::of(1100), House::of(2200));
    for path in PAGES {
        // What is made at the first request of its kind is no matter of size.
        few.page(path);
        let ((before, _, _), (after, octets, _)) = (few.page(path), many.page(path));
        let bound = before + before / 10 + 2000;
        assert!(
            after <= bound,
            "{path}: {before} allocations with 1,100 users, {after} with 2,200"
        );
        assert!(octets < 100_000, "{path}: {octets} octets");
    }
}

/// `ONCEGATE_CONSOLE_USERS=1000000 cargo test --release --test it -- --ignored the_time_of_pages --nocapture`
#[test]
#[ignore = "measures"]
fn the_time_of_pages() {
    let users = std::env::var("ONCEGATE_CONSOLE_USERS");
    let users = users
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20_000);
    let house = House::of(users);
    println!("{users} users");
    for path in PAGES {
        let mut times: Vec<f64> = (0..21).map(|_| house.page(path).2).collect();
        times.sort_by(f64::total_cmp);
        let (count, octets, _) = house.page(path);
        let (half, most) = (times[10], times[20]);
        println!(
            "{path:40} {half:8.2} ms  {most:8.2} ms  {octets:7} octets  {count:7} allocations"
        );
    }
}
