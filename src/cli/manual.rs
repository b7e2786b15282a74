//! `oncegate manual`: the pages of [`crate::manual`] on a terminal.

use clap::Args;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::diagnostic::did_you_mean;
use crate::manual::{PAGES, page};

/// Print a page of the manual, or the list of pages
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  oncegate manual\n  oncegate manual policies | less")]
pub(super) struct Manual {
    /// Which page [default: the list of them]
    #[arg(value_name = "TOPIC")]
    topic: Option<String>,
}

impl Manual {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let Some(topic) = self.topic else {
            let topics = PAGES
                .iter()
                .map(|page| json!({ "topic": page.topic, "title": page.title }));
            let topics = json!({ "topics": topics.collect::<Vec<_>>() });
            context.out.show(&topics, |_| list())?;
            return Ok(Exit::Done);
        };
        let found = page(&topic).ok_or_else(|| unknown(&topic))?;
        let document = json!({ "topic": found.topic, "text": found.text });
        context.out.show(&document, |_| found.text.to_owned())?;
        Ok(Exit::Done)
    }
}

fn list() -> String {
    let mut text = String::new();
    for page in PAGES {
        push!(text, "{:<26}{}\n", page.topic, page.title);
    }
    text.push_str("Next: oncegate manual TOPIC\n");
    text
}

fn unknown(topic: &str) -> CliError {
    let close = did_you_mean(topic, PAGES.iter().map(|page| page.topic));
    let message = format!("the manual has no page `{topic}`");
    CliError::new(Exit::NotFound, message).remedy(close.map_or_else(
        || "`oncegate manual` lists the pages".to_owned(),
        |close| format!("did you mean `{close}`? `oncegate manual` lists the pages"),
    ))
}
