//! `/v1/admin/sources`: directories that users follow.

use std::collections::HashSet;
use std::sync::Arc;

use crate::admin::directory::{SourceState, Sync, SyncOptions};
use crate::api::{self, ListSources, ShowSource, SyncSource};
use crate::model::user_key::UserKey;
use crate::server::http::App;
use crate::server::http::error::Failure;
use crate::server::http::route::{Admin, Routes};

pub(super) fn routes(routes: Routes) -> Routes {
    routes.on(list).on(show).on(sync)
}

async fn list(app: Arc<App>, _: Admin<ListSources>) -> Result<api::Sources, Failure> {
    let sources = app.admin().sources(None).await?;
    let sources = sources.into_iter().map(source).collect();
    Ok(api::Sources { sources })
}

async fn show(app: Arc<App>, call: Admin<ShowSource>) -> Result<api::Source, Failure> {
    let mut sources = app.admin().sources(Some(&call.place)).await?;
    let found = sources.pop().ok_or_else(|| Failure::missing("source"))?;
    Ok(source(found))
}

async fn sync(app: Arc<App>, call: Admin<SyncSource>) -> Result<api::Synced, Failure> {
    let options = SyncOptions {
        dry_run: call.body.dry_run,
        force: call.body.force,
        adopt: call.body.adopt,
    };
    let done = app.admin().sync_source(&call.place, options, call.from);
    let done = done.await?;
    Ok(synced(call.place, options.dry_run, done))
}

fn source(state: SourceState) -> api::Source {
    let (last, result) = state.last.map(|run| (run.at.rfc3339(), run.result)).unzip();
    let (result, error) = match result {
        Some(Ok(done)) => (Some(done), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
    };
    api::Source {
        name: state.info.name,
        kind: state.info.kind.to_owned(),
        servers: state.info.servers,
        realm: state.info.realm,
        every: state.info.every.map(|every| every.as_secs()),
        password: state.info.password.map(|state| state.to_string()),
        users: state.users,
        disabled: state.disabled,
        last,
        result,
        error,
    }
}

fn synced(source: String, dry_run: bool, done: Sync) -> api::Synced {
    let changed: HashSet<&UserKey> = done.changed.iter().map(|one| &one.user).collect();
    let counts = api::SyncCounts {
        created: done.created.len(),
        adopted: done.adopted.len(),
        renamed: done.renamed.len(),
        changed: changed.len(),
        disabled: done.disabled.len(),
        enabled: done.enabled.len(),
        unchanged: done.unchanged,
        skipped: done.skipped.len(),
    };
    let names = |users: Vec<UserKey>| {
        let users = users.into_iter().take(NAMED);
        users.map(|user| user.to_string()).collect()
    };
    let renamed = done.renamed.into_iter().take(NAMED);
    let renamed = renamed.map(|(before, after)| api::Renamed {
        before: before.to_string(),
        after: after.to_string(),
    });
    let values = done.changed.into_iter().take(NAMED);
    let values = values.map(|one| api::SyncChange {
        user: one.user.to_string(),
        field: one.field.to_owned(),
        before: one.before,
        after: one.after,
    });
    let skipped = done.skipped.into_iter().take(NAMED);
    let skipped = skipped.map(|(entry, why)| api::Skipped { entry, why });
    api::Synced {
        source,
        dry_run,
        people: done.people,
        counts,
        created: names(done.created),
        adopted: names(done.adopted),
        renamed: renamed.collect(),
        changed: values.collect(),
        disabled: names(done.disabled),
        enabled: names(done.enabled),
        skipped: skipped.collect(),
    }
}

/// Most of one list that an answer names.
const NAMED: usize = 1000;
