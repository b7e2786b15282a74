//! Request forgery by way of a gateway (threats T31): no spelling of an address, no name and no
//! second answer of a name server leads into this machine or the private network.

use std::path::Path;
use std::sync::Arc;

use oncegate::config::Config;
use oncegate::config::target::Reach;
use oncegate::core::courier::Courier as _;
use oncegate::diagnostic::Source;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::gateway::{DeliveryLab, GatewayDouble, config, sms};

/// `PORT` is the port of a gateway double on loopback, which would take the message.
const EVIL: [&str; 74] = [
    // This machine, spelt out and in disguise.
    "http://127.0.0.1:PORT/",
    "http://127.1:PORT/",
    "http://127.0.1:PORT/",
    "http://127.000.000.001:PORT/",
    "http://0177.0.0.1:PORT/",
    "http://0x7f.0.0.1:PORT/",
    "http://0x7f.1:PORT/",
    "http://0x7f000001:PORT/",
    "http://0X7F000001:PORT/",
    "http://2130706433:PORT/",
    "http://017700000001:PORT/",
    "http://127.0.0.1.:PORT/",
    "http://127.0.0.2:PORT/",
    "http://127.255.255.254:PORT/",
    "http://0:PORT/",
    "http://0.0.0.0:PORT/",
    "http://0.0.0.1:PORT/",
    "http://0x0:PORT/",
    "http://localhost:PORT/",
    "http://LOCALHOST:PORT/",
    "http://localhost.:PORT/",
    "http://a.localhost:PORT/",
    "http://%31%32%37.0.0.1:PORT/",
    "http://\u{ff11}27.0.0.1:PORT/",
    "http://127\u{3002}0\u{3002}0\u{3002}1:PORT/",
    "http://\u{2460}\u{2461}\u{2466}.0.0.1:PORT/",
    // IPv6, and IPv4 inside it.
    "http://[::1]:PORT/",
    "http://[0:0:0:0:0:0:0:1]:PORT/",
    "http://[::]:PORT/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "http://[::ffff:7f00:1]:PORT/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:PORT/",
    "http://[::127.0.0.1]:PORT/",
    "http://[64:ff9b::127.0.0.1]:PORT/",
    "http://[64:ff9b:1::7f00:1]:PORT/",
    "http://[2002:7f00:1::]:PORT/",
    "http://[2001:0:7f00:1::1]:PORT/",
    "http://[fe80::1]:PORT/",
    "http://[fe80::1%25lo]:PORT/",
    "http://[fc00::1]:PORT/",
    "http://[fd12:3456::1]:PORT/",
    "http://[fec0::1]:PORT/",
    "http://[ff02::1]:PORT/",
    "http://[2001:db8::1]:PORT/",
    "http://[::1]:PORT@example.com/",
    // Private networks, metadata, and what is nobody's.
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.254/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.169.254./",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://[fd00:ec2::254]/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    // The host that is read is not the host that is meant.
    "http://user@127.0.0.1:PORT/",
    "http://user:password@127.0.0.1:PORT/",
    "http://example.com@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT@example.com/",
    "http://example.com#@127.0.0.1:PORT/",
    "http://example.com\\@127.0.0.1:PORT/",
    "http:/\\127.0.0.1:PORT/",
    "http://127.0.0.1:PORT\\.example.com/",
    // Not HTTP.
    "file:///etc/passwd",
    "gopher://127.0.0.1:PORT/_x",
    "ftp://127.0.0.1:PORT/",
    "//127.0.0.1:PORT/",
    "http://127.0.0.1:PORT /",
];

fn table(double: &GatewayDouble, url: &str) -> String {
    let url = toml::Value::from(url).to_string();
    let plain = format!("\"http://{}/send\"", double.address());
    let table = double.table("a", "attempts = 1");
    table
        .replace(&plain, &url)
        .replace("allow_private = true\n", "")
}

#[tokio::test]
async fn no_evil_url_reaches_anybody() {
    let double = GatewayDouble::start();
    let port = double.address().port().to_string();
    for url in EVIL {
        let url = url.replace("PORT", &port);
        let text = table(&double, &url);
        let source = Source::new("oncegate.toml", text);
        let Ok((config, _)) = Config::load(Some(&source), [], Path::new("/")) else {
            continue;
        };
        // Names can be judged only when they have led somewhere.
        let lab = DeliveryLab::open(&config.delivery);
        for name in ["localhost", "a.localhost"] {
            lab.names.lead(name, &["127.0.0.1"]);
        }
        let error = lab.deliveries.deliver(sms(1, "x")).await.unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("localhost leads to 127.0.0.1, an address of this"),
            "{url}: {told}"
        );
    }
    assert_eq!(double.connections(), 0);
    // The table tests something: the same double is reached where that is allowed.
    let lab = DeliveryLab::new(&double.table("a", ""));
    lab.deliveries.deliver(sms(1, "x")).await.unwrap();
    assert_eq!(double.connections(), 1);
}

#[tokio::test]
async fn names_that_lead_inside_are_refused_whole() {
    let double = GatewayDouble::start();
    let url = format!("http://sms.example:{}/", double.address().port());
    for addresses in [
        &["127.0.0.1"][..],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["0.0.0.0"],
        &["10.0.0.1"],
        &["169.254.169.254"],
        &["93.184.216.34", "127.0.0.1"],
        &["fd00::1", "93.184.216.34"],
    ] {
        let lab = DeliveryLab::new(&table(&double, &url));
        lab.names.lead("sms.example", addresses);
        let error = lab.deliveries.deliver(sms(1, "x")).await.unwrap_err();
        assert!(
            error.to_string().contains("a: sms.example leads to "),
            "{addresses:?}: {error}"
        );
    }
    let lab = DeliveryLab::new(&table(&double, &url));
    let error = lab.deliveries.deliver(sms(1, "x")).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("sms.example has no address: no such name"),
        "{error}"
    );
    assert_eq!(double.connections(), 0);
}

#[tokio::test]
async fn the_private_network_is_opened_but_not_the_metadata_in_it() {
    let double = GatewayDouble::start();
    let url = format!("http://sms.example:{}/", double.address().port());
    let mut plan = config(&table(&double, &url)).delivery;
    plan.gateways[0].reach = Reach::Private;
    let lab = DeliveryLab::open(&plan);
    lab.names.lead("sms.example", &["169.254.169.254"]);
    lab.names.lead("sms.example", &["127.0.0.1"]);
    let error = lab.deliveries.deliver(sms(1, "x")).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("169.254.169.254, a link-local address"),
        "{error}"
    );
    lab.deliveries.deliver(sms(2, "x")).await.unwrap();
    assert_eq!(double.connections(), 1);
}

/// A name server that answers well the first time and evil the second: the connection goes to what
/// was checked, because the name is asked once.
#[tokio::test]
async fn the_connection_goes_to_the_address_that_was_checked() {
    let double = GatewayDouble::start();
    let url = format!("http://sms.example:{}/", double.address().port());
    let mut plan = config(&table(&double, &url)).delivery;
    plan.gateways[0].reach = Reach::Private;
    let lab = DeliveryLab::open(&plan);
    // Nobody listens on the second address.
    lab.names.lead("sms.example", &["127.0.0.1"]);
    lab.names.lead("sms.example", &["127.0.0.9"]);
    lab.deliveries.deliver(sms(1, "x")).await.unwrap();
    let received = &double.received()[0];
    assert_eq!(
        received.header("host").unwrap(),
        url.split('/').nth(2).unwrap()
    );
    let error = lab.deliveries.deliver(sms(2, "x")).await.unwrap_err();
    assert!(
        error.to_string().contains("no connection to 127.0.0.9:"),
        "{error}"
    );
}

/// The address is ours to check, the certificate is checked against the name.
#[tokio::test]
async fn tls_is_checked_against_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["sms.example".to_owned()]).unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let body = "{\"result\":\"ok\"}";
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    let double = GatewayDouble::start();
    let tried = async |host: &str, believe: bool| {
        let mut plan = config(&table(&double, &format!("https://{host}:{port}/"))).delivery;
        plan.gateways[0].reach = Reach::Private;
        plan.gateways[0].ca_file = believe.then(|| ca.clone());
        let lab = DeliveryLab::open(&plan);
        lab.names.lead(host, &["127.0.0.1"]);
        lab.deliveries.deliver(sms(1, "x")).await
    };
    assert_eq!(tried("sms.example", true).await.unwrap().gateway, "a");
    for (host, believe) in [("other.example", true), ("sms.example", false)] {
        let error = tried(host, believe).await.unwrap_err().to_string();
        assert!(error.contains(&format!("no TLS with {host}: ")), "{error}");
    }
}
