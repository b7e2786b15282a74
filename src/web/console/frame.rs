//! What all pages of the console have around them.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::api::call::{Access, Call};
use crate::api::{ListAudit, ListClients, ListPolicies, ListTokens, ListUsers, ShowStatus};
use crate::core::CoreError;
use crate::server::http::caller::Caller;
use crate::store::By;
use crate::web::Desk;
use crate::web::call::{Detail, Refused};
use crate::web::text::Text;
use crate::web::view::{Block, Entry, Page, Tone};
use crate::web::visit::{Signed, Visit};

/// A page for someone who has signed in.
pub(super) fn page(signed: &Signed, title: impl Into<String>, blocks: Vec<Block>) -> Page {
    Page {
        person: Some(signed.person.user.to_string()),
        menu: menu(signed),
        narrow: false,
        ..outside(&signed.visit, title, blocks)
    }
}

/// A page for anyone.
pub(super) fn outside(visit: &Visit, title: impl Into<String>, blocks: Vec<Block>) -> Page {
    Page {
        t: visit.t,
        theme: visit.theme,
        title: title.into(),
        home: "/console",
        target: visit.target.clone(),
        person: None,
        menu: Vec::new(),
        narrow: true,
        blocks,
    }
}

/// The pages, each with its key, and with the call that it stands for: who may make it sees the page.
fn pages() -> [(&'static str, &'static str, char, Access); 7] {
    let (users, tokens) = (ListUsers::OPERATION.access, ListTokens::OPERATION.access);
    let (clients, policies) = (
        ListClients::OPERATION.access,
        ListPolicies::OPERATION.access,
    );
    let (audit, status) = (ListAudit::OPERATION.access, ShowStatus::OPERATION.access);
    [
        ("/console", "menu.now", 'n', status),
        ("/console/users", "menu.users", 'u', users),
        (REQUESTS, "menu.requests", 'r', tokens),
        ("/console/clients", "menu.clients", 'c', clients),
        ("/console/policies", "menu.policies", 'p', policies),
        ("/console/audit", "menu.audit", 'a', audit),
        ("/console/health", "menu.health", 'h', status),
    ]
}

/// The page with what waits.
const REQUESTS: &str = "/console/requests";

fn menu(signed: &Signed) -> Vec<Entry> {
    let (person, t, target) = (&signed.person, signed.visit.t, &signed.visit.target);
    let path = match target.split('?').next().unwrap_or_default() {
        "/console/stock" | "/console/import" => "/console/users",
        path if path.starts_with("/console/draft") => "/console/policies",
        path if path.starts_with("/console/why") => "/console/audit",
        path => path,
    };
    let is_here = |to: &str| match to {
        "/console" => path == to,
        _ => path.starts_with(to),
    };
    let mine = pages().into_iter();
    let mine = mine.filter(|(_, _, _, access)| person.may(*access));
    mine.map(|(to, label, key, _)| Entry {
        to,
        label: t.find(label).unwrap_or(label),
        key,
        count: if to == REQUESTS { signed.waiting } else { 0 },
        is_here: is_here(to),
    })
    .collect()
}

impl Signed {
    /// Who makes the calls of their pages.
    pub(crate) fn caller(&self) -> Caller {
        Caller::Person(std::sync::Arc::clone(&self.person))
    }

    /// In whose name what is no call goes on record.
    pub(crate) fn by(&self, desk: &Desk) -> Result<By, CoreError> {
        let caller = self.caller();
        let limited = !caller.may_administer();
        let by = By::new(caller.actor(), desk.app.core().arrival()?);
        Ok(By { limited, ..by })
    }
}

/// What was done, as the address of a page says it after an act.
#[derive(Deserialize)]
pub(super) struct Done {
    pub(super) done: Option<String>,
}

/// The same for a list that is read in pages.
#[derive(Deserialize)]
pub(super) struct Listed {
    pub(super) done: Option<String>,
    pub(super) after: Option<String>,
}

/// Says what was done; of the address only the words of acts are taken.
pub(super) fn done(signed: &Signed, id: Option<&str>) -> Vec<Block> {
    let t = signed.visit.t;
    let label = id.and_then(|id| t.find(&format!("act.{id}")));
    let notice = label.map(|label| Block::Notice {
        tone: Tone::Good,
        text: t.with("act.done", &[("act", label)]),
        detail: String::new(),
    });
    notice.into_iter().collect()
}

/// Says what went wrong.
pub(super) fn bad(text: &str, detail: &str) -> Block {
    Block::Notice {
        tone: Tone::Bad,
        text: text.to_owned(),
        detail: detail.to_owned(),
    }
}

/// Says why something was not done, as far as it can be said in the page's language.
pub(super) fn told(t: Text, text: &str, refused: &Refused) -> Block {
    match &refused.detail {
        Detail::Page(detail) => bad(text, detail),
        Detail::Server(english) => Block::told(t, Tone::Bad, text, english),
    }
}

/// The page for what could not be done, or shown.
pub(super) fn refused(signed: &Signed, refused: &Refused) -> Response {
    let t = signed.visit.t;
    let (title, status) = match refused.status {
        StatusCode::NOT_FOUND => (t.get("refused.missing"), refused.status),
        StatusCode::FORBIDDEN => (t.get("refused.forbidden"), refused.status),
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE => {
            (t.get("refused.unavailable"), refused.status)
        }
        status => (t.get("refused.not_done"), status),
    };
    let notice = told(t, title, refused);
    page(signed, title, vec![notice]).answer(status)
}

/// There is no such page.
pub(super) async fn missing(signed: Signed) -> Response {
    let t = signed.visit.t;
    let text = Block::Text(t.get("refused.no_page").to_owned());
    page(&signed, t.get("refused.missing"), vec![text]).answer(StatusCode::NOT_FOUND)
}
