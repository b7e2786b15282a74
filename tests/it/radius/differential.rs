//! An independent implementation as the other side: the crate `radius`, where it is right.
//!
//! It is wrong about padding, interior NULs and Tunnel-Password, and knows no
//! Message-Authenticator; those are proven elsewhere.

use oncegate::radius::attribute::Type;
use oncegate::radius::authenticator::{RequestAuthenticator, SecretKeys};
use oncegate::radius::encode::MessageAuthenticator;
use oncegate::radius::packet::{Code, Packet};
use oncegate::radius::reply::ReplyBuilder;
use oncegate::radius::request::RequestBuilder;
use oncegate::radius::{password, verify};
use oncegate::secret::{SecretBytes, SharedSecret};
use proptest::prelude::*;
use radius::core::code::Code as PeerCode;
use radius::core::packet::Packet as Peer;
use radius::core::rfc2865;

fn keys(secret: &[u8]) -> SecretKeys {
    SecretKeys::new(SharedSecret::new(SecretBytes::from(secret)).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn the_peer_understands_our_packets(
        secret in prop::collection::vec(any::<u8>(), 1..=64),
        authenticator in any::<[u8; 16]>(),
        identifier in any::<u8>(),
        user in "[a-z]{1,40}",
        password in prop::collection::vec(1_u8.., 1..=128),
        message in "[ -~]{1,200}",
    ) {
        let keys = keys(&secret);
        let mut buffer = Vec::new();
        let mut request = RequestBuilder::new(
            &mut buffer,
            Code::AccessRequest,
            identifier,
            RequestAuthenticator(authenticator),
            MessageAuthenticator::First,
        );
        request.attribute(Type::UserName, user.as_bytes()).unwrap();
        request.user_password(&password, &keys).unwrap();
        request.finish(&keys).unwrap();

        let peer = Peer::decode(&buffer, &secret).unwrap();
        prop_assert_eq!(peer.get_code(), PeerCode::AccessRequest);
        prop_assert_eq!(peer.get_identifier(), identifier);
        prop_assert_eq!(rfc2865::lookup_user_name(&peer).unwrap().unwrap(), user);
        prop_assert_eq!(rfc2865::lookup_user_password(&peer).unwrap().unwrap(), password);

        let packet = Packet::parse(&buffer).unwrap();
        let mut reply = Vec::new();
        let sign = MessageAuthenticator::First;
        let mut builder = ReplyBuilder::new(&mut reply, Code::AccessChallenge, &packet, sign);
        builder.attribute(Type::ReplyMessage, message.as_bytes()).unwrap();
        builder.finish(&keys).unwrap();
        prop_assert!(Peer::is_authentic_response(&reply, &buffer, &secret));
        let peer = Peer::decode(&reply, &secret).unwrap();
        prop_assert_eq!(peer.get_code(), PeerCode::AccessChallenge);
        prop_assert_eq!(rfc2865::lookup_reply_message(&peer).unwrap().unwrap(), message);
    }

    #[test]
    fn we_understand_the_peers_packets(
        secret in prop::collection::vec(any::<u8>(), 1..=64),
        identifier in any::<u8>(),
        user in "[a-z]{1,40}",
        password in prop::collection::vec(1_u8.., 1..=128),
    ) {
        let keys = keys(&secret);
        let mut peer = Peer::new_with_identifier(PeerCode::AccessRequest, &secret, identifier);
        rfc2865::add_user_name(&mut peer, &user);
        rfc2865::add_user_password(&mut peer, &password).unwrap();
        let request = peer.encode().unwrap();
        let packet = Packet::parse(&request).unwrap();
        prop_assert_eq!(packet.first(Type::UserName), Some(user.as_bytes()));
        let hidden = packet.first(Type::UserPassword).unwrap();
        let authenticator = packet.request_authenticator();
        let revealed = password::reveal(hidden, &authenticator, &keys).unwrap();
        prop_assert_eq!(revealed.expose(), &password[..]);

        let mut answer = peer.make_response_packet(PeerCode::AccessAccept);
        rfc2865::add_class(&mut answer, b"vpn");
        let reply = answer.encode().unwrap();
        let reply = Packet::parse(&reply).unwrap();
        prop_assert!(verify::response(&reply, identifier, &authenticator, &keys).is_ok());
        prop_assert_eq!(reply.first(Type::Class), Some(&b"vpn"[..]));
    }
}
