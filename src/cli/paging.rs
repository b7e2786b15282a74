//! Lists that come in pages.

use crate::api::{
    Audit, AuditRecord, Client, Clients, Session, Sessions, Token, Tokens, User, Users,
};
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::output::printable;

/// One page of a list.
pub(super) trait Page {
    /// What is listed.
    type Item;
    /// Where a page begins.
    type Cursor: Clone + PartialEq;

    fn items(&mut self) -> &mut Vec<Self::Item>;

    /// Where the next page begins.
    fn next(&self) -> Option<&Self::Cursor>;

    /// Rows that cannot be listed.
    fn damaged(&self) -> &[String] {
        &[]
    }

    /// Whether the next page is another one than that which began at `after`.
    fn goes_on(&mut self, after: Option<&Self::Cursor>) -> bool {
        self.next() != after && !self.items().is_empty()
    }
}

/// All pages from `after` on, up to `limit` items, as one page. `fetch` gets where a page begins and
/// how many items it may have.
pub(super) async fn all<P: Page>(
    after: Option<P::Cursor>,
    limit: Option<usize>,
    fetch: impl AsyncFn(Option<P::Cursor>, usize) -> Result<P, CliError>,
) -> Result<P, CliError> {
    let limit = limit.unwrap_or(usize::MAX);
    let mut after = after;
    let mut items = Vec::new();
    loop {
        let wanted = limit.saturating_sub(items.len()).min(PAGE);
        let mut page = fetch(after.clone(), wanted).await?;
        // A server that leads in a circle is not followed.
        if page.next().is_some() && !page.goes_on(after.as_ref()) {
            return Err(
                CliError::unavailable("the server's pages do not follow each other")
                    .remedy("see `oncegate doctor`"),
            );
        }
        items.append(page.items());
        after = page.next().cloned();
        if after.is_none() || items.len() >= limit {
            *page.items() = items;
            output::damaged(page.damaged());
            return Ok(page);
        }
    }
}

/// The text of a list, with how to ask for the rest.
pub(super) fn with_rest(mut text: String, next: Option<&String>) -> String {
    if let Some(next) = next {
        push!(text, "More: --after {}\n", printable(next));
    }
    text
}

macro_rules! pages {
    ($($page:ident { $items:ident: $item:ident $(, $damaged:ident)? })+) => { $(
        impl Page for $page {
            type Item = $item;
            type Cursor = String;

            fn items(&mut self) -> &mut Vec<$item> {
                &mut self.$items
            }

            fn next(&self) -> Option<&String> {
                self.next.as_ref()
            }

            $(fn damaged(&self) -> &[String] {
                &self.$damaged
            })?
        }
    )+ };
}

pages! {
    Clients { clients: Client, damaged }
    Sessions { sessions: Session }
    Tokens { tokens: Token, damaged }
    Users { users: User, damaged }
}

/// Newest first: a page begins before a record.
impl Page for Audit {
    type Item = AuditRecord;
    type Cursor = u64;

    fn items(&mut self) -> &mut Vec<AuditRecord> {
        &mut self.records
    }

    fn next(&self) -> Option<&u64> {
        self.next.as_ref()
    }

    /// A page may be empty where a filter passed over many records.
    fn goes_on(&mut self, before: Option<&u64>) -> bool {
        before.is_none_or(|before| self.next < Some(*before))
    }
}

/// Items asked for at a time: what the server gives at most.
pub(super) const PAGE: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn page(next: Option<&str>) -> Sessions {
        Sessions {
            next: next.map(str::to_owned),
            ..Sessions::default()
        }
    }

    #[tokio::test]
    async fn a_server_that_leads_in_a_circle_is_not_followed() {
        let stuck = all(None, None, async |_, _| Ok(page(Some("a")))).await;
        assert!(stuck.is_err());
        let ended = all(None, None, async |_, _| Ok(page(None))).await;
        assert!(ended.unwrap().sessions.is_empty());
    }
}
