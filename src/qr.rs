//! QR codes in a terminal: two modules per character, by half blocks.
//!
//! Sources: ISO/IEC 18004; the matrix is `fast_qr`'s. A reader needs dark on light and a quiet zone;
//! most terminals are light on dark. So [`Style::Colour`] forces black on white, and
//! [`Style::Plain`], for terminals without colour, draws the light modules: right on dark
//! backgrounds, inverted (which most phones read too) on light ones.
//!
//! Threat: the text is usually an `otpauth` URI with the key in it. The caller that prints it decides that
//! the screen may show it.

use fast_qr::{ECL, QRBuilder, QRCode};

/// How the code is drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Style {
    /// Black on white by ANSI colours.
    Colour,
    /// Half blocks only.
    Plain,
}

/// The text does not fit a code that a terminal could show.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the text is too long for a QR code in a terminal")]
pub struct TooLong;

/// Draws a text; lines end with a newline.
pub fn render(text: &str, style: Style) -> Result<String, TooLong> {
    let matrix = Matrix::of(text)?;
    let last = matrix.side.saturating_add(QUIET);
    let mut drawn = String::new();
    for row in (0..last.saturating_add(QUIET)).step_by(2) {
        if style == Style::Colour {
            drawn.push_str(BLACK_ON_WHITE);
        }
        for column in 0..last.saturating_add(QUIET) {
            let upper = matrix.is_dark(row, column);
            let lower = matrix.is_dark(row.saturating_add(1), column);
            // Plain text draws light modules with the foreground, colour draws dark ones.
            let (upper, lower) = match style {
                Style::Colour => (upper, lower),
                Style::Plain => (!upper, !lower),
            };
            drawn.push(match (upper, lower) {
                (true, true) => '\u{2588}',
                (true, false) => '\u{2580}',
                (false, true) => '\u{2584}',
                (false, false) => ' ',
            });
        }
        if style == Style::Colour {
            drawn.push_str(RESET);
        }
        drawn.push('\n');
    }
    Ok(drawn)
}

/// A drawing for files and pages: black on white, with the quiet zone.
pub fn svg(text: &str) -> Result<String, TooLong> {
    let matrix = Matrix::of(text)?;
    let (side, path) = (matrix.drawn_side(), matrix.path());
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" \
         shape-rendering=\"crispEdges\"><rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/>\
         <path d=\"{path}\"/></svg>\n"
    ))
}

/// Modules by row, without the quiet zone.
pub struct Matrix {
    side: usize,
    dark: Vec<bool>,
}

impl Matrix {
    /// Modules of a side of the drawing, quiet zone included.
    pub const fn drawn_side(&self) -> usize {
        self.side.saturating_add(2 * QUIET)
    }

    /// The dark modules of the drawing, as the `d` of an SVG path: a row's run of them is one rectangle.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for row in 0..self.drawn_side() {
            let mut column = 0;
            while column < self.drawn_side() {
                let run = (column..self.drawn_side())
                    .take_while(|column| self.is_dark(row, *column))
                    .count();
                if run > 0 {
                    push!(path, "M{column} {row}h{run}v1h-{run}z");
                }
                column += run.max(1);
            }
        }
        path
    }

    /// The code of a text.
    ///
    /// # Errors
    /// When it is too long.
    pub fn of(text: &str) -> Result<Self, TooLong> {
        if text.len() > LONGEST {
            return Err(TooLong);
        }
        let code: QRCode = QRBuilder::new(text)
            .ecl(ECL::M)
            .build()
            .map_err(|_| TooLong)?;
        let modules = code.data.iter().take(code.size.saturating_mul(code.size));
        Ok(Self {
            side: code.size,
            dark: modules.map(|module| module.value()).collect(),
        })
    }

    /// Whether the module at a place of the drawing, quiet zone included, is dark.
    fn is_dark(&self, row: usize, column: usize) -> bool {
        let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < self.side);
        inside(row)
            .zip(inside(column))
            .is_some_and(|(row, column)| {
                let at = row.saturating_mul(self.side).saturating_add(column);
                self.dark.get(at).copied().unwrap_or_default()
            })
    }
}

/// Light modules around the code. The standard asks for 4; readers are content with 2, and the
/// smaller drawing fits 80 columns.
const QUIET: usize = 2;

/// Octets that give at most version 15 (77 modules): with the quiet zone about 80 columns.
const LONGEST: usize = 412;

const BLACK_ON_WHITE: &str = "\u{1b}[38;2;0;0;0;48;2;255;255;255m";
const RESET: &str = "\u{1b}[0m";

#[cfg(test)]
mod tests {
    use super::*;

    const URI: &str = "otpauth://totp/Oncegate:alice%40default?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Oncegate";

    /// Reads the drawing back as a camera would: every half block becomes pixels.
    fn decode(drawn: &str, foreground_is_dark: bool) -> String {
        let mut rows: Vec<Vec<bool>> = Vec::new();
        for line in drawn.lines() {
            let line = line
                .trim_start_matches(BLACK_ON_WHITE)
                .trim_end_matches(RESET);
            let half = |upper: bool| {
                let full = if upper { '\u{2580}' } else { '\u{2584}' };
                line.chars()
                    .map(|c| (c == '\u{2588}' || c == full) == foreground_is_dark)
                    .collect()
            };
            rows.push(half(true));
            rows.push(half(false));
        }
        let scale = 4;
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(
            rows[0].len() * scale,
            rows.len() * scale,
            |x, y| if rows[y / scale][x / scale] { 0 } else { 255 },
        );
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1);
        grids[0].decode().unwrap().1
    }

    #[test]
    fn a_camera_reads_it_back() {
        assert_eq!(decode(&render(URI, Style::Colour).unwrap(), true), URI);
        assert_eq!(decode(&render(URI, Style::Plain).unwrap(), false), URI);
    }

    #[test]
    fn a_camera_reads_the_path_of_a_page() {
        let matrix = Matrix::of(URI).unwrap();
        let (side, scale) = (matrix.drawn_side(), 4);
        let mut dark = vec![vec![false; side]; side];
        for run in matrix.path().split('M').skip(1) {
            let (place, run) = run.split_once('h').unwrap();
            let (column, row) = place.split_once(' ').unwrap();
            let (column, row): (usize, usize) = (column.parse().unwrap(), row.parse().unwrap());
            let run: usize = run.split_once('v').unwrap().0.parse().unwrap();
            dark[row][column..column + run].fill(true);
        }
        let mut image =
            rqrr::PreparedImage::prepare_from_greyscale(side * scale, side * scale, |x, y| {
                if dark[y / scale][x / scale] { 0 } else { 255 }
            });
        assert_eq!(image.detect_grids()[0].decode().unwrap().1, URI);
        assert!(svg(URI).unwrap().contains(&matrix.path()));
    }

    #[test]
    fn lines_are_equally_wide_and_reset_the_colour() {
        let drawn = render("x", Style::Colour).unwrap();
        let widths: Vec<usize> = drawn.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]));
        assert!(drawn.lines().all(|line| line.ends_with(RESET)));
        assert_eq!(
            render("x", Style::Plain).unwrap().lines().count(),
            (21 + 2 * QUIET).div_ceil(2)
        );
    }

    #[test]
    fn the_longest_text_fits_a_terminal() {
        let drawn = render(&"x".repeat(LONGEST), Style::Plain).unwrap();
        assert!(drawn.lines().all(|line| line.chars().count() <= 81));
        assert_eq!(render(&"x".repeat(LONGEST + 1), Style::Plain), Err(TooLong));
    }
}
