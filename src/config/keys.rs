//! Every key of the configuration: path, default, meaning.

use crate::config::file::Key;

macro_rules! keys {
    ($($name:ident = $path:literal, $default:literal, $about:literal;)*) => {
        $(
            #[doc = concat!("`", $path, "`: ", $about, ".")]
            pub const $name: &Key = &Key { path: $path, default: $default, about: $about };
        )*
        /// All keys, in the order of the template.
        pub const ALL: &[&Key] = &[$($name),*];
    };
}

keys! {
    RADIUS_ENABLED = "radius.enabled", "true", "serve RADIUS";
    RADIUS_LISTEN = "radius.listen", "127.0.0.1:1812",
        "addresses for RADIUS over UDP; a list for more than one";
    HTTP_ENABLED = "http.enabled", "true", "serve HTTP";
    HTTP_LISTEN = "http.listen", "127.0.0.1:8080",
        "addresses for HTTP; a list for more than one";
    HTTP_INSECURE = "http.insecure", "false",
        "serve HTTP without TLS beyond loopback: passwords and keys travel readable";
    HTTP_TLS_CERTIFICATE = "http.tls.certificate", "",
        "PEM file: the server's certificate, then the intermediate ones";
    HTTP_TLS_KEY = "http.tls.key", "", "PEM file: the private key of the certificate";
    STORE_ENGINE = "store.engine", "redb", "where users, tokens and clients live";
    STORE_DIR = "store.dir", "store", "directory of the store's files";
    KEYS_MASTER = "keys.master", "file:master.key",
        "the key that seals the store: file:PATH, env:NAME or credential:NAME (systemd)";
    KEYS_ALGORITHM = "keys.algorithm", "aes-256-gcm",
        "what seals secrets: aes-256-gcm, aria-256-gcm or seed-128-ctr-hmac-sha256";
    POLICIES_DIR = "policies.dir", "policies", "directory of the policy files";
    POLICIES_DEPARTURES = "policies.departures", "",
        "table of who is abroad, for exemptions: user,departed,returned";
    POLICIES_COUNTRIES = "policies.countries", "",
        "table of networks and countries, for exemptions: network,country";
    AUDIT_SEGMENT_SIZE = "audit.segment_size", "64MiB",
        "size at which a new audit segment begins, 1MiB to 1GiB";
    LIMITS_RADIUS_IN_FLIGHT = "limits.radius_in_flight", "4096",
        "RADIUS requests worked on at a time; more are dropped, the gear asks again";
    LIMITS_RADIUS_QUEUE = "limits.radius_queue", "8192",
        "RADIUS datagrams waiting for a worker";
    LIMITS_HTTP_CONNECTIONS = "limits.http_connections", "1024", "open HTTP connections";
    LIMITS_HTTP_CONNECTIONS_PER_ADDRESS = "limits.http_connections_per_address", "256",
        "open HTTP connections of one address; loopback is not limited";
    LIMITS_HTTP_CLIENT_RATE = "limits.http_client_rate", "none",
        "requests a second of one API client, or none: no limit; more are answered with 429";
    LIMITS_REQUEST_TIMEOUT = "limits.request_timeout", "3s",
        "time for one decision, 100ms to 60s; after it: silence or 503";
    LIMITS_REJECT_QUEUE = "limits.reject_queue", "65536",
        "rejects waiting for their delay; more leave at once";
    LIMITS_PASSWORD_THREADS = "limits.password_threads", "auto",
        "PINs and passwords compared at a time: auto leaves one core to codes";
    LIMITS_PASSWORD_QUEUE = "limits.password_queue", "64",
        "PINs and passwords waiting to be compared; more are not decided: silence or 503";
    LIMITS_PASSWORD_COST = "limits.password_cost", "19MiB x 2",
        "memory and passes of argon2id; hashes of another cost are renewed at the next login";
    LOG_LEVEL = "log.level", "info", "error, warn, info, debug or trace";
    LOG_FORMAT = "log.format", "text", "text or json";
}
