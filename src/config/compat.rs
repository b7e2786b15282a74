//! `http.compat`: API clients that speak the request shapes of other products.

use std::path::{Path, PathBuf};

use ipnet::IpNet;

use crate::diagnostic::units;
use crate::model::client::is_client_name;

/// An API client that is known by its address and asks as it asked another product.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Compat {
    /// The API client; its requests begin with `/compat/NAME/`.
    pub client: String,
    /// Whose shapes it speaks.
    pub shape: Shape,
    /// Where it asks from.
    pub networks: Vec<IpNet>,
    /// Whether its values are percent-encoded twice; none: as its User-Agent says.
    pub double_decode: Option<bool>,
    /// Whether it is told that there is no such user.
    pub show_unknown_user: bool,
    /// What Yubico's protocol needs; with [`Shape::Yubico`], and only then.
    pub yubico: Option<Yubico>,
}

/// A client of Yubico's validation protocol.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Yubico {
    /// What its requests say as `id`.
    pub id: u32,
    /// The file with its key in base 64, by which requests and replies are signed.
    pub key_file: PathBuf,
}

impl Compat {
    /// Its number in Yubico's protocol, if it speaks that.
    pub fn yubico(&self) -> Option<u32> {
        self.yubico.as_ref().map(|yubico| yubico.id)
    }
}

/// What two of them cannot both have.
pub(super) fn clash(all: &[Compat]) -> Option<String> {
    all.iter().enumerate().find_map(|(place, one)| {
        let mut before = all.iter().take(place);
        before.find_map(|other| match (one.yubico(), other.yubico()) {
            _ if one.client == other.client => {
                Some(format!("client {} is there twice", one.client))
            }
            (Some(id), Some(same)) if id == same => Some(format!("two clients have id={id}")),
            _ => None,
        })
    })
}

/// Whose requests and answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shape {
    /// privacyIDEA and eduMFA.
    PrivacyIdea,
    /// `LinOTP`.
    LinOtp,
    /// Yubico's validation protocol 2.0.
    Yubico,
}

/// `CLIENT privacyidea|linotp NETWORK... [double_decode|single_decode] [show_unknown_user]`, or
/// `CLIENT yubico NETWORK... id=NUMBER key_file=PATH`, whose path starts from `dir`. Threat: the key may be written
/// where its file belongs, so no fault repeats what was written behind a `=`.
pub(super) fn parse(text: &str, dir: &Path) -> Result<Compat, String> {
    let mut words = text.split_whitespace();
    let (Some(client), Some(shape)) = (words.next(), words.next()) else {
        return Err(FORM.to_owned());
    };
    if !is_client_name(client) {
        return Err(format!("`{client}` is no name of a client"));
    }
    let shape = match shape {
        "privacyidea" => Shape::PrivacyIdea,
        "linotp" => Shape::LinOtp,
        "yubico" => Shape::Yubico,
        other => return Err(format!("`{other}`: write privacyidea, linotp or yubico")),
    };
    let mut compat = Compat {
        client: client.to_owned(),
        shape,
        networks: Vec::new(),
        double_decode: None,
        show_unknown_user: false,
        yubico: None,
    };
    let (mut id, mut key_file) = (None, None);
    for word in words {
        match word {
            word if let Some(text) = word.strip_prefix("id=") => {
                let number = text.parse();
                id = Some(number.map_err(|_| "`id=`: id is a number".to_owned())?);
            }
            word if let Some(path) = word.strip_prefix("key_file=") => {
                key_file = Some(path)
                    .filter(|path| !path.is_empty())
                    .map(|path| dir.join(path));
            }
            "double_decode" => compat.double_decode = Some(true),
            "single_decode" => compat.double_decode = Some(false),
            "show_unknown_user" => compat.show_unknown_user = true,
            word if let Some((name, _)) = word.split_once('=') => {
                return Err(format!("`{name}=` is not known here: {YUBICO}"));
            }
            network => compat.networks.push(units::network(network)?),
        }
    }
    compat.yubico = match (shape, id, key_file) {
        (Shape::Yubico, Some(id), Some(key_file)) => Some(Yubico { id, key_file }),
        (Shape::Yubico, ..) => return Err(YUBICO.to_owned()),
        (_, None, None) => None,
        _ => return Err("id and key_file belong to yubico".to_owned()),
    };
    if compat.networks.is_empty() {
        return Err(format!("client {client} has no network: {FORM}"));
    }
    if compat
        .networks
        .iter()
        .any(|network| network.prefix_len() == 0)
    {
        return Err(
            "a client without a key is not known by every address: name its own".to_owned(),
        );
    }
    Ok(compat)
}

const YUBICO: &str =
    "give its id and the file of its key, as `vpn yubico 192.0.2.7 id=1 key_file=yubico.key`";
const FORM: &str = "write CLIENT privacyidea NETWORK, as `keycloak privacyidea 192.0.2.7`";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Compat, String> {
        super::parse(text, Path::new("/data"))
    }

    #[test]
    fn a_key_that_stands_in_the_place_of_its_file_is_not_repeated() {
        for wrong in [
            "vpn yubico 192.0.2.7 id=1 key=aHVudGVyMg==",
            "vpn yubico 192.0.2.7 id=aHVudGVyMg== key_file=k",
        ] {
            let fault = parse(wrong).unwrap_err();
            assert!(!fault.contains("aHVudGVyMg"), "{fault}");
        }
    }

    #[test]
    fn a_client_is_named_with_its_shape_and_its_networks() {
        let read = parse("keycloak privacyidea 192.0.2.7 2001:db8::/64 double_decode").unwrap();
        assert_eq!(
            (read.client.as_str(), read.shape),
            ("keycloak", Shape::PrivacyIdea)
        );
        assert_eq!((read.networks.len(), read.double_decode), (2, Some(true)));
        assert!(!read.show_unknown_user);
        let yubico = parse("vpn yubico 192.0.2.7 id=1 key_file=yubico.key").unwrap();
        assert_eq!(yubico.yubico(), Some(1));
        let file = yubico.yubico.as_ref().map(|one| one.key_file.as_path());
        assert_eq!(file, Some(Path::new("/data/yubico.key")));
        let other = parse("door yubico 192.0.2.8 id=1 key_file=door.key").unwrap();
        assert_eq!(
            clash(&[yubico.clone(), other]).unwrap(),
            "two clients have id=1"
        );
        assert!(clash(&[yubico.clone(), read.clone()]).is_none());
        assert!(
            clash(&[read.clone(), yubico, read])
                .unwrap()
                .contains("keycloak")
        );
        for wrong in [
            "vpn yubico 192.0.2.7 id=1",
            "vpn yubico 192.0.2.7 key_file=x",
            "vpn yubico 192.0.2.7 id=-1 key_file=x",
            "vpn yubico 192.0.2.7 id=1 key_file=",
            "vpn yubico id=1 key_file=x",
            "vpn privacyidea 192.0.2.7 id=1",
            "",
            "keycloak",
            "keycloak privacyidea",
            "keycloak duo 192.0.2.7",
            "keycloak privacyidea 0.0.0.0/0",
            "keycloak privacyidea example.com",
            "key/cloak privacyidea 192.0.2.7",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
