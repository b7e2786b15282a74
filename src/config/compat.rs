//! `http.compat`: API clients that speak the request shapes of other products.

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
}

/// Whose requests and answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shape {
    /// privacyIDEA and eduMFA.
    PrivacyIdea,
    /// `LinOTP`.
    LinOtp,
}

/// `CLIENT privacyidea|linotp NETWORK... [double_decode|single_decode] [show_unknown_user]`.
pub(super) fn parse(text: &str) -> Result<Compat, String> {
    let mut words = text.split_whitespace();
    let (Some(client), Some(shape)) = (words.next(), words.next()) else {
        return Err(format!("`{text}`: {FORM}"));
    };
    if !is_client_name(client) {
        return Err(format!("`{client}` is no name of a client"));
    }
    let shape = match shape {
        "privacyidea" => Shape::PrivacyIdea,
        "linotp" => Shape::LinOtp,
        other => return Err(format!("`{other}`: write privacyidea or linotp")),
    };
    let mut compat = Compat {
        client: client.to_owned(),
        shape,
        networks: Vec::new(),
        double_decode: None,
        show_unknown_user: false,
    };
    for word in words {
        match word {
            "double_decode" => compat.double_decode = Some(true),
            "single_decode" => compat.double_decode = Some(false),
            "show_unknown_user" => compat.show_unknown_user = true,
            network => compat.networks.push(units::network(network)?),
        }
    }
    if compat.networks.is_empty() {
        return Err(format!("`{text}` names no network: {FORM}"));
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

const FORM: &str = "write CLIENT privacyidea NETWORK, as `keycloak privacyidea 192.0.2.7`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_named_with_its_shape_and_its_networks() {
        let read = parse("keycloak privacyidea 192.0.2.7 2001:db8::/64 double_decode").unwrap();
        assert_eq!(
            (read.client.as_str(), read.shape),
            ("keycloak", Shape::PrivacyIdea)
        );
        assert_eq!((read.networks.len(), read.double_decode), (2, Some(true)));
        assert!(!read.show_unknown_user);
        for wrong in [
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
