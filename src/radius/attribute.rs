//! Attributes: Type, Length, Value (RFC 2865 s5) and what hides inside Vendor-Specific (s5.26).
//!
//! Invariant: [`Attributes`] exists only over octets that were walked to their end, so iteration
//! cannot fail and cannot stand still. A value that does not decode (a Vendor-Specific with broken
//! insides, an unknown type) stays an opaque value; only broken framing discards a packet
//! (RFC 6929 s2.8 draws the same line).
//!
//! Threats: attribute Length 0 or 1 that loops for ever (CVE-2021-29629), Vendor-Length below 2
//! (CVE-2001-1377), thousands of attributes in one packet, and control characters in text that
//! reaches a terminal or a log.

use std::fmt;

use crate::radius::Discard;
use crate::wire::Reader;

/// One attribute in place.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Attribute<'a> {
    /// What it means.
    pub r#type: Type,
    /// 0 to 253 octets.
    pub value: &'a [u8],
}

/// The attributes of one packet, in order.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Walks the framing once.
    ///
    /// # Errors
    /// `MalformedAttribute` for a Length below 2 or beyond the packet, `TooManyAttributes`.
    pub fn parse(octets: &'a [u8]) -> Result<Self, Discard> {
        let mut reader = Reader::new(octets);
        let mut count = 0;
        while !reader.is_empty() {
            next(&mut reader).ok_or(Discard::MalformedAttribute)?;
            count += 1;
            if count > MAX_ATTRIBUTES {
                return Err(Discard::TooManyAttributes);
            }
        }
        Ok(Self(octets))
    }

    /// Attributes that [`Attributes::parse`] has walked before.
    pub(super) const fn walked(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// The attributes, first to last.
    pub const fn iter(&self) -> Iter<'a> {
        Iter(Reader::new(self.0))
    }

    /// All attributes as they came.
    pub const fn octets(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> IntoIterator for Attributes<'a> {
    type Item = Attribute<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Attributes<'a> {
    type Item = Attribute<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Types only: values may be credentials.
impl fmt::Debug for Attributes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|attribute| attribute.r#type))
            .finish()
    }
}

/// Iterator over [`Attributes`].
#[derive(Clone, Debug)]
pub struct Iter<'a>(Reader<'a>);

impl Iter<'_> {
    /// Octets after the attribute that was yielded last.
    pub const fn remaining(&self) -> usize {
        self.0.remaining()
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        next(&mut self.0)
    }
}

fn next<'a>(reader: &mut Reader<'a>) -> Option<Attribute<'a>> {
    let r#type = Type(reader.u8()?);
    // RFC 2865 s5: Length counts Type and Length themselves, so less than 2 cannot be.
    let value = usize::from(reader.u8()?).checked_sub(2)?;
    Some(Attribute {
        r#type,
        value: reader.take(value)?,
    })
}

impl<'a> Attribute<'a> {
    /// The value as text, if it is UTF-8.
    pub fn text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.value).ok()
    }

    /// The value as a four-octet integer.
    pub fn integer(&self) -> Option<u32> {
        Reader::new(self.value).all(Reader::u32)
    }

    /// The vendor's attributes, if this is a Vendor-Specific whose insides follow the layout
    /// RFC 2865 s5.26 recommends, to the last octet. `None` is not a fault: the vendor may use
    /// another layout, and the attribute stays opaque.
    pub fn vendor(&self) -> Option<Vendor<'a>> {
        if self.r#type != Type::VendorSpecific {
            return None;
        }
        let mut reader = Reader::new(self.value);
        let number = reader.u32()?;
        let attributes = reader.rest();
        let mut reader = Reader::new(attributes);
        while !reader.is_empty() {
            next(&mut reader)?;
        }
        (!attributes.is_empty()).then_some(Vendor {
            number,
            attributes: Attributes(attributes),
        })
    }
}

/// The insides of a Vendor-Specific attribute; the types in it are the vendor's, not ours.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Vendor<'a> {
    /// The vendor's private enterprise number.
    pub number: u32,
    attributes: Attributes<'a>,
}

impl<'a> Vendor<'a> {
    /// Vendor type and value of each sub-attribute.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        self.attributes
            .iter()
            .map(|attribute| (attribute.r#type.0, attribute.value))
    }
}

impl fmt::Debug for Vendor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types = self.iter().map(|(r#type, _)| r#type).collect::<Vec<_>>();
        f.debug_struct("Vendor")
            .field("number", &self.number)
            .field("types", &types)
            .finish()
    }
}

/// `Name = "text"`, `Name = 0xhex` or `Name = [hidden]`, safe for one line of a log.
impl fmt::Display for Attribute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = ", self.r#type)?;
        if self.r#type.is_credential() {
            return f.write_str("[hidden]");
        }
        match self.text() {
            Some(text) if !text.is_empty() && !text.chars().any(char::is_control) => {
                write!(f, "\"{}\"", text.escape_debug())
            }
            _ => {
                f.write_str("0x")?;
                self.value
                    .iter()
                    .try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

/// The type only: the value may be a credential.
impl fmt::Debug for Attribute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attribute({}, {} octets)", self.r#type, self.value.len())
    }
}

/// Attribute type (IANA registry "RADIUS Attribute Types").
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Type(pub u8);

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Type {
    /// Whether values of this type are credentials, and so are never shown.
    pub const fn is_credential(self) -> bool {
        matches!(
            self,
            Self::UserPassword
                | Self::ChapPassword
                | Self::State
                | Self::ChapChallenge
                | Self::TunnelPassword
                | Self::ArapPassword
                | Self::EapMessage
                | Self::VendorSpecific
        )
    }
}

/// The registry as a table: one line per type, in the order of the numbers.
macro_rules! types {
    ($($number:literal $name:ident $text:literal;)*) => {
        #[allow(non_upper_case_globals)] // IANA spelling turned to Rust: `Type::UserName`
        impl Type {
            $(#[doc = $text] pub const $name: Self = Self($number);)*

            /// IANA name, where we know one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

types! {
    1 UserName "User-Name";
    2 UserPassword "User-Password";
    3 ChapPassword "CHAP-Password";
    4 NasIpAddress "NAS-IP-Address";
    5 NasPort "NAS-Port";
    6 ServiceType "Service-Type";
    7 FramedProtocol "Framed-Protocol";
    8 FramedIpAddress "Framed-IP-Address";
    9 FramedIpNetmask "Framed-IP-Netmask";
    10 FramedRouting "Framed-Routing";
    11 FilterId "Filter-Id";
    12 FramedMtu "Framed-MTU";
    13 FramedCompression "Framed-Compression";
    14 LoginIpHost "Login-IP-Host";
    15 LoginService "Login-Service";
    16 LoginTcpPort "Login-TCP-Port";
    18 ReplyMessage "Reply-Message";
    19 CallbackNumber "Callback-Number";
    20 CallbackId "Callback-Id";
    22 FramedRoute "Framed-Route";
    23 FramedIpxNetwork "Framed-IPX-Network";
    24 State "State";
    25 Class "Class";
    26 VendorSpecific "Vendor-Specific";
    27 SessionTimeout "Session-Timeout";
    28 IdleTimeout "Idle-Timeout";
    29 TerminationAction "Termination-Action";
    30 CalledStationId "Called-Station-Id";
    31 CallingStationId "Calling-Station-Id";
    32 NasIdentifier "NAS-Identifier";
    33 ProxyState "Proxy-State";
    34 LoginLatService "Login-LAT-Service";
    35 LoginLatNode "Login-LAT-Node";
    36 LoginLatGroup "Login-LAT-Group";
    37 FramedAppleTalkLink "Framed-AppleTalk-Link";
    38 FramedAppleTalkNetwork "Framed-AppleTalk-Network";
    39 FramedAppleTalkZone "Framed-AppleTalk-Zone";
    40 AcctStatusType "Acct-Status-Type";
    41 AcctDelayTime "Acct-Delay-Time";
    42 AcctInputOctets "Acct-Input-Octets";
    43 AcctOutputOctets "Acct-Output-Octets";
    44 AcctSessionId "Acct-Session-Id";
    45 AcctAuthentic "Acct-Authentic";
    46 AcctSessionTime "Acct-Session-Time";
    47 AcctInputPackets "Acct-Input-Packets";
    48 AcctOutputPackets "Acct-Output-Packets";
    49 AcctTerminateCause "Acct-Terminate-Cause";
    50 AcctMultiSessionId "Acct-Multi-Session-Id";
    51 AcctLinkCount "Acct-Link-Count";
    52 AcctInputGigawords "Acct-Input-Gigawords";
    53 AcctOutputGigawords "Acct-Output-Gigawords";
    55 EventTimestamp "Event-Timestamp";
    60 ChapChallenge "CHAP-Challenge";
    61 NasPortType "NAS-Port-Type";
    62 PortLimit "Port-Limit";
    63 LoginLatPort "Login-LAT-Port";
    64 TunnelType "Tunnel-Type";
    65 TunnelMediumType "Tunnel-Medium-Type";
    66 TunnelClientEndpoint "Tunnel-Client-Endpoint";
    67 TunnelServerEndpoint "Tunnel-Server-Endpoint";
    68 AcctTunnelConnection "Acct-Tunnel-Connection";
    69 TunnelPassword "Tunnel-Password";
    70 ArapPassword "ARAP-Password";
    71 ArapFeatures "ARAP-Features";
    72 ArapZoneAccess "ARAP-Zone-Access";
    73 ArapSecurity "ARAP-Security";
    74 ArapSecurityData "ARAP-Security-Data";
    75 PasswordRetry "Password-Retry";
    76 Prompt "Prompt";
    77 ConnectInfo "Connect-Info";
    78 ConfigurationToken "Configuration-Token";
    79 EapMessage "EAP-Message";
    80 MessageAuthenticator "Message-Authenticator";
    81 TunnelPrivateGroupId "Tunnel-Private-Group-ID";
    82 TunnelAssignmentId "Tunnel-Assignment-ID";
    83 TunnelPreference "Tunnel-Preference";
    84 ArapChallengeResponse "ARAP-Challenge-Response";
    85 AcctInterimInterval "Acct-Interim-Interval";
    86 AcctTunnelPacketsLost "Acct-Tunnel-Packets-Lost";
    87 NasPortId "NAS-Port-Id";
    88 FramedPool "Framed-Pool";
    89 ChargeableUserIdentity "CUI";
    90 TunnelClientAuthId "Tunnel-Client-Auth-ID";
    91 TunnelServerAuthId "Tunnel-Server-Auth-ID";
    92 NasFilterRule "NAS-Filter-Rule";
    94 OriginatingLineInfo "Originating-Line-Info";
    95 NasIpv6Address "NAS-IPv6-Address";
    96 FramedInterfaceId "Framed-Interface-Id";
    97 FramedIpv6Prefix "Framed-IPv6-Prefix";
    98 LoginIpv6Host "Login-IPv6-Host";
    99 FramedIpv6Route "Framed-IPv6-Route";
    100 FramedIpv6Pool "Framed-IPv6-Pool";
    101 ErrorCause "Error-Cause";
    102 EapKeyName "EAP-Key-Name";
    123 DelegatedIpv6Prefix "Delegated-IPv6-Prefix";
    126 OperatorName "Operator-Name";
    168 FramedIpv6Address "Framed-IPv6-Address";
}

/// Most attributes a packet may have. Against a client, or a forger in front of one that needs no
/// Message-Authenticator, that fills 4096 octets with 2038 empty attributes to make every lookup
/// and every copy cost its worst. FreeRADIUS draws the line at the same place.
pub const MAX_ATTRIBUTES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn vendor_specific(value: &[u8]) -> Attribute<'_> {
        Attribute {
            r#type: Type::VendorSpecific,
            value,
        }
    }

    #[test]
    fn broken_framing_is_refused() {
        for octets in [
            &[1][..],
            &[1, 0],
            &[1, 1],
            &[1, 3],
            &[1, 2, 1, 4, 0],
            &[1, 255],
        ] {
            assert_eq!(
                Attributes::parse(octets),
                Err(Discard::MalformedAttribute),
                "{octets:02x?}"
            );
        }
        assert!(Attributes::parse(&[1, 2, 255, 3, 9]).is_ok());
    }

    #[test]
    fn the_cap_counts_attributes() {
        assert!(Attributes::parse(&[1, 2].repeat(MAX_ATTRIBUTES)).is_ok());
        assert_eq!(
            Attributes::parse(&[1, 2].repeat(MAX_ATTRIBUTES + 1)),
            Err(Discard::TooManyAttributes)
        );
    }

    #[test]
    fn vendor_attributes_are_found() {
        let attribute = vendor_specific(b"\0\0\0\x09\x01\x06shel\x02\x03!");
        let vendor = attribute.vendor().unwrap();
        assert_eq!(vendor.number, 9);
        assert_eq!(
            vendor.iter().collect::<Vec<_>>(),
            [(1, &b"shel"[..]), (2, b"!")]
        );
    }

    #[test]
    fn undecodable_vendor_specific_stays_opaque() {
        for value in [
            &b""[..],
            b"\0\0\0",
            b"\0\0\0\x09",
            b"\0\0\0\x09\x01\0",
            b"\0\0\0\x09\x01\x01",
        ] {
            assert_eq!(vendor_specific(value).vendor(), None, "{value:02x?}");
        }
        assert_eq!(vendor_specific(b"\0\0\0\x09\x01\x03x\x01").vendor(), None);
    }

    #[test]
    fn display_is_one_safe_line() {
        let show = |r#type, value| Attribute { r#type, value }.to_string();
        assert_eq!(show(Type::UserName, b"al\"ice"), r#"User-Name = "al\"ice""#);
        assert_eq!(show(Type::UserName, b"a\nb"), "User-Name = 0x610a62");
        assert_eq!(show(Type(222), b"\xff"), "222 = 0xff");
        assert_eq!(
            show(Type::UserPassword, b"secret"),
            "User-Password = [hidden]"
        );
    }

    #[test]
    fn integers_are_four_octets() {
        let integer = |value| {
            Attribute {
                r#type: Type::NasPort,
                value,
            }
            .integer()
        };
        assert_eq!(integer(&[0, 0, 1, 2]), Some(258));
        assert_eq!(integer(&[0, 1, 2]), None);
    }
}
