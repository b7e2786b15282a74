//! Files of text in the encodings that spreadsheets write.
//!
//! A byte order mark is believed; without one the file is UTF-8 or what the caller says. A file that
//! is neither is refused with the place and, where it can be told, the name of its encoding: bytes
//! that were guessed wrong would be other names.

use encoding_rs::{DecoderResult, EUC_KR, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use zeroize::Zeroizing;

use crate::csv::Fault;

/// The encoding of a name: those of the web, and those of Windows' code pages (`cp949`).
pub(crate) fn by_name(name: &str) -> Result<&'static Encoding, String> {
    let lower = name.trim().to_ascii_lowercase();
    let web = match lower.strip_prefix("cp") {
        Some("932") => "shift_jis".to_owned(),
        Some("936") => "gbk".to_owned(),
        Some("950") => "big5".to_owned(),
        Some(page) => format!("windows-{page}"),
        None => match lower.strip_prefix("utf16") {
            Some(rest) => format!("utf-16{}", rest.trim_start_matches('-')),
            None => lower.clone(),
        },
    };
    let web = match web.as_str() {
        "ms949" | "uhc" => "windows-949",
        "utf8" => "utf-8",
        other => other,
    };
    Encoding::for_label(web.as_bytes()).ok_or_else(|| {
        "write a name as utf-8, utf-16le, cp949, euc-kr, windows-1252 or shift_jis".to_owned()
    })
}

/// The text of a file as UTF-8. What its bytes are not is a fault with their place.
pub(crate) fn decoded(
    octets: Zeroizing<Vec<u8>>,
    given: Option<&'static Encoding>,
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let mark = Encoding::for_bom(&octets);
    let (encoding, skip) = match (mark, given) {
        (Some((encoding, length)), _) => (encoding, length),
        (None, Some(encoding)) => (encoding, 0),
        (None, None) => (UTF_8, 0),
    };
    let told = mark.is_some() || given.is_some();
    if encoding != UTF_8 {
        return converted(octets.get(skip..).unwrap_or_default(), encoding);
    }
    let nul = octets.iter().position(|octet| *octet == 0);
    // A NUL is UTF-8, and no spreadsheet writes one: it is half a character of UTF-16, or damage.
    let (bad, is_nul) = match (std::str::from_utf8(&octets), nul) {
        (Ok(_), None) => return Ok(octets),
        (Ok(_), Some(_)) if told => return Ok(octets),
        (Ok(_), Some(at)) => (at, true),
        (Err(error), _) => (error.valid_up_to(), false),
    };
    let guessed = guess(&octets).filter(|name| !told && (!is_nul || name.starts_with("utf-16")));
    // Of UTF-16 all is wrong, from the first octet on.
    let bad = if is_nul && guessed.is_some() { 0 } else { bad };
    let what = match guessed {
        Some(name) => format!("not UTF-8: it reads as {name}; say so: --encoding {name}"),
        None if is_nul => "a NUL octet, which stands in no text: take it out, or name the encoding of the file, as \
                           --encoding utf-16le"
            .to_owned(),
        None => "not UTF-8: name its encoding, as --encoding cp949, or save the file as UTF-8"
            .to_owned(),
    };
    Err(fault(octets.get(..bad).unwrap_or_default(), what))
}

fn converted(octets: &[u8], encoding: &'static Encoding) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    // Allocated once: a buffer that grows leaves copies of secrets behind.
    let room = decoder.max_utf8_buffer_length_without_replacement(octets.len());
    let mut text = Zeroizing::new(String::with_capacity(room.unwrap_or(octets.len() * 3)));
    let (result, _) = decoder.decode_to_string_without_replacement(octets, &mut text, true);
    match result {
        DecoderResult::InputEmpty => Ok(Zeroizing::new(std::mem::take(&mut *text).into_bytes())),
        DecoderResult::Malformed(..) | DecoderResult::OutputFull => {
            Err(fault(text.as_bytes(), format!("not {}", encoding.name())))
        }
    }
}

/// A fault behind the text before it.
fn fault(before: &[u8], what: String) -> Fault {
    let before = String::from_utf8_lossy(before);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before.get(start..).unwrap_or_default().chars().count() + 1;
    Fault {
        column: Some(column),
        ..Fault::new(line as u64, what)
    }
}

/// What the octets read as without an error, where they are not UTF-8.
fn guess(octets: &[u8]) -> Option<&'static str> {
    let zeros = |parity| {
        let places = octets.iter().enumerate().filter(|(at, _)| at % 2 == parity);
        places.filter(|(_, octet)| **octet == 0).count()
    };
    // Half of what a western name is in UTF-16 are zeros.
    let (even, odd) = (zeros(0), zeros(1));
    if (even + odd) * 4 > octets.len() {
        let encoding = if odd > even { UTF_16LE } else { UTF_16BE };
        return Some(if encoding == UTF_16LE {
            "utf-16le"
        } else {
            "utf-16be"
        });
    }
    let korean = EUC_KR.decode_without_bom_handling_and_without_replacement(octets);
    korean
        .is_some_and(|text| text.chars().any(|c| ('\u{ac00}'..='\u{d7a3}').contains(&c)))
        .then_some("cp949")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(octets: &[u8], given: Option<&str>) -> Result<String, Fault> {
        let given = given.map(|name| by_name(name).unwrap());
        let text = decoded(Zeroizing::new(octets.to_vec()), given)?;
        Ok(String::from_utf8(text.to_vec()).unwrap())
    }

    #[test]
    fn names_of_code_pages_are_known() {
        for (name, encoding) in [
            ("cp949", EUC_KR),
            ("CP949", EUC_KR),
            ("euc-kr", EUC_KR),
            ("ms949", EUC_KR),
            ("utf-16", UTF_16LE),
            ("utf16", UTF_16LE),
            ("utf16le", UTF_16LE),
            ("UTF-16BE", UTF_16BE),
            ("utf8", UTF_8),
            ("cp1252", encoding_rs::WINDOWS_1252),
            ("cp932", encoding_rs::SHIFT_JIS),
        ] {
            assert_eq!(by_name(name), Ok(encoding), "{name}");
        }
        assert!(by_name("cp").is_err() && by_name("klingon").is_err());
    }

    #[test]
    fn marks_are_believed_and_the_rest_is_told() {
        let utf16: Vec<u8> = "user\n\u{ae40}\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let marked = [&[0xff, 0xfe][..], &utf16].concat();
        assert_eq!(read(&marked, None).unwrap(), "user\n\u{ae40}\n");
        assert_eq!(read(&utf16, Some("utf-16le")).unwrap(), "user\n\u{ae40}\n");
        assert!(
            read(&utf16, None)
                .unwrap_err()
                .what
                .contains("--encoding utf-16le")
        );
        let korean = b"user\nkim,\xb1\xe8\n";
        assert_eq!(read(korean, Some("cp949")).unwrap(), "user\nkim,\u{ae40}\n");
        let fault = read(korean, None).unwrap_err();
        assert_eq!((fault.line, fault.column), (2, Some(5)));
        assert!(fault.what.contains("--encoding cp949"), "{fault:?}");
        let fault = read(b"user\nk\xff\n", Some("cp949")).unwrap_err();
        assert_eq!((fault.line, fault.column), (2, Some(2)));
    }

    #[test]
    fn a_nul_is_named_where_it_stands() {
        for text in [
            &b"user,phone\nal\0ice,1\n"[..],
            "user,phone\n\u{ae40}\u{c601}\0,1\n".as_bytes(),
        ] {
            let fault = read(text, None).unwrap_err();
            assert_eq!((fault.line, fault.column), (2, Some(3)));
            assert!(fault.what.starts_with("a NUL octet"), "{fault:?}");
        }
        let utf16: Vec<u8> = "user\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let fault = read(&utf16, None).unwrap_err();
        assert_eq!((fault.line, fault.column), (1, Some(1)));
    }
}
