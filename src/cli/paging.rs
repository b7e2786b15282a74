//! Lists that come in pages.

use crate::api::call::{Cursor as _, Pages};
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::output::printable;
use crate::cli::transport::Transport;

/// All pages of a list up to `limit` records, as one.
pub(super) async fn all<C: Pages>(
    api: &Transport,
    mut query: C::Query,
    limit: Option<usize>,
) -> Result<C::Answer, CliError> {
    let limit = limit.unwrap_or(usize::MAX);
    let mut all = page::<C>(api, &mut query, limit).await?;
    while C::next(&all).is_some() && C::len(&all) < limit {
        let rest = limit - C::len(&all);
        C::append(&mut all, page::<C>(api, &mut query, rest).await?);
    }
    output::damaged(C::damaged(&all));
    Ok(all)
}

/// A page, after which the query asks for the next one.
async fn page<C: Pages>(
    api: &Transport,
    query: &mut C::Query,
    most: usize,
) -> Result<C::Answer, CliError> {
    *C::place(query).1 = Some(most.min(PAGE));
    let page = api.find::<C>(query).await?;
    let next = C::next(&page);
    let cursor = C::place(query).0;
    if let Some(next) = &next
        && !next.leads_on(cursor.as_ref(), C::len(&page))
    {
        return Err(
            CliError::unavailable("the server's pages do not follow each other")
                .remedy("see `oncegate doctor`"),
        );
    }
    *cursor = next;
    Ok(page)
}

/// How many records of a list are wanted at most.
pub(super) fn most(text: &str) -> Result<usize, String> {
    let most = text.parse::<usize>().ok().filter(|most| *most > 0);
    most.ok_or_else(|| "write a whole number from 1 on".to_owned())
}

/// The text of a list, with how to ask for the rest.
pub(super) fn with_rest(mut text: String, next: Option<&String>) -> String {
    if let Some(next) = next {
        push!(text, "More: --after {}\n", printable(next));
    }
    text
}

/// Records asked for at a time: what the server gives at most.
pub(super) const PAGE: usize = 1000;

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;

    use super::*;
    use crate::api::call::Call as _;
    use crate::api::{ListSessions, SessionQuery, Sessions};

    #[test]
    fn a_list_of_nothing_is_not_asked_for() {
        assert_eq!((most("1"), most("5000")), (Ok(1), Ok(5000)));
        for bad in ["0", "-1", "x", "", "1.5"] {
            let why = most(bad).unwrap_err();
            assert!(why.contains("from 1 on"), "{bad}: {why}");
        }
    }

    #[tokio::test]
    async fn a_server_that_leads_in_a_circle_is_not_followed() {
        let fetched = async |next: Option<&str>| {
            let page = Sessions {
                next: next.map(str::to_owned),
                ..Sessions::default()
            };
            let answer = get(async move || axum::Json(page));
            let router = Router::new().route(ListSessions::OPERATION.path, answer);
            all::<ListSessions>(&Transport::Local(router), SessionQuery::default(), None).await
        };
        assert!(fetched(Some("a")).await.is_err());
        assert!(fetched(None).await.unwrap().sessions.is_empty());
    }
}
