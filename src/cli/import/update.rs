//! `oncegate user import --update`: the users of a file are as the file says.
//!
//! ```text
//! rows, users on record -> new | changed (field by field) | gone -> shown (--dry-run), or made
//! ```
//!
//! Invariants: a column that the file has not is left alone, an empty field of one that it has clears; users
//! who are missing are disabled, never removed, and only in realms that the file is about; a file that would
//! disable more than a tenth of them is refused unless it was asked for, because it is more often cut off than
//! right.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use crate::api::{ListUsers, SetUser, User, UserChange, UserPage};
use crate::cli::columns;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::import::batches::Rows;
use crate::cli::import::rows::check;
use crate::cli::import::seen::{aliases, groups};
use crate::cli::import::send::{Asked, ended};
use crate::cli::import::{Import, Make, OnConflict, Source, warn};
use crate::cli::output::{self, Table, or_dash, printable};
use crate::cli::paging;
use crate::cli::transport::Transport;
use crate::csv::Row;
use crate::model::user_key::UserKey;
use crate::time::{Clock as _, SystemClock};

#[derive(Debug, Args)]
pub(in crate::cli) struct UserImport {
    #[command(flatten)]
    import: Import,
    /// Also change users who exist: what the file says of them is set, an empty field clears
    #[arg(long, conflicts_with = "on_conflict")]
    update: bool,
    /// Disable users of the file's realms who are not in the file
    #[arg(long, requires = "update")]
    disable_missing: bool,
    /// Disable more than a tenth of them
    #[arg(long, requires = "disable_missing")]
    force: bool,
}

/// What the file changes.
#[derive(Debug, Default, Serialize)]
struct Plan {
    dry_run: bool,
    created: Vec<String>,
    changed: Vec<Difference>,
    disabled: Vec<String>,
    unchanged: u64,
    /// What is weak about the tokens of new users.
    warnings: Vec<String>,
}

/// A field of a user that becomes another.
#[derive(Debug, Serialize)]
struct Difference {
    user: String,
    field: &'static str,
    before: Option<String>,
    after: Option<String>,
}

impl Difference {
    /// What it becomes, for people. A number without its country is put on record with that of
    /// `limits.delivery_home`, which only the server knows.
    fn becomes(&self) -> Option<Cow<'_, str>> {
        let after = self.after.as_deref()?;
        if self.field != "phone" || after.trim_start().starts_with('+') {
            return Some(after.into());
        }
        Some(format!("{after} (as written)").into())
    }
}

/// What the file says of a user: columns that it does not have are `None`.
struct Wanted {
    aliases: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    display_name: Option<Option<String>>,
    phone: Option<Option<String>>,
    email: Option<Option<String>>,
    class: Option<Option<String>>,
}

impl UserImport {
    pub(in crate::cli) async fn run(mut self, context: &Context) -> Result<Exit, CliError> {
        if !self.update {
            return self.import.run(Make::Users, context).await;
        }
        let text = self.import.text()?;
        let source = Source::new(&text);
        let mut looked = self.import.looked(source, Make::Users, context).await?;
        let rows = self.rows(source)?;
        let api = Arc::new(context.transport().await?);
        let users = paging::all::<ListUsers>(&api, UserPage::default(), None).await?;
        let users = users
            .users
            .into_iter()
            .map(|user| (user.user.clone(), user));
        let users: BTreeMap<String, User> = users.collect();
        let mut plan = self.plan(&rows, &users);
        plan.dry_run = self.import.dry_run;
        self.guard(&plan, &rows, &users)?;
        let created: HashSet<&str> = plan.created.iter().map(String::as_str).collect();
        looked
            .weak
            .retain(|weak| created.contains(weak.user.to_string().as_str()));
        plan.warnings = looked.warnings(source);
        if !plan.dry_run {
            self.import.on_conflict = OnConflict::Skip;
            let from = (source, &looked.left);
            self.carry_out(&plan, from, &rows, &api, context).await?;
        }
        warn(&self.import.name(), &plan.warnings);
        context.out.show(&plan, told)?;
        Ok(Exit::Done)
    }

    /// What each user's first row says.
    fn rows(&self, source: Source<'_>) -> Result<BTreeMap<UserKey, Wanted>, CliError> {
        let rows = source.rows(&self.import.ignore());
        let mut rows = rows.map_err(|fault| CliError::usage(fault.what))?;
        let has = |column| rows.has(column);
        let has = [
            has(columns::ALIAS),
            has(columns::GROUPS),
            has(columns::DISPLAY_NAME) || has(columns::NAME),
            has(columns::PHONE),
            has(columns::EMAIL),
            has(columns::CLASS),
        ];
        let now = SystemClock.now();
        let mut wanted = BTreeMap::new();
        while let Some(row) = rows.next() {
            // What is wrong was said when all rows were looked at.
            let Ok(row) = row else { continue };
            if let Ok((user, _)) = check(&row, Make::Users, now) {
                let first = Wanted::of(&row, &user, has);
                wanted.entry(user).or_insert(first);
            }
        }
        Ok(wanted)
    }

    fn plan(&self, rows: &BTreeMap<UserKey, Wanted>, users: &BTreeMap<String, User>) -> Plan {
        let mut plan = Plan::default();
        for (key, wanted) in rows {
            let name = key.to_string();
            let Some(user) = users.get(&name) else {
                plan.created.push(name);
                continue;
            };
            let differences = wanted.differences(user);
            plan.unchanged += u64::from(differences.is_empty());
            plan.changed.extend(differences);
        }
        if self.disable_missing {
            let realms: BTreeSet<&str> = rows.keys().map(UserKey::realm).collect();
            let named: BTreeSet<String> = rows.keys().map(ToString::to_string).collect();
            let gone = users.values().filter(|user| {
                !user.disabled
                    && realms.contains(user.realm.as_str())
                    && !named.contains(&user.user)
            });
            plan.disabled = gone.map(|user| user.user.clone()).collect();
        }
        plan
    }

    /// Refuses a file that would disable too many.
    fn guard(
        &self,
        plan: &Plan,
        rows: &BTreeMap<UserKey, Wanted>,
        users: &BTreeMap<String, User>,
    ) -> Result<(), CliError> {
        let realms: BTreeSet<&str> = rows.keys().map(UserKey::realm).collect();
        let enabled = users.values();
        let enabled = enabled.filter(|user| !user.disabled && realms.contains(user.realm.as_str()));
        let (gone, all) = (plan.disabled.len(), enabled.count());
        if self.force || gone.saturating_mul(10) <= all {
            return Ok(());
        }
        let what = format!(
            "{gone} of {all} users are not in the file: more than a tenth would be disabled"
        );
        Err(CliError::new(Exit::Conflict, what).remedy(
            "see that the file is whole; --dry-run --force shows who it is, --force does it; nothing was changed",
        ))
    }

    async fn carry_out(
        &self,
        plan: &Plan,
        (source, left): (Source<'_>, &HashSet<u64>),
        rows: &BTreeMap<UserKey, Wanted>,
        api: &Arc<Transport>,
        context: &Context,
    ) -> Result<(), CliError> {
        if !plan.created.is_empty() {
            let none = HashSet::new();
            let wanted = (Rows::AllBut(left, &none), rows.len() as u64);
            let asked = self
                .import
                .asked((source, Make::Users), (wanted, false), api, context);
            let Asked {
                done,
                refusals,
                stopped,
            } = asked.await?;
            ended(done, refusals, stopped, &self.import.name())?;
        }
        let mut changes: BTreeMap<&str, UserChange> = BTreeMap::new();
        for difference in &plan.changed {
            let change = changes.entry(&difference.user).or_default();
            let Some(wanted) = UserKey::parse(&difference.user)
                .ok()
                .and_then(|key| rows.get(&key))
            else {
                continue;
            };
            match difference.field {
                "aliases" => change.aliases.clone_from(&wanted.aliases),
                "groups" => change.groups.clone_from(&wanted.groups),
                "display_name" => change.display_name.clone_from(&wanted.display_name),
                "phone" => change.phone.clone_from(&wanted.phone),
                "email" => change.email.clone_from(&wanted.email),
                _ => change.class.clone_from(&wanted.class),
            }
        }
        for user in &plan.disabled {
            changes.entry(user).or_default().disabled = Some(true);
        }
        change_all(changes, api, context).await
    }
}

/// Changes one user after the other. One who is refused does not keep the others from it.
async fn change_all(
    changes: BTreeMap<&str, UserChange>,
    api: &Transport,
    context: &Context,
) -> Result<(), CliError> {
    let bar = output::progress(context.out, "update", changes.len() as u64);
    let mut refused = Vec::new();
    for (user, change) in changes {
        match api.send::<SetUser>(user, &change).await {
            // Of one user; the others are changed all the same.
            Err(error) if error.exit == Exit::Conflict => {
                refused.push(format!(
                    "Not changed: {}: {}",
                    printable(user),
                    error.line()
                ));
            }
            done => {
                done.map_err(|error| {
                    error.remedy_or(format!(
                        "user {} was not changed; the same command goes on with those who are left",
                        printable(user)
                    ))
                })?;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    for line in &refused {
        context.out.note(line);
    }
    if refused.is_empty() {
        return Ok(());
    }
    let count = output::count(refused.len() as u64, "user");
    let error = CliError::new(Exit::Conflict, format!("not changed: {count}, named above"));
    Err(error.remedy(
        "leave them out of the file, or change what is said there; all others were changed",
    ))
}

impl Wanted {
    fn of(
        row: &Row<'_>,
        user: &UserKey,
        [alias, groups_there, name, phone, email, class]: [bool; 6],
    ) -> Self {
        // As they are on record.
        let shown = |text: &str| {
            let key = UserKey::parse_in(text, user.realm());
            key.map_or_else(|_| text.to_owned(), |key| key.to_string())
        };
        let text = |there: bool, text: Option<&str>| there.then(|| text.map(str::to_owned));
        Self {
            aliases: alias.then(|| aliases(row).map(shown).collect()),
            groups: groups_there.then(|| groups(row).map(str::to_owned).collect()),
            display_name: text(name, columns::display_name(row)),
            phone: text(phone, row.get(columns::PHONE)),
            email: text(email, row.get(columns::EMAIL)),
            class: text(class, row.get(columns::CLASS)),
        }
    }

    /// Field by field.
    fn differences(&self, user: &User) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut add = |field, before: Option<String>, after: Option<String>| {
            let user = user.user.clone();
            found.push(Difference {
                user,
                field,
                before,
                after,
            });
        };
        for (field, before, after) in [
            ("aliases", &user.aliases, &self.aliases),
            ("groups", &user.groups, &self.groups),
        ] {
            if let Some(after) = after.as_ref().filter(|after| *after != before) {
                let text = |list: &Vec<String>| (!list.is_empty()).then(|| list.join(", "));
                add(field, text(before), text(after));
            }
        }
        let same_text: Same = |one, other| one == other;
        let same_mail: Same = |one, other| one.eq_ignore_ascii_case(other);
        let same_phone: Same = same_number;
        for (field, before, after, same) in [
            (
                "display_name",
                &user.display_name,
                &self.display_name,
                same_text,
            ),
            ("phone", &user.phone, &self.phone, same_phone),
            ("email", &user.email, &self.email, same_mail),
            ("class", &user.class, &self.class, same_text),
        ] {
            let Some(after) = after else { continue };
            let same = match (before, after) {
                (None, None) => true,
                (Some(before), Some(after)) => same(before, after),
                _ => false,
            };
            if !same {
                add(field, before.clone(), after.clone());
            }
        }
        found
    }
}

/// Whether two texts say the same.
type Same = fn(&str, &str) -> bool;

/// Whether a number as a person wrote it is the one on record, which has its country in front.
fn same_number(record: &str, written: &str) -> bool {
    let digits = |text: &str| -> String { text.chars().filter(char::is_ascii_digit).collect() };
    let (record, digits) = (digits(record), digits(written));
    if written.trim_start().starts_with('+') {
        return record == digits;
    }
    let national = digits.trim_start_matches('0');
    let rest = record.strip_suffix(national).map(str::len);
    record == digits || (national.len() >= 7 && rest.is_some_and(|country| country <= 3))
}

fn told(plan: &Plan) -> String {
    let mut text = String::new();
    if !plan.changed.is_empty() {
        let mut table = Table::new(&["user", "field", "before", "after"]);
        for one in &plan.changed {
            table.row([
                printable(&one.user).into_owned(),
                one.field.to_owned(),
                or_dash(one.before.as_deref()),
                or_dash(one.becomes().as_deref()),
            ]);
        }
        text.push_str(&table.text());
        text.push('\n');
    }
    for user in &plan.disabled {
        push!(text, "not in the file: {}\n", printable(user));
    }
    let users: BTreeSet<&str> = plan.changed.iter().map(|one| one.user.as_str()).collect();
    let count = |number: usize| output::count(number as u64, "user");
    let (made, changed) = (count(plan.created.len()), count(users.len()));
    let (gone, same) = (count(plan.disabled.len()), plan.unchanged);
    let (would, verbs) = if plan.dry_run {
        ("Would make", ("change", "disable"))
    } else {
        ("Made", ("changed", "disabled"))
    };
    push!(
        text,
        "{would} {made}, {} {changed}, {} {gone}; unchanged: {same}.\n",
        verbs.0,
        verbs.1
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beside one on record, which has its country, it would look like the form that it becomes.
    #[test]
    fn a_number_without_its_country_is_shown_as_what_was_written() {
        let change = |field, after: &str| Difference {
            user: "kim@default".to_owned(),
            field,
            before: Some("+821012345678".to_owned()),
            after: Some(after.to_owned()),
        };
        let plan = Plan {
            changed: vec![
                change("phone", "010-9999-0000"),
                change("phone", "+82 10 9999 0000"),
                change("class", "010"),
            ],
            ..Plan::default()
        };
        let told = told(&plan);
        let ends = ["010-9999-0000 (as written)", "+82 10 9999 0000", "010"];
        for (line, end) in told.lines().skip(1).zip(ends) {
            assert!(line.trim_end().ends_with(end), "{end}: {told}");
        }
    }

    #[test]
    fn a_number_is_known_again_with_its_country() {
        for (record, written, same) in [
            ("+821012345678", "010-1234-5678", true),
            ("+821012345678", "+82 10 1234 5678", true),
            ("+821012345678", "010-1234-5679", false),
            ("+821012345678", "5678", false),
            ("+821012345678", "+1 10 1234 5678", false),
            ("010-1234-5678", "01012345678", true),
        ] {
            assert_eq!(same_number(record, written), same, "{written}");
        }
    }
}
