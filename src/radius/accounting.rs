//! Accounting-Request: octets to [`Accounting`] (RFC 2866 s4.1, s5; RFC 2869 s5.1, s5.2 for gigawords).
//!
//! Names are kept as they were sent where they are printable, in hexadecimal digits where not: two
//! sessions never get one name.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::client::Client;
use crate::model::id::RequestId;
use crate::model::name_rule::NameRule;
use crate::model::session::{Accounting, Report, Session, SessionKey, Status, Usage};
use crate::radius::Discard;
use crate::radius::attribute::Type;
use crate::radius::packet::Packet;
use crate::time::UnixTime;

/// Reads an Accounting-Request that arrived `now` from `source`; `login` says which login a Class and a user
/// belong to, `names` are the rules of the client's policy.
///
/// # Errors
/// `IncompleteAccounting`: no Acct-Status-Type, or no Acct-Session-Id where one is needed.
pub fn read(
    packet: &Packet<'_>,
    (client, names): (&Client, &[NameRule]),
    (source, now): (IpAddr, UnixTime),
    login: impl Fn(&[u8], &str) -> Option<RequestId>,
) -> Result<Accounting, Discard> {
    let status = number(packet, Type::AcctStatusType).ok_or(Discard::IncompleteAccounting)?;
    let nas_ip = nas_address(packet);
    let nas =
        text(packet, Type::NasIdentifier).unwrap_or_else(|| nas_ip.unwrap_or(source).to_string());
    let delay = number(packet, Type::AcctDelayTime).unwrap_or_default();
    let at = before(now, u64::from(delay).min(LONGEST_DELAY));
    let sent = text(packet, Type::UserName).unwrap_or_default();
    let user = client
        .key(&sent, names)
        .map_or_else(|_| sent.clone(), |key| key.to_string());
    let session = text(packet, Type::AcctSessionId);
    let status = match status {
        1 => Status::Start,
        2 => Status::Stop,
        3 => Status::Interim,
        7 | 8 => {
            let on = status == 7;
            return Ok(Accounting::Nas { nas, on, at });
        }
        status => {
            return Ok(Accounting::Other {
                nas,
                status,
                session,
                user,
            });
        }
    };
    let usage = usage(packet);
    let stop = status == Status::Stop;
    Ok(Accounting::Session(Box::new(Report {
        status,
        session: Session {
            key: SessionKey {
                client: client.name.clone(),
                nas,
                id: session.ok_or(Discard::IncompleteAccounting)?,
            },
            login: packet
                .all(Type::Class)
                .find_map(|class| login(class, &user)),
            user_name: Some(sent).filter(|sent| *sent != user),
            user,
            nas_ip,
            source: Some(source.to_canonical()),
            calling_station: text(packet, Type::CallingStationId),
            framed_ip: address(packet, Type::FramedIpAddress),
            started: before(at, usage.seconds),
            updated: at,
            ended: stop.then_some(at),
            cause: number(packet, Type::AcctTerminateCause).filter(|_| stop),
            usage,
        },
    })))
}

fn usage(packet: &Packet<'_>) -> Usage {
    let octets = |low, high| {
        let (low, high) = (number(packet, low), number(packet, high));
        u64::from(high.unwrap_or_default()) << 32 | u64::from(low.unwrap_or_default())
    };
    Usage {
        seconds: number(packet, Type::AcctSessionTime).map_or(0, u64::from),
        octets_in: octets(Type::AcctInputOctets, Type::AcctInputGigawords),
        octets_out: octets(Type::AcctOutputOctets, Type::AcctOutputGigawords),
    }
}

fn before(at: UnixTime, seconds: u64) -> UnixTime {
    let millis = Duration::from_secs(seconds).as_millis();
    let millis = u64::try_from(millis).unwrap_or(u64::MAX);
    UnixTime::from_millis(at.as_millis().saturating_sub(millis))
}

fn number(packet: &Packet<'_>, r#type: Type) -> Option<u32> {
    let octets = <[u8; 4]>::try_from(packet.first(r#type)?).ok()?;
    Some(u32::from_be_bytes(octets))
}

fn address(packet: &Packet<'_>, r#type: Type) -> Option<IpAddr> {
    let octets = packet.first(r#type)?;
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| v6()).ok()
}

/// NAS-IP-Address, else NAS-IPv6-Address.
pub fn nas_address(packet: &Packet<'_>) -> Option<IpAddr> {
    address(packet, Type::NasIpAddress).or_else(|| address(packet, Type::NasIpv6Address))
}

fn text(packet: &Packet<'_>, r#type: Type) -> Option<String> {
    let octets = packet.first(r#type).filter(|octets| !octets.is_empty())?;
    let text = std::str::from_utf8(octets).ok();
    let plain = |text: &&str| !text.chars().any(char::is_control) && !text.starts_with("0x");
    let printable = text.filter(plain);
    Some(printable.map_or_else(
        || format!("0x{}", data_encoding::HEXLOWER.encode(octets)),
        str::to_owned,
    ))
}

/// A NAS that kept a report longer than a day has a wrong clock.
const LONGEST_DELAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::client::{Access, ApiAccess};
    use crate::radius::packet::HEADER;

    fn packet(attributes: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut octets = vec![4, 1, 0, 0];
        octets.extend([0; 16]);
        for (r#type, value) in attributes {
            octets.push(*r#type);
            octets.push(u8::try_from(2 + value.len()).unwrap());
            octets.extend(value);
        }
        let length = u16::try_from(octets.len()).unwrap().to_be_bytes();
        octets.splice(2..4, length);
        assert!(octets.len() >= HEADER);
        octets
    }

    fn read_all(attributes: &[(u8, Vec<u8>)]) -> Result<Accounting, Discard> {
        let client = Client {
            name: "vpn".to_owned(),
            policy: None,
            realm: Some("corp".to_owned()),
            access: Access::Api(ApiAccess {
                key_hash: [0; 32],
                previous: None,
                scopes: Vec::new(),
            }),
            created: UnixTime::from_millis(0),
            revision: 1,
        };
        let octets = packet(attributes);
        let source = "192.0.2.1".parse().unwrap();
        let now = UnixTime::from_millis(1_800_000_000_000);
        let packet = Packet::parse(&octets).unwrap();
        read(&packet, (&client, &[]), (source, now), |_, _| None)
    }

    fn session(attributes: &[(u8, Vec<u8>)]) -> Session {
        match read_all(attributes) {
            Ok(Accounting::Session(report)) => report.session,
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(
            attributes in proptest::collection::vec(
                (prop_oneof![Just(40), Just(41), Just(44), Just(46), Just(52), any::<u8>()],
                 proptest::collection::vec(any::<u8>(), 0..20)),
                0..12,
            ),
        ) {
            let _ = read_all(&attributes);
        }

        #[test]
        fn two_sessions_never_get_one_name(
            one in proptest::collection::vec(any::<u8>(), 1..8),
            other in proptest::collection::vec(any::<u8>(), 1..8),
        ) {
            let named = |id: &[u8]| session(&[(40, vec![0, 0, 0, 1]), (44, id.to_vec())]).key.id;
            prop_assert_eq!(named(&one) == named(&other), one == other);
        }
    }

    #[test]
    fn a_name_in_digits_is_not_one_in_text() {
        let named = |id: &[u8]| session(&[(40, vec![0, 0, 0, 1]), (44, id.to_vec())]).key.id;
        assert_ne!(named(b"0xff"), named(&[0xff]));
    }

    #[test]
    fn the_realm_of_the_client_and_its_clock_are_used() {
        let session = session(&[
            (40, vec![0, 0, 0, 2]),
            (44, b"1".to_vec()),
            (1, b"ALICE".to_vec()),
            (41, vec![0, 0, 0, 10]),
            (46, vec![0, 0, 0, 60]),
        ]);
        assert_eq!(session.user, "alice@corp");
        assert_eq!(session.key.nas, "192.0.2.1");
        assert_eq!(session.started, UnixTime::from_millis(1_799_999_930_000));
        assert_eq!(
            session.ended,
            Some(UnixTime::from_millis(1_799_999_990_000))
        );
    }
}
