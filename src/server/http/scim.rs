//! `/scim/v2`: an identity provider pushes users and groups (RFC 7643, RFC 7644).
//!
//! ```text
//! key with the scope `scim` -> the source that names this client -> its users and groups, and no others
//! PATCH: the resource as it is, changed as asked, is what PUT would send
//! ```
//!
//! Invariants: only users of the client's own source are seen and changed; one change of the sources is carried out
//! at a time, from reading what is there to the last record.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Extensions, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::admin::AdminError;
use crate::api::call::Access;
use crate::api::{
    ScimAddGroup, ScimAddUser, ScimConfig, ScimGroup, ScimGroups, ScimPatchGroup, ScimPatchUser,
    ScimPutGroup, ScimPutUser, ScimRemoveGroup, ScimRemoveUser, ScimResourceType,
    ScimResourceTypes, ScimSchema, ScimSchemas, ScimUser, ScimUsers,
};
use crate::core::directory::Pushed;
use crate::model::client::Client;
use crate::model::group::SourceGroup;
use crate::model::user::User;
use crate::server::http::caller::{Arrival, Caller};
use crate::server::http::error::Failure;
use crate::server::http::route::Routes;
use crate::server::http::scim::document::{LIST, PAGE, abilities, list, schemas, types};
use crate::server::http::scim::error::{ScimError, answer};
use crate::server::http::scim::listed::get;
use crate::server::http::scim::patch::{equals, same};
use crate::server::http::{App, body, caller};
use crate::store::By;

mod document;
pub(super) mod error;
mod listed;
mod patch;
mod resource;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .on_request::<ScimUsers, _, _>(serve)
        .on_request::<ScimAddUser, _, _>(serve)
        .on_request::<ScimUser, _, _>(serve)
        .on_request::<ScimPutUser, _, _>(serve)
        .on_request::<ScimPatchUser, _, _>(serve)
        .on_request::<ScimRemoveUser, _, _>(serve)
        .on_request::<ScimGroups, _, _>(serve)
        .on_request::<ScimAddGroup, _, _>(serve)
        .on_request::<ScimGroup, _, _>(serve)
        .on_request::<ScimPutGroup, _, _>(serve)
        .on_request::<ScimPatchGroup, _, _>(serve)
        .on_request::<ScimRemoveGroup, _, _>(serve)
        .on_request::<ScimConfig, _, _>(serve)
        .on_request::<ScimResourceTypes, _, _>(serve)
        .on_request::<ScimResourceType, _, _>(serve)
        .on_request::<ScimSchemas, _, _>(serve)
        .on_request::<ScimSchema, _, _>(serve)
}

/// Serves every call below `/scim/v2`.
async fn serve(State(app): State<Arc<App>>, request: Request) -> Response {
    served(&app, request)
        .await
        .unwrap_or_else(IntoResponse::into_response)
}

/// A request of a provider.
struct Asked<'a> {
    app: &'a Arc<App>,
    source: Pushed,
    by: By,
    method: Method,
    query: Query,
    body: Value,
}

/// What a list is asked for.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Query {
    filter: Option<String>,
    start_index: Option<i64>,
    count: Option<i64>,
    attributes: Option<String>,
    excluded_attributes: Option<String>,
}

/// Who pushes, and what; only with a key that may do nothing else.
fn provider(app: &App, extensions: &Extensions) -> Result<(Arc<Client>, Pushed), Failure> {
    let caller: Option<&Caller> = extensions.get();
    let client = caller.and_then(Caller::pushes).ok_or_else(|| {
        Failure::forbidden("this needs a key with the scope `scim`, no other scope and no realm")
    })?;
    let source = app.core().directories().pushed_by(&client.name);
    let source = source
        .ok_or_else(|| Failure::forbidden("no [source.NAME] of kind scim names this client"))?;
    Ok((Arc::clone(client), source))
}

async fn served(app: &Arc<App>, request: Request<Body>) -> Result<Response, ScimError> {
    let (mut parts, body) = request.into_parts();
    provider(app, &parts.extensions)?;
    let arrival: Option<Arrival> = parts.extensions.get().copied();
    let arrival = arrival.ok_or(Failure::INTERNAL)?;
    let octets = body::read(body, BODY, app).await?;
    let body = if octets.is_empty() {
        Value::Null
    } else {
        body::parse(&octets)?
    };
    let _turn = if parts.method == Method::GET {
        None
    } else {
        let turn = app.admin().turn_to_push();
        let turn = tokio::time::timeout(app.limits().request_timeout, turn).await;
        Some(turn.map_err(|_| Failure::unavailable("other changes of users are under way"))?)
    };
    // The body took its time, and so did the turn.
    caller::again(app, &mut parts, Access::Scim)?;
    let (client, source) = provider(app, &parts.extensions)?;
    let by = By {
        request: arrival.id,
        actor: format!("api:{}", client.name),
        person: None,
        at: arrival.at,
        limited: true,
    };
    let asked = Asked {
        app,
        source,
        by,
        method: parts.method.clone(),
        query: body::query(&parts.uri)?,
        body,
    };
    let path = parts.uri.path().strip_prefix("/scim/v2/");
    let mut places = path.unwrap_or_default().splitn(2, '/');
    let (kind, id) = (places.next().unwrap_or_default(), places.next());
    match (kind, id) {
        ("Users", None) => asked.users().await,
        ("Users", Some(id)) => asked.user(id).await,
        ("Groups", None) => asked.groups().await,
        ("Groups", Some(id)) => asked.group(id).await,
        ("ServiceProviderConfig", None) => Ok(answer(StatusCode::OK, &abilities(base(app)))),
        ("ResourceTypes", id) => described(&types(base(app)), id),
        ("Schemas", id) => described(&schemas(base(app)), id),
        _ => Err(ScimError::missing()),
    }
}

/// What the addresses of resources begin with (RFC 7643 s3.1: `meta.location` is a URI). Where the configuration does
/// not say how the server is reached, they are paths.
fn base(app: &App) -> &str {
    let url = app.info().public_url.as_deref();
    url.unwrap_or_default().trim_end_matches('/')
}

/// All of what describes the server, or the one of this id.
fn described(all: &[Value], id: Option<&str>) -> Result<Response, ScimError> {
    let Some(id) = id else {
        return Ok(answer(StatusCode::OK, &list(all)));
    };
    let mut all = all.iter();
    let one = all.find(|one| get(one, "id").and_then(Value::as_str) == Some(id));
    let one = one.ok_or_else(ScimError::missing)?;
    Ok(answer(StatusCode::OK, one))
}

impl Asked<'_> {
    /// The realm of its users, and where the server is reached.
    fn place(&self) -> (&str, &str) {
        (self.source.realm.as_str(), base(self.app))
    }

    fn shown(&self, user: &User, groups: &[SourceGroup]) -> Value {
        Value::Object(resource::user(user, groups, self.place()))
    }

    async fn users(self) -> Result<Response, ScimError> {
        let admin = self.app.admin();
        let groups = admin.source_groups(&self.source.name).await?;
        if self.method == Method::POST {
            let person = resource::person(&self.body, "")?;
            let made = admin.push_user(&self.source, person, &self.by).await?;
            return Ok(answer(StatusCode::CREATED, &self.shown(&made, &groups)));
        }
        let filter = self.query.filter()?;
        let asked = filter.as_ref().and_then(|(name, wanted)| {
            let wanted = wanted.as_str()?;
            Some((name.to_ascii_lowercase(), wanted))
        });
        let source = self.source.name.as_str();
        // What a provider asks before each change: no reading of all users.
        let found = match asked
            .as_ref()
            .map(|(name, wanted)| (name.as_str(), *wanted))
        {
            Some(("username", name)) => {
                admin.user_called(&self.source, name)?.into_iter().collect()
            }
            Some(("id", id)) => match admin.user_of(source, id).await {
                Err(AdminError::NotFound(_)) => Vec::new(),
                found => vec![found?],
            },
            Some(("externalid", external)) => admin.users_of_external(source, external).await?,
            None if filter.is_none() => {
                let (skip, take) = self.query.places();
                let (total, users) = admin.some_users_of(source, skip, take).await?;
                let users = users.iter().map(|user| self.shown(user, &groups));
                return Ok(self.answer_page(total, users));
            }
            _ => {
                let users = admin.users_of(source).await?;
                let all = users.iter().map(|user| self.shown(user, &groups));
                return Ok(self.page(all.collect(), filter));
            }
        };
        let found = found.iter().map(|user| self.shown(user, &groups));
        Ok(self.page(found.collect(), None))
    }

    async fn user(self, id: &str) -> Result<Response, ScimError> {
        let admin = self.app.admin();
        let source = self.source.name.as_str();
        let groups = admin.source_groups(source).await?;
        let user = admin.user_of(source, id).await?;
        let new = match self.method.as_str() {
            "GET" => {
                let user = self.shown(&user, &groups);
                return Ok(answer(StatusCode::OK, &self.query.cut(user)));
            }
            "DELETE" => {
                admin.push_away(source, user, &self.by).await?;
                return Ok(StatusCode::NO_CONTENT.into_response());
            }
            "PATCH" => {
                let mut resource = resource::user(&user, &groups, self.place());
                patch::apply(&mut resource, &self.body)?;
                Value::Object(resource)
            }
            _ => self.body.clone(),
        };
        let person = resource::person(&new, id)?;
        let changed = admin.push_user(&self.source, person, &self.by).await?;
        let changed = self.shown(&changed, &groups);
        Ok(answer(StatusCode::OK, &self.query.cut(changed)))
    }

    async fn groups(self) -> Result<Response, ScimError> {
        if self.method == Method::POST {
            resource::few_members(&self.body)?;
            return self.put_group(None, &self.body).await;
        }
        let admin = self.app.admin();
        let source = self.source.name.as_str();
        let filter = self.query.filter()?;
        let groups = admin.source_groups(source).await?;
        let bare = groups
            .iter()
            .map(|group| resource::group(group, None, ("", "")));
        let fitting = Self::fitting(bare.map(Value::Object).collect(), filter);
        let (skip, take) = self.query.places();
        let mut page = Vec::new();
        for group in fitting.iter().skip(skip).take(take) {
            let id = get(group, "id").and_then(Value::as_str);
            let group = groups.iter().find(|group| id == Some(&group.id));
            if let Some(group) = group {
                page.push(Value::Object(self.shown_group(group).await?));
            }
        }
        Ok(self.answer_page(fitting.len(), page.into_iter()))
    }

    async fn group(self, id: &str) -> Result<Response, ScimError> {
        let admin = self.app.admin();
        let source = self.source.name.as_str();
        let groups = admin.source_groups(source).await?;
        let group = groups.iter().find(|group| group.id == id);
        let group = group.ok_or_else(ScimError::missing)?;
        match self.method.as_str() {
            "GET" => {
                let group = Value::Object(self.shown_group(group).await?);
                Ok(answer(StatusCode::OK, &self.query.cut(group)))
            }
            "DELETE" => {
                let removed = admin.remove_source_group(&self.source, id, &self.by);
                removed.await?;
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            "PATCH" => {
                let admin = self.app.admin();
                let members = admin.members_of(source, group).await?;
                let mut resource = resource::group(group, Some(&members), self.place());
                patch::apply(&mut resource, &self.body)?;
                self.put_group(Some(id), &Value::Object(resource)).await
            }
            _ => {
                resource::few_members(&self.body)?;
                self.put_group(Some(id), &self.body).await
            }
        }
    }

    /// A group as a resource; without its members where they are not asked for.
    async fn shown_group(
        &self,
        group: &SourceGroup,
    ) -> Result<serde_json::Map<String, Value>, ScimError> {
        let admin = self.app.admin();
        let members = if self.query.asks("members") {
            Some(admin.members_of(&self.source.name, group).await?)
        } else {
            None
        };
        Ok(resource::group(group, members.as_deref(), self.place()))
    }

    async fn put_group(&self, id: Option<&str>, resource: &Value) -> Result<Response, ScimError> {
        let (name, external, members) = resource::group_of(resource)?;
        let group = SourceGroup {
            id: id.unwrap_or_default().to_owned(),
            name,
            external,
            created: self.by.at,
            modified: self.by.at,
        };
        let members: BTreeSet<String> = members.into_iter().collect();
        let admin = self.app.admin();
        let pushed = admin.push_group(&self.source, group, &members, &self.by);
        let group = pushed.await?;
        let group = Value::Object(self.shown_group(&group).await?);
        let status = match id {
            None => StatusCode::CREATED,
            Some(_) => StatusCode::OK,
        };
        Ok(answer(status, &self.query.cut(group)))
    }

    /// Those that the filter takes, a page of them.
    fn page(&self, all: Vec<Value>, filter: Option<(&str, Value)>) -> Response {
        let all = Self::fitting(all, filter);
        let (skip, take) = self.query.places();
        let total = all.len();
        self.answer_page(total, all.into_iter().skip(skip).take(take))
    }

    /// Those that the filter takes.
    fn fitting(mut all: Vec<Value>, filter: Option<(&str, Value)>) -> Vec<Value> {
        if let Some((name, wanted)) = filter {
            // Identities have a case (RFC 7643 s3.1).
            let exact = EXACT.iter().any(|one| one.eq_ignore_ascii_case(name));
            let takes = |found: &Value| {
                if exact {
                    *found == wanted
                } else {
                    same(found, &wanted)
                }
            };
            all.retain(|one| get(one, name).is_some_and(takes));
        }
        all
    }

    /// A page of so many in all.
    fn answer_page(&self, total: usize, page: impl Iterator<Item = Value>) -> Response {
        let page: Vec<Value> = page.map(|one| self.query.cut(one)).collect();
        let document = json!({
            "schemas": [LIST],
            "totalResults": total,
            "startIndex": self.query.start_index.unwrap_or(1).max(1),
            "itemsPerPage": page.len(),
            "Resources": page,
        });
        answer(StatusCode::OK, &document)
    }
}

impl Query {
    /// The comparison that is asked for.
    fn filter(&self) -> Result<Option<(&str, Value)>, ScimError> {
        let Some(filter) = &self.filter else {
            return Ok(None);
        };
        let (name, wanted) = equals(filter)?;
        let mut known = EXACT.iter().chain(&FOLDED);
        if filter.len() > FILTER || !known.any(|known| known.eq_ignore_ascii_case(name)) {
            let detail = "filters: id, externalId, userName or displayName `eq` a text of at most 512 octets";
            return Err(ScimError::of(400, "invalidFilter", detail));
        }
        Ok(Some((name, wanted)))
    }

    /// How many resources stand before the page that is asked for, and how many are in it.
    fn places(&self) -> (usize, usize) {
        let start = self.start_index.unwrap_or(1).max(1);
        let count = self.count.unwrap_or(PAGE).clamp(0, PAGE);
        let skip = usize::try_from(start - 1).unwrap_or(usize::MAX);
        (skip, usize::try_from(count).unwrap_or_default())
    }

    /// Whether this attribute is asked for.
    fn asks(&self, name: &str) -> bool {
        let named = |text: &String| {
            text.split(',')
                .any(|one| one.trim().eq_ignore_ascii_case(name))
        };
        let wanted = self.attributes.as_ref().is_none_or(named);
        wanted && !self.excluded_attributes.as_ref().is_some_and(named)
    }

    /// With the attributes that are asked for (RFC 7644 s3.9).
    fn cut(&self, mut resource: Value) -> Value {
        let names = |text: &Option<String>| -> Option<Vec<String>> {
            let text = text.as_ref()?;
            Some(
                text.split(',')
                    .map(|name| name.trim().to_lowercase())
                    .collect(),
            )
        };
        let Some(fields) = resource.as_object_mut() else {
            return resource;
        };
        if let Some(wanted) = names(&self.attributes) {
            let always = ["schemas", "id"];
            let keep = |name: &str| wanted.iter().any(|one| one == name) || always.contains(&name);
            fields.retain(|name, _| keep(&name.to_lowercase()));
        }
        if let Some(left) = names(&self.excluded_attributes) {
            fields.retain(|name, _| name == "id" || !left.contains(&name.to_lowercase()));
        }
        resource
    }
}

/// Attributes that a filter compares exactly.
const EXACT: [&str; 2] = ["id", "externalId"];
/// Those it compares without case.
const FOLDED: [&str; 2] = ["userName", "displayName"];
/// Most octets of a filter.
const FILTER: usize = 512;
/// Most octets of a body: a group with thousands of members.
const BODY: usize = 1024 * 1024;
