//! Numbers with their unit, as configuration and policies write them: `"30m"`, `"64MiB"`.
//!
//! A bare number is refused: `30` may mean seconds or minutes, and a lock of the
//! wrong length is found only when it matters.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

/// A number of things, in the singular where it is one.
pub fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Reads a duration: an integer and one of `ms`, `s`, `m`, `h`, `d`. The error says what is wrong.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    scaled(number, millis)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("`{text}` is not a duration: write a number and ms, s, m, h or d"))
}

/// Reads a number of octets: an integer and one of `B`, `KiB`, `MiB`, `GiB`.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let octets = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    scaled(number, octets)
        .ok_or_else(|| format!("`{text}` is not a size: write a number and B, KiB, MiB or GiB"))
}

/// Reads an address or a network. Bits behind the prefix are refused: `10.0.0.5/24` may mean either.
pub fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_canonical().into());
    }
    let network: IpNet = text.parse().map_err(|_| {
        format!("`{text}` is not a network: write 192.0.2.0/24, 2001:db8::/32 or one address")
    })?;
    if network.trunc() == network {
        return Ok(network);
    }
    Err(format!(
        "`{text}` has bits set beyond its prefix: write {} for the network, {} for the one address",
        network.trunc(),
        IpNet::from(network.addr())
    ))
}

/// A duration in the form [`duration`] reads, in the largest unit that needs no fraction.
pub fn show_duration(duration: Duration) -> String {
    let millis = crate::time::millis(duration);
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1000, "s"),
    ];
    let unit = units
        .into_iter()
        .find(|(scale, _)| millis > 0 && millis.is_multiple_of(*scale));
    match unit {
        Some((scale, unit)) => format!("{}{unit}", millis / scale),
        None if millis == 0 => "0s".to_owned(),
        None => format!("{millis}ms"),
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn scaled(number: &str, scale: u64) -> Option<u64> {
    let number: u64 = number.parse().ok()?;
    number.checked_mul(scale).filter(|_| scale > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("30m"), Ok(Duration::from_mins(30)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for bad in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "1S",
            "99999999999999999999s",
            "1sec",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(duration("18446744073709551615d").is_err());
    }

    #[test]
    fn durations_read_back_what_they_show() {
        for text in ["0s", "1500ms", "2s", "90s", "30m", "2h", "1d"] {
            assert_eq!(duration(text).map(show_duration).as_deref(), Ok(text));
        }
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert!(size("64MB").is_err() && size("64").is_err());
    }
}
