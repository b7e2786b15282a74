//! What a person sees of their own.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::admin::self_service::lets_take;
use crate::admin::{Admin, AdminError};
use crate::model::audit::{AuditRecord, DecisionEvent, Event, Purpose};
use crate::model::device::{Device, DeviceState};
use crate::model::kind::Kind;
use crate::model::message::{Language, Medium, mask};
use crate::model::reason::Decision;
use crate::model::token::{LifeCycle, Token, TokenState};
use crate::model::user::User;
use crate::model::user_key::SELF_SERVICE;
use crate::store::AuditQuery;
use crate::time::UnixTime;
use crate::web::Desk;
use crate::web::portal::owner::Owner;
use crate::web::text::Text;
use crate::web::view::{Block, Field, Form, Input, Piece, Table, Tone};

/// `GET /me`
pub(super) async fn show(State(desk): State<Desk>, owner: Owner) -> Response {
    match blocks(&desk, &owner).await {
        Ok(blocks) => {
            let title = owner.visit.t.get("me.title");
            owner.page(title, blocks).answer(StatusCode::OK)
        }
        Err(error) => owner.refused(&error),
    }
}

async fn blocks(desk: &Desk, owner: &Owner) -> Result<Vec<Block>, AdminError> {
    let app = &desk.app;
    let at = app.core().now();
    let view = app.core().store().view(&owner.user)?;
    let view = view.ok_or(AdminError::NotFound("user"))?;
    let credentials = app.core().store().credentials(&owner.user)?;
    let devices = app.admin().devices_of(&owner.user)?;
    let logins = logins(desk, owner, at).await?;
    let show = Show { owner, at };
    Ok(vec![
        show.tokens(&view.tokens),
        show.logins(&logins),
        show.devices(&devices),
        show.more(&view.tokens, credentials.pin.is_some(), takes_stock(desk)),
        show.account(&view.user, app.admin()),
        show.consents(&view.user),
    ])
}

/// Whether the policy of self-service lets people take tokens in stock into use.
fn takes_stock(desk: &Desk) -> bool {
    let policies = desk.app.core().policies();
    let policy = policies.get(SELF_SERVICE);
    policy.is_some_and(|policy| lets_take(&policy.enrolment))
}

async fn logins(desk: &Desk, owner: &Owner, at: UnixTime) -> Result<Vec<AuditRecord>, AdminError> {
    let since = at.as_millis().saturating_sub(MONTH);
    let query = AuditQuery {
        user: Some(owner.user.to_string()),
        since: Some(UnixTime::from_millis(since)),
        limit: LOOKED_AT,
        ..AuditQuery::default()
    };
    let mut records = desk.app.core().store().audit(query).await?;
    records.retain(|record| match &record.event {
        Event::Decision(event) => {
            event.purpose == Purpose::Login && event.reason.decision() != Decision::Challenge
        }
        Event::Change(_) => false,
    });
    records.truncate(SHOWN);
    Ok(records)
}

struct Show<'a> {
    owner: &'a Owner,
    at: UnixTime,
}

impl Show<'_> {
    const fn t(&self) -> Text {
        self.owner.visit.t
    }

    fn tokens(&self, all: &[(Token, TokenState)]) -> Block {
        let t = self.t();
        let rows = all.iter().map(|(token, state)| {
            let now = token.state_at(self.at);
            let word = format!("me.is.{now}");
            let tone = match now {
                LifeCycle::Active => Tone::Good,
                LifeCycle::Suspended => Tone::Warn,
                _ => Tone::Plain,
            };
            let kind = format!("me.kind.{}", token.kind);
            let kind = t.find(&kind).unwrap_or(token.kind.as_str());
            let lost = Form {
                inline: true,
                tone: Tone::Bad,
                ..Form::new("/me/lost", t.get("me.lost")).hidden("serial", token.serial.as_str())
            };
            let mut acts = vec![last(state.last_accept)];
            if now == LifeCycle::Active {
                acts.push(Piece::Form(lost));
            }
            let what = vec![
                Piece::text(kind),
                Piece::Mono(token.serial.to_string()),
                Piece::chip(tone, t.find(&word).unwrap_or(now.as_str())),
            ];
            vec![what, acts]
        });
        let table = Table {
            label: t.get("me.tokens").to_owned(),
            head: ["me.token", "me.used"]
                .map(|key| t.find(key).unwrap_or(key).to_owned())
                .to_vec(),
            rows: rows.collect(),
            empty: t.get("me.no_tokens").to_owned(),
            ..Table::default()
        };
        Block::Card(vec![
            Block::Heading(t.get("me.tokens").to_owned()),
            Block::Text(t.get("me.tokens_hint").to_owned()),
            Block::Table(table),
        ])
    }

    fn logins(&self, all: &[AuditRecord]) -> Block {
        let t = self.t();
        let rows = all.iter().filter_map(|record| match &record.event {
            Event::Decision(event) => Some(self.login(record.at, event)),
            Event::Change(_) => None,
        });
        let table = Table {
            label: t.get("me.logins").to_owned(),
            head: ["me.when", "me.came"]
                .map(|key| t.find(key).unwrap_or(key).to_owned())
                .to_vec(),
            rows: rows.collect(),
            empty: t.get("me.no_logins").to_owned(),
            ..Table::default()
        };
        let not_me = Form {
            tone: Tone::Bad,
            folded: true,
            hint: t.get("me.not_me_hint").to_owned(),
            ..Form::new("/me/not-me", t.get("me.not_me"))
        };
        Block::Card(vec![
            Block::Heading(t.get("me.logins").to_owned()),
            Block::Table(table),
            Block::Form(not_me),
        ])
    }

    fn login(&self, at: UnixTime, event: &DecisionEvent) -> Vec<Vec<Piece>> {
        let t = self.t();
        let (tone, word) = match event.reason.decision() {
            Decision::Accept => (Tone::Good, t.get("me.accepted")),
            _ => (Tone::Bad, t.get("me.refused")),
        };
        let client = match &*event.client {
            SELF_SERVICE => t.get("me.here"),
            other => other,
        };
        let mut when = vec![time(at), Piece::text(client)];
        when.extend(event.source.map(|source| Piece::Mono(source.to_string())));
        let key = format!("reason.{}", event.reason);
        let why = t.find(&key).unwrap_or(event.reason.as_str());
        vec![
            when,
            vec![Piece::chip(tone, word), Piece::Faint(why.to_owned())],
        ]
    }

    fn devices(&self, all: &[(Device, DeviceState)]) -> Block {
        let t = self.t();
        let live = all.iter().filter(|(device, _)| !device.revoked);
        let rows = live.map(|(device, state)| {
            let end = Form {
                inline: true,
                tone: Tone::Bad,
                ..Form::new("/me/device", t.get("me.end")).hidden("device", device.id.as_str())
            };
            let rename = Form {
                folded: true,
                ..Form::new("/me/device/name", t.get("me.rename"))
                    .hidden("device", device.id.as_str())
                    .field(
                        Field::new("name", t.get("me.device_name"), Input::Text)
                            .value(device.name.clone())
                            .required(),
                    )
            };
            let mut acts = vec![last(state.last_seen)];
            acts.push(Piece::Form(rename));
            acts.push(Piece::Form(end));
            let what = vec![
                Piece::text(&device.name),
                Piece::Mono(device.id.to_string()),
            ];
            vec![what, acts]
        });
        let table = Table {
            label: t.get("me.devices").to_owned(),
            head: ["me.device", "me.used"]
                .map(|key| t.find(key).unwrap_or(key).to_owned())
                .to_vec(),
            rows: rows.collect(),
            empty: t.get("me.no_devices").to_owned(),
            ..Table::default()
        };
        Block::Card(vec![
            Block::Heading(t.get("me.devices").to_owned()),
            Block::Table(table),
        ])
    }

    /// A form with password and code.
    fn proven(&self, to: &str, button: &str, hint: &str) -> Form {
        let t = self.t();
        let password = Field::new("password", t.get("sign_in.password"), Input::Password);
        let code = Field::new("code", t.get("sign_in.code"), Input::Code).required();
        Form {
            folded: true,
            hint: hint.to_owned(),
            ..Form::new(to, button).field(password).field(code)
        }
    }

    /// What takes more proof: another token, recovery codes, a new PIN.
    fn more(&self, tokens: &[(Token, TokenState)], has_pin: bool, takes_stock: bool) -> Block {
        let t = self.t();
        let mut replaced = vec![(String::new(), t.get("me.replaces_none").to_owned())];
        replaced.extend(tokens.iter().filter_map(|(token, _)| {
            let live = token.state_at(self.at).may_become(LifeCycle::Revoked);
            let ours = live && matches!(token.kind, Kind::Totp | Kind::Hotp);
            let name = token.serial.to_string();
            ours.then(|| (name.clone(), name))
        }));
        let another = self
            .proven("/me/token", t.get("me.another"), t.get("me.another_hint"))
            .field(Field::new("replaces", t.get("me.replaces"), Input::Select).options(replaced));
        let sheet = self.proven(
            "/me/recovery",
            t.get("me.recovery"),
            t.get("me.recovery_hint"),
        );
        let pin = Form {
            folded: true,
            hint: t.get("me.pin_hint").to_owned(),
            ..Form::new("/me/pin", t.get("me.pin"))
                .field(Field::new("pin", t.get("me.pin_old"), Input::Password).required())
                .field(Field::new("code", t.get("sign_in.code"), Input::Code).required())
                .field(Field::new("new", t.get("me.pin_new"), Input::NewPassword).required())
                .field(Field::new("again", t.get("me.pin_again"), Input::NewPassword).required())
        };
        let mut blocks = vec![
            Block::Heading(t.get("me.more").to_owned()),
            Block::Text(t.get("me.more_hint").to_owned()),
            Block::Form(another),
            Block::Form(sheet),
        ];
        blocks.extend(takes_stock.then(|| Block::Form(self.stock())));
        blocks.extend(has_pin.then_some(Block::Form(pin)));
        Block::Card(blocks)
    }

    /// A token that was handed over, taken into use.
    fn stock(&self) -> Form {
        let t = self.t();
        let code = |name: &str, label: &str| Field::new(name, t.get(label), Input::Code).required();
        self.proven("/me/stock", t.get("me.stock"), t.get("me.stock_hint"))
            .field(Field::new("serial", t.get("me.stock_serial"), Input::Text).required())
            .field(code("first", "me.stock_first"))
            .field(code("second", "me.stock_second"))
    }

    fn account(&self, user: &User, admin: &Admin) -> Block {
        let t = self.t();
        let shown = |medium, text: &Option<String>| match text {
            Some(text) => Piece::text(mask(medium, text)),
            None => Piece::Faint(t.get("me.none").to_owned()),
        };
        let facts = vec![
            (
                t.get("me.phone").to_owned(),
                vec![shown(Medium::Sms, &user.phone)],
            ),
            (
                t.get("me.email").to_owned(),
                vec![shown(Medium::Email, &user.email)],
            ),
        ];
        let languages = [
            (Language::En, "English"),
            (Language::Ko, "\u{d55c}\u{ad6d}\u{c5b4}"),
        ];
        let languages = languages.map(|(one, name)| (one.as_str().to_owned(), name.to_owned()));
        let language = Form::new("/me/language", t.get("me.language_set")).field(
            Field::new("language", t.get("me.language"), Input::Select)
                .value(user.language.as_str())
                .options(languages.to_vec()),
        );
        let contact = |which: &str, button: &str, label: &str| {
            self.proven("/me/contact", button, t.get("me.contacts_hint"))
                .hidden("which", which)
                .field(Field::new("address", label, Input::Text).required())
        };
        let mut blocks = vec![
            Block::Heading(t.get("me.account").to_owned()),
            Block::Facts(facts),
        ];
        let forms = [
            ("phone", "me.phone_set", "me.phone_new"),
            ("email", "me.email_set", "me.email_new"),
        ];
        // Where it cannot be read who says it, the form refuses.
        let source = |which: &str| admin.said_by(user, which).ok().flatten();
        let followed = forms.iter().find_map(|(which, ..)| source(which));
        let forms = forms.iter().filter(|(which, ..)| source(which).is_none());
        let forms = forms
            .map(|(which, button, label)| Block::Form(contact(which, t.get(button), t.get(label))));
        let told = followed.map(|source| t.with("me.followed", &[("source", &source)]));
        blocks.extend(told.map(Block::Text));
        blocks.extend(forms);
        blocks.push(Block::Form(language));
        Block::Card(blocks)
    }

    /// What the person agreed to, and may take back.
    fn consents(&self, user: &User) -> Block {
        let t = self.t();
        let (tone, word) = if user.remote_issue {
            (Tone::Good, t.get("me.consent_given"))
        } else {
            (Tone::Plain, t.get("me.consent_none"))
        };
        let facts = vec![(
            t.get("me.consent_remote").to_owned(),
            vec![Piece::chip(tone, word)],
        )];
        let mut blocks = vec![
            Block::Heading(t.get("me.consents").to_owned()),
            Block::Text(t.get("me.consents_hint").to_owned()),
            Block::Facts(facts),
        ];
        if user.remote_issue {
            blocks.push(Block::Form(Form {
                tone: Tone::Bad,
                folded: true,
                hint: t.get("me.withdraw_hint").to_owned(),
                ..Form::new("/me/consent", t.get("me.withdraw"))
            }));
        }
        Block::Card(blocks)
    }
}

/// To the minute, in UTC as the audit says it.
fn time(at: UnixTime) -> Piece {
    let text = at.rfc3339();
    let text = text.get(..16).unwrap_or(&text).replace('T', " ");
    Piece::Faint(format!("{text} UTC"))
}

/// When something was last used.
fn last(at: Option<UnixTime>) -> Piece {
    at.map_or_else(|| Piece::Faint("-".to_owned()), time)
}

/// Logins that are shown.
const SHOWN: usize = 20;
/// Records that are looked at for them.
const LOOKED_AT: usize = 200;
/// How far back, in milliseconds: 31 days.
const MONTH: u64 = 31 * 86_400_000;
