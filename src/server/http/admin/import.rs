//! `/v1/admin/import`.

use std::sync::Arc;

use crate::admin::{
    About, AdminError, Existing, Held, ImportRow, Importing, SERIAL_EXISTS, USER_EXISTS,
};
use crate::api::{self, ImportUsers};
use crate::model::id::Serial;
use crate::model::token::LifeCycle;
use crate::model::user_key::UserKey;
use crate::server::http::App;
use crate::server::http::admin::tokens;
use crate::server::http::error::Failure;
use crate::server::http::read::user_key;
use crate::server::http::route::{Admin, Routes};

pub(super) fn routes(routes: Routes) -> Routes {
    routes.on(import)
}

async fn import(app: Arc<App>, call: Admin<ImportUsers>) -> Result<api::Imported, Failure> {
    let wanted = call.body;
    let users = match wanted.make.as_str() {
        "users" => true,
        "tokens" => false,
        _ => return Err(Failure::malformed("make: one of users, tokens")),
    };
    let existing = match wanted.on_conflict.as_deref() {
        None | Some("fail") => Existing::Fail,
        Some("skip") => Existing::Skip,
        Some(_) => return Err(Failure::malformed("on_conflict: one of fail, skip")),
    };
    if wanted.rows.is_empty() || wanted.rows.len() > ROWS {
        return Err(Failure::malformed("rows: 1 to 500"));
    }
    let rows = wanted.rows.into_iter().enumerate();
    let rows = rows.map(|(index, row)| {
        read(&app, row, users).map_err(|error| error.at(&format!("rows[{index}]")))
    });
    let rows: Vec<ImportRow> = rows.collect::<Result<_, _>>()?;
    let how = Importing {
        existing,
        link: wanted.link,
        dry_run: wanted.dry_run,
    };
    let made = app.admin().import(&rows, how, call.from).await?;
    let refused = made
        .refused
        .into_iter()
        .map(|(row, why)| api::ImportRefusal {
            row,
            kind: kind_of(&why).to_owned(),
            detail: why_not(rows.get(row), &why),
        });
    let first = made.weak.first();
    let warnings = first.map(|row| api::weak_keys(made.weak.len(), &format!("rows[{row}]")));
    Ok(api::Imported {
        users: made.users,
        tokens: made.tokens,
        linked: made.linked,
        there: made.there,
        skipped: made.skipped,
        refused: refused.collect(),
        warnings: warnings.into_iter().collect(),
    })
}

/// What a caller can do about a row, in a word.
fn kind_of(why: &AdminError) -> &'static str {
    match why {
        AdminError::Conflict(USER_EXISTS | SERIAL_EXISTS) => "exists",
        AdminError::Conflict(_) | AdminError::SeedTaken(_) | AdminError::KeyHeld { .. } => {
            "conflict"
        }
        AdminError::NotFound(_) => "not-found",
        _ => "malformed",
    }
}

/// Why a row cannot be made, with the name of its user.
fn why_not(row: Option<&ImportRow>, why: &AdminError) -> String {
    let Some(ImportRow { user, .. }) = row else {
        return why.to_string();
    };
    match why {
        AdminError::NotFound(what) => format!("there is no {what} {user}"),
        AdminError::SeedTaken(_) if user.is_stock() => format!("{why}; leave one of the rows out"),
        AdminError::KeyHeld { serial, held } => match held {
            Held::InStock => {
                format!("{why}; give it to them: oncegate token assign {serial} {user}")
            }
            Held::State(LifeCycle::Revoked | LifeCycle::Expired) => {
                format!(
                    "{why}; remove it first, its used codes stay used: oncegate token remove {serial}"
                )
            }
            Held::State(_) => format!("{why}; it has to be in use: oncegate token show {serial}"),
            Held::OtherCodes(_) | Held::OtherSerial => format!(
                "{why}; correct the file, or remove that token: oncegate token remove {serial}"
            ),
        },
        AdminError::SeedTaken(serial) => {
            let serial = serial.as_ref().map_or("SERIAL", Serial::as_str);
            format!(
                "{why}; remove that token: oncegate token remove {serial}; if the two users share the device, \
                 let it count for both: import with --link, or oncegate token link {serial} {user}"
            )
        }
        _ => {
            let text = why.to_string();
            match text.strip_prefix("the user ") {
                Some(rest) => format!("the user {user} {rest}"),
                None => text,
            }
        }
    }
}

fn read(app: &App, row: api::ImportRow, users: bool) -> Result<ImportRow, Failure> {
    let stock = !users && row.user.is_empty();
    let token = match row.secret {
        Some(secret) => Some(tokens::wanted(&api::TokenCreate {
            // Of the stock below.
            user: if stock {
                "stock".to_owned()
            } else {
                row.user.clone()
            },
            kind: row.kind.unwrap_or_else(|| "totp".to_owned()),
            algorithm: row.algorithm,
            digits: row.digits,
            period: row.period,
            secret: Some(secret),
            counter: row.counter,
            active: true,
            serial: row.serial,
            ..api::TokenCreate::default()
        })?),
        None if !users => return Err(Failure::malformed("secret: missing")),
        None => None,
    };
    let owner = |name: UserKey| match (stock, users) {
        (true, _) => Ok(UserKey::stock()),
        // A user who is made has this name.
        (_, true) => Ok(name),
        (_, false) => app.core().store().named(name),
    };
    let token = match token {
        Some(mut token) => {
            token.user = owner(token.user)?;
            Some(token)
        }
        None => None,
    };
    let user = match &token {
        Some(token) => token.user.clone(),
        None => user_key(&row.user)?,
    };
    let about = About {
        aliases: row.aliases,
        groups: row.groups,
        display_name: row.display_name,
        phone: row.phone,
        email: row.email,
        class: row.class,
    };
    Ok(ImportRow {
        user,
        about: Some(about).filter(|_| users),
        token,
        pin_hash: row.pin_hash,
        password_hash: row.password_hash,
    })
}

/// Most rows of a batch: what waits behind it in the writer's queue waits some milliseconds.
const ROWS: usize = 500;
