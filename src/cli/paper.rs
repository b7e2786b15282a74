//! What is printed once: QR codes, security cards and sheets of recovery codes.

use crate::api::Token;
use crate::cli::output::{Output, local_time, printable};
use crate::qr;

/// What the owner of a token is given: QR codes, the cells of a card, recovery codes.
pub(super) fn handout<'a>(
    token: &Token,
    uris: impl IntoIterator<Item = &'a String>,
    cells: &[String],
    codes: &[String],
    out: Output,
) -> String {
    let mut text: String = uris.into_iter().map(|uri| qr_code(uri, out)).collect();
    if !cells.is_empty() {
        push!(text, "{}\n", card(&token.serial, token.owner(), cells));
    }
    if !codes.is_empty() {
        let expires = token.expires.as_deref().map(local_time);
        let sheet = sheet(&token.serial, token.owner(), codes, expires.as_deref());
        push!(text, "{sheet}\n");
    }
    text
}

/// A QR code, or why there is none.
fn qr_code(uri: &str, out: Output) -> String {
    match qr::render(uri, out.qr_style()) {
        Ok(drawn) => format!("{drawn}\n"),
        Err(error) => format!("No QR code: {error}.\n\n"),
    }
}

/// A card as a grid, as it is printed for its owner.
fn card(serial: &str, user: &str, cells: &[String]) -> String {
    let mut text = format!(
        "Security card {} of {}\n\n",
        printable(serial),
        printable(user)
    );
    for row in cells.chunks(COLUMNS).enumerate() {
        let (row, cells) = row;
        for (column, cell) in cells.iter().enumerate() {
            let number = row * COLUMNS + column + 1;
            push!(text, "{}{number:>3}  {}", gap(column), printable(cell));
        }
        text.push('\n');
    }
    text.push_str(
        "\nAn answer: the last three digits of the card's number, the first two of one cell, the \
         last two of another.\n",
    );
    text
}

/// A sheet of recovery codes, as it is printed for its owner.
fn sheet(serial: &str, user: &str, codes: &[String], expires: Option<&str>) -> String {
    let mut text = format!(
        "Recovery codes {} of {}\n\n",
        printable(serial),
        printable(user)
    );
    for (place, code) in codes.iter().enumerate() {
        let column = place % PAIR;
        push!(text, "{}{:>3}  {}", gap(column), place + 1, printable(code));
        if column == PAIR - 1 || place + 1 == codes.len() {
            text.push('\n');
        }
    }
    text.push_str("\nEach is good once, in any order");
    if let Some(expires) = expires {
        push!(text, ", until {}", printable(expires));
    }
    text.push_str(".\n");
    text
}

const fn gap(column: usize) -> &'static str {
    if column == 0 { "" } else { "    " }
}

/// Seven rows of five cells.
const COLUMNS: usize = 5;
const PAIR: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_a_grid_of_seven_rows() {
        let cells: Vec<String> = (1..=35).map(|n| format!("{:04}", n * 7)).collect();
        let text = card("CARD-12345678", "alice@default", &cells);
        let rows: Vec<&str> = text.lines().skip(2).take(7).collect();
        assert_eq!(
            rows[0],
            "  1  0007      2  0014      3  0021      4  0028      5  0035"
        );
        assert!(rows[6].starts_with(" 31  0217") && rows[6].ends_with(" 35  0245"));
    }

    #[test]
    fn a_sheet_has_two_columns() {
        let codes = ["AAAAA-AAAAA", "BBBBB-BBBBB", "CCCCC-CCCCC"].map(str::to_owned);
        let text = sheet("RECOVERY-1", "alice", &codes, None);
        let rows: Vec<&str> = text.lines().skip(2).take(2).collect();
        assert_eq!(
            rows,
            ["  1  AAAAA-AAAAA      2  BBBBB-BBBBB", "  3  CCCCC-CCCCC"]
        );
    }
}
