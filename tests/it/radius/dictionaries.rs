//! The dictionaries of Debian's freeradius-common: each is read behind the built-in ones, and all of them
//! together; what they name can be sent and is told again.

use std::fs;
use std::path::PathBuf;

use oncegate::radius::attribute::Attributes;
use oncegate::radius::dictionary::{DataType, Dictionary, ParseError};

fn directory() -> PathBuf {
    PathBuf::from("/usr/share/freeradius")
}

fn files() -> Vec<String> {
    let entries = fs::read_dir(directory()).expect("the package freeradius-common");
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .filter(|name| name.starts_with("dictionary"))
        .collect();
    names.sort_unstable();
    names
}

fn read(root: &str) -> Result<Dictionary, ParseError> {
    let builtin = Dictionary::builtin().unwrap();
    builtin.with(root, |name| fs::read_to_string(directory().join(name)).ok())
}

#[test]
fn every_file_of_debian_is_read() {
    let files = files();
    assert!(files.len() >= 236, "{} files", files.len());
    let faults: Vec<String> = files
        .iter()
        .filter_map(|file| Some(read(file).err()?.to_string()))
        .collect();
    assert_eq!(faults, [""; 0]);
}

#[test]
fn what_they_name_can_be_sent_and_is_told() {
    let all = read("dictionary").unwrap();
    let (mut sent, mut others) = (0, Vec::new());
    for attribute in all.attributes() {
        let value = match attribute.data_type {
            DataType::String => "text".to_owned(),
            DataType::Octets | DataType::Abinary => "0x00ff".to_owned(),
            DataType::Sized(length) => format!("0x{}", "00".repeat(length.into())),
            DataType::Integer | DataType::Integer64 | DataType::Date | DataType::Byte => {
                "77".to_owned()
            }
            DataType::Short => "513".to_owned(),
            DataType::Bool => "1".to_owned(),
            DataType::Signed => "-7".to_owned(),
            DataType::Ipaddr | DataType::ComboIp => "192.0.2.7".to_owned(),
            DataType::Ipv6addr => "2001:db8::7".to_owned(),
            DataType::Ipv4prefix => "192.0.2.0/24".to_owned(),
            DataType::Ipv6prefix => "2001:db8::/32".to_owned(),
            DataType::Ifid => "0:0:0:7".to_owned(),
            DataType::Ether => "00:00:5e:00:53:07".to_owned(),
            _ => continue,
        };
        if attribute.internal || attribute.encryption.is_some() || attribute.tagged {
            continue;
        }
        let Ok(octets) = all.encode(&attribute.name, &value, None) else {
            others.push(attribute.name.as_str());
            continue;
        };
        sent += 1;
        if let [number] = attribute.path.as_slice()
            && all.by_number(attribute.space, *number) != Some(attribute)
        {
            // Another name of the number, of other values perhaps.
            continue;
        }
        let mut told = Vec::new();
        all.describe(Attributes::parse(&octets).unwrap(), |(name, text)| {
            told.push((name.to_owned(), text.into_owned()));
        });
        let hidden = ["CHAP-Challenge", "ARAP-Password"].contains(&attribute.name.as_str());
        assert!(hidden || !told.is_empty(), "{attribute}: {octets:02x?}");
        let own = told.iter().filter(|(name, _)| *name == attribute.name);
        let own: Vec<&str> = own.map(|(_, text)| text.as_str()).collect();
        assert!(
            own.is_empty() || own.contains(&value.as_str()),
            "{attribute}: {value} became {own:?}"
        );
    }
    assert!(sent > 6900, "{sent}");
    others.sort_unstable();
    let reserved = [
        "CHAP-Password",
        "Challenge-State",
        "EAP-Message",
        "Message-Authenticator",
        "Proxy-State",
        "State",
    ];
    assert_eq!(others, reserved);
}
