//! Every key of the configuration: path, default, meaning.

use crate::config::file::{Form, Key};

macro_rules! keys {
    ($($name:ident = $path:literal, $default:literal, $about:literal;)*) => {
        $(
            #[doc = concat!("`", $path, "`: ", $about, ".")]
            pub const $name: &Key = &Key {
                path: $path, default: $default, about: $about, form: Form::List,
            };
        )*
        /// All keys, in the order of the template.
        pub const ALL: &[&Key] = &[$($name),*];
    };
}

keys! {
    RADIUS_ENABLED = "radius.enabled", "true", "serve RADIUS";
    RADIUS_LISTEN = "radius.listen", "127.0.0.1:1812",
        "addresses for RADIUS over UDP; a list for more than one";
    RADIUS_ACCOUNTING_LISTEN = "radius.accounting_listen", "auto",
        "addresses for RADIUS accounting over UDP; auto: port 1813 where listen has 1812, 1646 where it has 1645; off";
    RADIUS_ACCOUNTING_KEEP = "radius.accounting_keep", "30d",
        "how long a session is listed after its last report, at least 1d; the audit keeps the reports";
    RADIUS_EAP_CERTIFICATE = "radius.eap.certificate", "",
        "PEM file for EAP-TTLS and PEAP: the server's certificate, then the intermediate ones; without it EAP has no tunnels";
    RADIUS_EAP_KEY = "radius.eap.key", "", "PEM file: the private key of that certificate";
    RADIUS_DICTIONARY = "radius.dictionary", "",
        "file or directory of dictionaries of your own, in the format of FreeRADIUS, beside those built in";
    RADIUS_TLS_LISTEN = "radius.tls.listen", "127.0.0.1:2083",
        "addresses for RADIUS over TLS, served where the three files below are named";
    RADIUS_TLS_CERTIFICATE = "radius.tls.certificate", "",
        "PEM file: the server's certificate for RADIUS over TLS, then the intermediate ones";
    RADIUS_TLS_KEY = "radius.tls.key", "", "PEM file: the private key of that certificate";
    RADIUS_TLS_CLIENT_CA = "radius.tls.client_ca", "",
        "PEM file: the authorities that make certificates of RADIUS clients";
    HTTP_ENABLED = "http.enabled", "true", "serve HTTP";
    HTTP_LISTEN = "http.listen", "127.0.0.1:8080",
        "addresses for HTTP; a list for more than one";
    HTTP_INSECURE = "http.insecure", "false",
        "serve HTTP without TLS beyond loopback: passwords and keys travel readable";
    HTTP_INBOUND_SECRET_FILE = "http.inbound_secret_file", "",
        "file with the secret by which gateways sign what they send to /v1/inbound";
    HTTP_TRUSTED_PROXIES = "http.trusted_proxies", "",
        "addresses or networks of the reverse proxies whose X-Forwarded-For or Forwarded is believed";
    HTTP_PUBLIC_URL = "http.public_url", "",
        "where people and devices reach this server, for enrolment links and QR codes: its name with https in front";
    HTTP_COMPAT = "http.compat", "",
        "API clients that ask as they asked another product, below /compat/CLIENT: a list of `CLIENT privacyidea NETWORK`, or linotp, or `CLIENT yubico NETWORK id=N key_file=PATH`";
    HTTP_TLS_CERTIFICATE = "http.tls.certificate", "",
        "PEM file: the server's certificate, then the intermediate ones";
    HTTP_TLS_KEY = "http.tls.key", "", "PEM file: the private key of the certificate";
    WEB_CONSOLE = "web.console", "true", "serve the console, for administrators in the browser, at /console";
    WEB_PORTAL = "web.portal", "true", "serve self-service, for every user in the browser, at /me";
    WEB_APP = "web.app", "true", "serve the authenticator of telephones at /app, and lead QR codes there";
    WEB_CONSOLE_NETWORKS = "web.console_networks", "",
        "addresses or networks from which the console is reached; from everywhere when none is given";
    WEB_CONSOLE_LISTEN = "web.console_listen", "",
        "addresses of listeners for the console alone, which is served nowhere else then";
    WEB_EDIT_POLICIES = "web.edit_policies", "false",
        "let administrators change policy files by drafts that another person approves";
    STORE_ENGINE = "store.engine", "redb", "where users, tokens and clients live";
    STORE_DIR = "store.dir", "store", "directory of the store's files";
    STORE_CACHE_SIZE = "store.cache_size", "176MiB",
        "memory for rows of users and tokens, 16MiB to 64GiB, and half as much again for their counters: 1 MiB is for some 2,000 users";
    STORE_WITNESS = "store.witness", "witness",
        "files outside the store that say how far it is, for a store that is put back; a list for more than one";
    KEYS_MASTER = "keys.master", "file:master.key",
        "the key that seals the store: file:PATH, env:NAME, credential:NAME (systemd) or pkcs11:.. (a hardware security module)";
    KEYS_ALGORITHM = "keys.algorithm", "aes-256-gcm",
        "what seals secrets: aes-256-gcm, aria-256-gcm or seed-128-ctr-hmac-sha256";
    POLICIES_DIR = "policies.dir", "policies", "directory of the policy files";
    POLICIES_DEPARTURES = "policies.departures", "",
        "table of who is abroad, for exemptions: user,departed,returned";
    POLICIES_COUNTRIES = "policies.countries", "",
        "table of networks and countries, for exemptions: network,country";
    AUDIT_SEGMENT_SIZE = "audit.segment_size", "64MiB",
        "size at which a new audit segment begins, 1MiB to 1GiB";
    AUDIT_KEEP = "audit.keep", "forever",
        "how long audit records are kept, as 400d, at least 1d, or forever; older segments are removed hourly";
    AUDIT_KEEP_SIZE = "audit.keep_size", "unlimited",
        "how much room audit records take, as 100GiB, at least 64MiB, or unlimited; the oldest segments beyond it are removed hourly";
    AUDIT_SHIP_FORMAT = "audit.ship_format", "json",
        "what a shipped audit record looks like: json, or cef (Common Event Format)";
    AUDIT_SHIP_FILE = "audit.ship_file", "",
        "file, on another disk say, to which every audit record is appended as a line";
    AUDIT_SHIP_SYSLOG = "audit.ship_syslog", "",
        "syslog server for every audit record: tls://HOST:6514, or tcp://HOST:PORT";
    AUDIT_SHIP_HTTP = "audit.ship_http", "",
        "URL to which audit records are posted as lines";
    AUDIT_SHIP_TOKEN_FILE = "audit.ship_token_file", "",
        "file with the bearer token for ship_http";
    AUDIT_SHIP_CA_FILE = "audit.ship_ca_file", "",
        "PEM file of the authority that vouches for ship_syslog and ship_http, instead of the system's";
    AUDIT_HEADS = "audit.heads", "",
        "file, on another disk say, to which the signed head of the chain is appended every minute";
    LIMITS_RADIUS_IN_FLIGHT = "limits.radius_in_flight", "4096",
        "RADIUS requests worked on at a time; more are dropped, the NAS asks again";
    LIMITS_RADIUS_QUEUE = "limits.radius_queue", "8192",
        "RADIUS datagrams waiting for a worker";
    LIMITS_HTTP_CONNECTIONS = "limits.http_connections", "1024", "open HTTP connections";
    LIMITS_HTTP_CONNECTIONS_PER_ADDRESS = "limits.http_connections_per_address", "256",
        "open HTTP connections of one address, of IPv6 of one /56; loopback and trusted proxies are not limited";
    LIMITS_HTTP_CLIENT_RATE = "limits.http_client_rate", "none",
        "requests a second of one API client, or none: no limit; more are answered with 429";
    LIMITS_REQUEST_TIMEOUT = "limits.request_timeout", "3s",
        "time for one decision, 100ms to 60s; after it: silence or 503";
    LIMITS_REJECT_QUEUE = "limits.reject_queue", "65536",
        "answers waiting for their delay; more requests are not decided: silence or 503";
    LIMITS_PASSWORD_THREADS = "limits.password_threads", "auto",
        "PINs and passwords compared at a time: auto leaves one core to codes";
    LIMITS_PASSWORD_QUEUE = "limits.password_queue", "64",
        "PINs and passwords waiting to be compared; more are not decided: silence or 503";
    LIMITS_PASSWORD_COST = "limits.password_cost", "19MiB x 2",
        "memory and passes of argon2id; hashes of another cost are renewed at the next login";
    LIMITS_DELIVERY_BUDGET = "limits.delivery_budget", "15s",
        "time for delivering one message, all retries and gateways together, 1s to 120s";
    LIMITS_DELIVERY_COUNTRIES = "limits.delivery_countries", "+82",
        "countries that messages and calls go to: prefixes of numbers, as +82";
    LIMITS_DELIVERY_HOME = "limits.delivery_home", "+82",
        "country of phone numbers that are written without one";
    LIMITS_DELIVERY_LANGUAGE = "limits.delivery_language", "en",
        "language of new users, and of prompts before anything was proven: en or ko";
    OUTAGE_USERS = "outage.users", "none",
        "users whose codes fail after a right PIN or password before an outage is declared, or none";
    OUTAGE_WINDOW = "outage.window", "5m", "time in which they fail, 1m to 1h";
    OUTAGE_FOR = "outage.for", "30m", "how long the outage is declared then, 1m to 24h";
    LOG_LEVEL = "log.level", "info", "error, warn, info, debug or trace";
    LOG_FORMAT = "log.format", "text", "text, json, or journald: entries of systemd's journal with their fields";
}

/// Keys of tables whose names the operator chooses.
macro_rules! table_keys {
    ($section:literal $all:ident: $($name:ident = $path:literal, $form:ident, $default:literal, $about:literal;)*) => {
        $(
            #[doc = concat!("`", $section, ".NAME.", $path, "`: ", $about, ".")]
            pub const $name: &Key = &Key {
                path: concat!($section, ".*.", $path),
                default: $default, about: $about, form: Form::$form,
            };
        )*
        /// All keys of such a table, in the order of the template.
        pub const $all: &[&Key] = &[$($name),*];
    };
}

table_keys! {
    "delivery" GATEWAY:
    GATEWAY_KIND = "kind", Text, "", "http or smtp";
    GATEWAY_MEDIA = "media", List, "", "what it carries: sms, email, voice";
    GATEWAY_PRIORITY = "priority", Text, "100",
        "the lowest number is asked first; of equal ones the first in the file";
    GATEWAY_TIMEOUT = "timeout", Text, "5s", "time for one attempt, 100ms to 60s";
    GATEWAY_ATTEMPTS = "attempts", Text, "2",
        "attempts with one message before the next gateway's turn, 1 to 5";
    GATEWAY_IN_FLIGHT = "in_flight", Text, "8", "messages handed over at a time";
    GATEWAY_QUEUE = "queue", Text, "32", "messages waiting for that; more go to the next gateway";
    GATEWAY_BREAKER_FAILURES = "breaker_failures", Text, "5",
        "failures in a row after which it is not asked for a while";
    GATEWAY_BREAKER_PAUSE = "breaker_pause", Text, "30s",
        "how long it is not asked, 1s to 1h; then one message tries it";
    GATEWAY_ALLOW_PRIVATE = "allow_private", Text, "false",
        "it may be on this machine or in a private network";
    GATEWAY_SECRET_FILE = "secret_file", Text, "",
        "file with its key or password: {secret} of http, the password of smtp";
    GATEWAY_CA_FILE = "ca_file", Text, "",
        "PEM file of the authority that vouches for it, instead of the system's";
    GATEWAY_URL = "url", Text, "", "where it is; placeholders behind the host only";
    GATEWAY_METHOD = "method", Text, "POST", "GET, POST or PUT";
    GATEWAY_HEADERS = "headers", List, "", "a list of `Name: value`";
    GATEWAY_BODY = "body", Text, "", "the body with its placeholders";
    GATEWAY_FORMAT = "format", Text, "json", "what the body is: json or form";
    GATEWAY_SUCCESS_STATUS = "success_status", List, "2xx",
        "statuses of a taken message: 200, or 2xx for all of them";
    GATEWAY_SUCCESS_MATCH = "success_match", Text, "",
        "what else the JSON answer must say: `/result = \"ok\"`";
    GATEWAY_REFERENCE = "reference", Text, "",
        "where the JSON answer has its id of the message: `/message/id`";
    GATEWAY_HOST = "host", Text, "", "the mail server";
    GATEWAY_PORT = "port", Text, "587", "its port; on 465 TLS begins at once";
    GATEWAY_TLS = "tls", Text, "required", "required, opportunistic or none";
    GATEWAY_USER = "user", Text, "", "the name to log in with; its password is in secret_file";
    GATEWAY_FROM = "from", Text, "", "address of the sender";
}

table_keys! {
    "source" SOURCE:
    SOURCE_KIND = "kind", Text, "", "ldap, sql or file, which are read, or scim, whose client pushes";
    SOURCE_REALM = "realm", Text, "default", "realm of its users";
    SOURCE_CLIENT = "client", Text, "", "of scim: the API client that pushes; of the name of the source where it is not written";
    SOURCE_EVERY = "every", Text, "1h", "how often users follow it, 1m to 7d; never: by command only";
    SOURCE_TIMEOUT = "timeout", Text, "10s", "how long one answer of it may take, of sql the whole query, 1s to 5m";
    SOURCE_URL = "url", List, "",
        "its servers, asked in this order: ldaps://HOST, or ldap://HOST with StartTLS; of sql postgresql://USER@HOST/DATABASE";
    SOURCE_STARTTLS = "starttls", Text, "true",
        "whether an ldap:// or postgresql:// connection is encrypted; without it only on this machine";
    SOURCE_CA_FILE = "ca_file", Text, "",
        "PEM file of the authority that vouches for its servers, instead of the system's";
    SOURCE_BIND_DN = "bind_dn", Text, "", "the account that reads it: a DN, or NAME@DOMAIN of Active Directory";
    SOURCE_SECRET_FILE = "secret_file", Text, "", "file with the password of the account that reads it";
    SOURCE_SCHEMA = "schema", Text, "ldap",
        "which attributes and filters hold where none is written: ldap (OpenLDAP, 389) or ad (Active Directory, Samba)";
    SOURCE_BASE = "base", Text, "", "DN below which the people are";
    SOURCE_FILTER = "filter", Text, "",
        "which entries are people; (objectClass=inetOrgPerson), of ad (&(objectCategory=person)(objectClass=user))";
    SOURCE_GROUP_BASE = "group_base", Text, "", "DN below which the groups are; as base where it is not written";
    SOURCE_GROUP_FILTER = "group_filter", Text, "",
        "which entries are groups; groupOfNames, groupOfUniqueNames and posixGroup, of ad (objectClass=group)";
    SOURCE_GROUPS = "groups", List, "*",
        "names of the groups that users get, those they are in through other groups too; a * at the end: every name that begins so";
    SOURCE_ID = "id", Text, "", "attribute that never changes; entryUUID, of ad objectGUID";
    SOURCE_LOGIN = "login", Text, "", "attribute with the login name; uid, of ad sAMAccountName";
    SOURCE_DISPLAY_NAME = "display_name", Text, "", "attribute with the full name; displayName, else cn";
    SOURCE_PHONE = "phone", Text, "mobile", "attribute with the telephone number";
    SOURCE_EMAIL = "email", Text, "mail", "attribute with the mail address";
    SOURCE_ALIASES = "aliases", List, "",
        "attributes with other names that lead to the user; none, of ad userPrincipalName; of scim emails, externalId";
    SOURCE_PAGE_SIZE = "page_size", Text, "500", "entries that one answer holds, 1 to 1000";
    SOURCE_PASSWORD = "password", Text, "false",
        "whether the password of its users is that of the directory, checked by a bind";
    SOURCE_BIND_TIMEOUT = "bind_timeout", Text, "2s",
        "how long a login waits for that, 100ms to 30s; below limits.request_timeout";
    SOURCE_IN_FLIGHT = "in_flight", Text, "16", "binds at a time, 1 to 32";
    SOURCE_BREAKER_FAILURES = "breaker_failures", Text, "5",
        "failures in a row after which it is not asked for a while";
    SOURCE_BREAKER_PAUSE = "breaker_pause", Text, "10s",
        "how long it is not asked, 1s to 1h; then one login tries it";
    SOURCE_QUERY = "query", Text, "",
        "of sql: one SELECT whose columns are id, user, display_name, phone, email, groups, alias, disabled";
    SOURCE_FILE = "file", Text, "", "of file: CSV (.csv, .txt) or JSON (.json) file with such columns";
    SOURCE_ENCODING = "encoding", Text, "",
        "of file: its encoding, as cp949; as its byte order mark says, else utf-8";
    SOURCE_MAP = "map", List, "", "of file: what it calls its columns, as Login=user";
    SOURCE_IGNORE_COLUMNS = "ignore_columns", List, "",
        "of file: columns that are left out; *: all that are unknown";
}

table_keys! {
    "webhook" WEBHOOK:
    WEBHOOK_URL = "url", Text, "", "where it is told: https://, of this machine http:// too";
    WEBHOOK_SECRET_FILE = "secret_file", Text, "",
        "file with the key that signs: whsec_ and base64, or text, of 24 to 64 octets";
    WEBHOOK_EVENTS = "events", List, "enrolments, locks, approvals", "of what it is told";
    WEBHOOK_CA_FILE = "ca_file", Text, "",
        "PEM file of the authority that vouches for it, instead of the system's";
    WEBHOOK_TIMEOUT = "timeout", Text, "10s", "how long one attempt may take, 100ms to 60s";
    WEBHOOK_GIVE_UP = "give_up", Text, "1d", "age of an event at which it is not tried again, 1m to 30d";
}

/// Keys in whose value a password or a key is found that was pasted there: URLs, and what is sent as it stands.
pub const PRIVATE: &[&Key] = &[
    HTTP_COMPAT,
    HTTP_PUBLIC_URL,
    KEYS_MASTER,
    AUDIT_SHIP_SYSLOG,
    AUDIT_SHIP_HTTP,
    GATEWAY_URL,
    GATEWAY_HEADERS,
    GATEWAY_BODY,
    GATEWAY_HOST,
    SOURCE_URL,
    SOURCE_QUERY,
    WEBHOOK_URL,
];

/// Keys that a source of kind scim has.
pub const SCIM_KEYS: &[&Key] = &[SOURCE_KIND, SOURCE_REALM, SOURCE_CLIENT, SOURCE_ALIASES];

/// Keys that a source of kind sql has.
pub const SQL_KEYS: &[&Key] = &[
    SOURCE_KIND,
    SOURCE_REALM,
    SOURCE_EVERY,
    SOURCE_TIMEOUT,
    SOURCE_GROUPS,
    SOURCE_URL,
    SOURCE_STARTTLS,
    SOURCE_CA_FILE,
    SOURCE_SECRET_FILE,
    SOURCE_QUERY,
];

/// Keys that a source of kind file has.
pub const FILE_KEYS: &[&Key] = &[
    SOURCE_KIND,
    SOURCE_REALM,
    SOURCE_EVERY,
    SOURCE_TIMEOUT,
    SOURCE_GROUPS,
    SOURCE_FILE,
    SOURCE_ENCODING,
    SOURCE_MAP,
    SOURCE_IGNORE_COLUMNS,
];

/// Keys that a source of kind ldap has.
pub const LDAP_KEYS: &[&Key] = &[
    SOURCE_KIND,
    SOURCE_REALM,
    SOURCE_EVERY,
    SOURCE_TIMEOUT,
    SOURCE_URL,
    SOURCE_STARTTLS,
    SOURCE_CA_FILE,
    SOURCE_BIND_DN,
    SOURCE_SECRET_FILE,
    SOURCE_SCHEMA,
    SOURCE_BASE,
    SOURCE_FILTER,
    SOURCE_GROUP_BASE,
    SOURCE_GROUP_FILTER,
    SOURCE_GROUPS,
    SOURCE_ID,
    SOURCE_LOGIN,
    SOURCE_DISPLAY_NAME,
    SOURCE_PHONE,
    SOURCE_EMAIL,
    SOURCE_ALIASES,
    SOURCE_PAGE_SIZE,
    SOURCE_PASSWORD,
    SOURCE_BIND_TIMEOUT,
    SOURCE_IN_FLIGHT,
    SOURCE_BREAKER_FAILURES,
    SOURCE_BREAKER_PAUSE,
];

/// Keys that a gateway of kind http has alone.
pub const HTTP_ONLY: &[&Key] = &[
    GATEWAY_URL,
    GATEWAY_METHOD,
    GATEWAY_HEADERS,
    GATEWAY_BODY,
    GATEWAY_FORMAT,
    GATEWAY_SUCCESS_STATUS,
    GATEWAY_SUCCESS_MATCH,
    GATEWAY_REFERENCE,
];

/// Keys that a gateway of kind smtp has alone.
pub const SMTP_ONLY: &[&Key] = &[
    GATEWAY_HOST,
    GATEWAY_PORT,
    GATEWAY_TLS,
    GATEWAY_USER,
    GATEWAY_FROM,
];
