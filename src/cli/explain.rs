//! `oncegate explain`: why was it decided so, and what would happen.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clap::ArgGroup;
use clap::Args;
use jiff::Timestamp;
use jiff::ToSpan as _;
use jiff::Zoned;
use jiff::civil::Time;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::json;

use crate::api::explain::ExplainLogin;
use crate::api::explain::Explanation;
use crate::api::explain::Explanations;
use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::error::Exit;
use crate::cli::transport::admin;
use crate::model::reason::Reason;
use crate::policy::METHODS;
use crate::time::Clock as _;
use crate::time::SystemClock;

mod page;
mod words;

/// Say why a request was decided so, or what would happen; changes nothing
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("question").required(true),
    after_help = "Examples:\n  \
    oncegate explain 01M85J3KY28Q1C9WJCP9C5VPRY\n  \
    oncegate explain --user alice --client vpn --from 203.0.113.9 --at 'sat 03:00'\n  \
    oncegate explain --user bob --client vpn --attribute NAS-Port-Type=Virtual\n  \
    oncegate explain --reasons\n\
    Request ids are in `oncegate tail`, `oncegate audit list` and in the answers of the HTTP API."
)]
pub(super) struct Explain {
    /// The request that was decided
    #[arg(value_name = "REQUEST_ID", group = "question")]
    request: Option<String>,
    /// What would happen to this user: NAME, NAME@REALM or DOMAIN\NAME
    #[arg(long, group = "question", requires = "client")]
    user: Option<String>,
    /// The client that would ask; `local`: an administrator on the server
    #[arg(long, value_name = "NAME", requires = "user")]
    client: Option<String>,
    /// At this time: RFC 3339, or the next 03:00, or the next `sat 03:00` [default: now]
    #[arg(long, value_name = "TIME", requires = "user", value_parser = at)]
    at: Option<Timestamp>,
    /// Where the person would be
    #[arg(long, value_name = "IP", requires = "user")]
    from: Option<IpAddr>,
    /// A RADIUS attribute of the request; repeat it for more
    #[arg(long = "attribute", value_name = "NAME=VALUE", requires = "user", value_parser = pair)]
    attributes: Vec<(String, String)>,
    /// The application's own words (HTTP); repeat it for more
    #[arg(long = "context", value_name = "KEY=VALUE", requires = "user", value_parser = pair)]
    context: Vec<(String, String)>,
    /// How the password would travel [default: what is usual for the client]
    #[arg(long, requires = "user", value_parser = METHODS)]
    method: Option<String>,
    /// List every reason word: what it means and what to do
    #[arg(long, group = "question")]
    reasons: bool,
}

#[derive(Serialize)]
struct ReasonRow {
    reason: &'static str,
    decision: &'static str,
    advice: &'static str,
}

impl Explain {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        if self.reasons {
            return reasons(context);
        }
        let api = context.transport().await?;
        if let Some(request) = &self.request {
            let path = admin(&["explain", request]);
            let all: Explanations = api.get(&path).await?;
            context.out.show(&all, |all| page::all(all, context))?;
            return Ok(Exit::Done);
        }
        let body = self.body();
        let explanation: Explanation = api.post(&admin(&["explain"]), &body).await?;
        context
            .out
            .show(&explanation, |one| page::one(one, context))?;
        Ok(Exit::Done)
    }

    fn body(self) -> ExplainLogin {
        let mut attributes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in self.attributes {
            attributes.entry(name).or_default().push(value);
        }
        ExplainLogin {
            user: self.user.unwrap_or_default(),
            client: self.client.unwrap_or_default(),
            at: self.at.map(|at| at.to_string()),
            client_ip: self.from,
            method: self.method,
            attributes,
            context: self.context.into_iter().collect(),
        }
    }
}

/// The closed list. Needs no daemon: it belongs to the program.
fn reasons(context: &Context) -> Result<Exit, CliError> {
    let rows = Reason::ALL.iter().map(|reason| ReasonRow {
        reason: reason.as_str(),
        decision: reason.decision().as_str(),
        advice: reason.advice(),
    });
    let rows: Vec<ReasonRow> = rows.collect();
    context
        .out
        .show(&json!({ "reasons": rows }), |_| table(&rows))?;
    Ok(Exit::Done)
}

/// The closed list for people.
fn table(rows: &[ReasonRow]) -> String {
    let mut page = page::Page::default();
    let mut last = "";
    for row in rows {
        if row.decision != last {
            if !last.is_empty() {
                page.text.push('\n');
            }
            push!(page.text, "{}\n", row.decision.to_ascii_uppercase());
            last = row.decision;
        }
        page.label = 20;
        page.line(&format!("  {}", row.reason), row.advice);
    }
    page.text
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn at(text: &str) -> Result<Timestamp, String> {
    let millis = i64::try_from(SystemClock.now().as_millis()).unwrap_or_default();
    let now = Timestamp::from_millisecond(millis).map_err(|error| error.to_string())?;
    moment(text, &now.to_zoned(TimeZone::system()))
}

/// An RFC 3339 time, or the next time that the clocks here show `HH:MM` or `DAY HH:MM`.
fn moment(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let form = || "write 2026-11-23T07:00:00Z, 03:00 or `sat 03:00`".to_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    let (day, time) = match words.as_slice() {
        [time] => (None, *time),
        [day, time] => (Some(weekday(day).ok_or_else(form)?), *time),
        _ => return Err(form()),
    };
    let time = Time::strptime("%H:%M", time).map_err(|_| form())?;
    for days in 0..=7 {
        let date = now.date().saturating_add(days.days());
        if day.is_some_and(|day| date.weekday() != day) {
            continue;
        }
        let then = date.to_datetime(time).to_zoned(now.time_zone().clone());
        if let Ok(then) = then
            && then > *now
        {
            return Ok(then.timestamp());
        }
    }
    Err(form())
}

fn weekday(word: &str) -> Option<Weekday> {
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let word = word.to_ascii_lowercase();
    let place = days.iter().position(|day| *day == word)?;
    Weekday::from_monday_zero_offset(i8::try_from(place).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_such_time_is_meant() {
        // A Monday.
        let now: Zoned = "2026-11-23T12:00:00+09:00[Asia/Seoul]".parse().unwrap();
        for (text, wanted) in [
            ("2026-11-23T07:00:00+01:00", "2026-11-23T06:00:00Z"),
            ("12:01", "2026-11-23T03:01:00Z"),
            ("12:00", "2026-11-24T03:00:00Z"),
            ("03:00", "2026-11-23T18:00:00Z"),
            ("sat 03:00", "2026-11-27T18:00:00Z"),
            ("MON 12:01", "2026-11-23T03:01:00Z"),
            ("mon 03:00", "2026-11-29T18:00:00Z"),
        ] {
            assert_eq!(moment(text, &now).unwrap().to_string(), wanted, "{text}");
        }
        for bad in ["", "tomorrow", "25:00", "day 03:00", "sat", "sat 03:00 UTC"] {
            assert!(moment(bad, &now).is_err(), "{bad}");
        }
    }
}
