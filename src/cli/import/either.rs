//! `oncegate import`: users or tokens, as the file has them.
//!
//! Invariant: nothing is guessed. What is known of a file is what its format, or the names of its columns, say; else both
//! commands are named and nothing is imported.

use clap::Args;

use crate::cli::columns;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::import::token_file::TokenImport;
use crate::cli::import::{Import, Make, Source};
use crate::csv::Ignore;
use crate::token_file::Format;

/// Import users or tokens from a file, as what it holds says
#[derive(Debug, Args)]
#[command(after_help = HELP)]
#[allow(clippy::doc_markdown)] // help is plain text
pub(in crate::cli) struct EitherImport {
    #[command(flatten)]
    import: Import,
}

impl EitherImport {
    pub(in crate::cli) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let text = self.import.text()?;
        let source = Source::new(&text);
        let Some(make) = holds(source) else {
            let name = self.import.name();
            let what = format!("{name}: whether it holds users or tokens cannot be told");
            return Err(CliError::usage(what).remedy(OTHERWISE));
        };
        context.out.note(match make {
            Make::Users => "It holds users.",
            Make::Tokens => "It holds tokens.",
        });
        match make {
            Make::Users => self.import.rows(source, make, context).await,
            Make::Tokens => {
                TokenImport::of(self.import)
                    .import_text(&text, context)
                    .await
            }
        }
    }
}

/// What a file holds: tokens in a format of others; users where a column says something of people, or where no column has
/// keys.
fn holds(source: Source<'_>) -> Option<Make> {
    let text = std::str::from_utf8(source.text).ok()?;
    if Format::of(text).is_some() {
        return Some(Make::Tokens);
    }
    let rows = source.rows(&Ignore::Unknown).ok()?;
    let about = OF_PEOPLE.iter().any(|column| rows.has(*column));
    let (user, secret) = (rows.has(columns::USER), rows.has(columns::SECRET));
    match (user, secret) {
        (true, true) if !about => Some(Make::Tokens),
        (true, _) => Some(Make::Users),
        (false, _) => None,
    }
}

/// Columns that say something of a person.
const OF_PEOPLE: [usize; 7] = [
    columns::ALIAS,
    columns::GROUPS,
    columns::DISPLAY_NAME,
    columns::NAME,
    columns::PHONE,
    columns::EMAIL,
    columns::CLASS,
];

const OTHERWISE: &str =
    "say it: `oncegate user import FILE`, or `oncegate token import FILE`; nothing was imported";

const HELP: &str = "\
Exports of authenticator apps, of other servers and of vendors hold tokens. So does a CSV file with the columns user and \
secret that says nothing of people; one with a column user and without secret, or with groups, phone, email and the like, \
holds users, with their tokens. What only one of both can do, as --update of users or --format and --key-stdin of tokens, is \
an option of `oncegate user import` or `oncegate token import`; their help names the columns.
Examples:
  oncegate import people.csv --dry-run
  oncegate import tokens.pskc.xml --dry-run";
