//! The command line as a whole: what it takes, what it refuses, what it says about itself.

use clap::CommandFactory as _;

use super::*;

fn parse(words: &str) -> Result<Cli, clap::Error> {
    let words = std::iter::once("oncegate").chain(words.split_whitespace());
    let words: Vec<OsString> = words.map(OsString::from).collect();
    super::parse(&words)
}

#[test]
fn the_definition_is_sound() {
    words::definition().debug_assert();
}

/// Commands in advice are known by their first word.
#[test]
fn advice_knows_every_command() {
    let all = context::COMMANDS;
    for command in words::definition().get_subcommands() {
        assert!(all.contains(&command.get_name()), "{}", command.get_name());
    }
    // One of them is left out of some builds.
    for name in all.iter().filter(|name| **name != "bench") {
        let known = words::definition().find_subcommand(name).is_some();
        assert!(known, "{name}");
    }
}

#[test]
fn takes_what_the_contract_says() {
    for words in [
        "quickstart",
        "quickstart --radius 127.0.0.1:0 --http [::1]:0",
        "init --dir d --json",
        "serve --radius 0.0.0.0:1812 --radius [::]:1812 --http 127.0.0.1:0",
        "status --quiet",
        "doctor",
        "config check",
        "config show --effective",
        "user add alice@staff --group vpn --group ops --phone 1 --email a@b --birth-date 1990-01-01 --class x",
        "user add alice --realm staff",
        "user list",
        "user list --group vpn --without-token --locked --limit 5",
        "user search 010-1234 --group vpn",
        "audit list alice --until 2026-11-20 --client vpn --reason wrong_code --nas 192.0.2.7",
        "token add alice --expires 2027-01-01",
        "delegation add --to api:b --until 14d --reason x",
        "user unlock alice",
        "user remove alice --yes",
        "import people.csv --dry-run --skip-bad --encoding cp949 --map Login=user --ignore-columns --on-conflict skip",
        "token add alice --kind totp --algorithm sha256 --digits 8 --period 60 --secret-stdin --active",
        "token add alice --kind hotp --counter 7 --secret GEZDGNBV",
        "token add alice --kind sms --address +821012345678 --replaces S --valid-for 1095d --request",
        "token add alice --kind recovery --count 1 --for 24h --policy p",
        "token add alice --kind card --expires 2027-01-01T00:00:00Z",
        "token list --state requested --kind server",
        "token offer S --by text,qr,sms,email --server-url https://otp.example.com",
        "token approve S --on-behalf api:kim",
        "token deny S --reason no",
        "token renew S --force --valid-for 30d",
        "token link S --user bob --otp-stdin",
        "token unlink S --user bob",
        "delegation add --from api:a --to api:b --for 14d --reason x",
        "delegation add --to api:b --until 2027-01-01T00:00:00Z --reason x",
        "delegation list",
        "delegation remove --from api:a --to api:b",
        "outage declare --for 1h --reason x",
        "outage end",
        "outage show --json",
        "user set alice --language ko --remote-issue true",
        "client add api kim --scope approver",
        "token confirm S --otp-stdin",
        "token resync S",
        "token suspend S",
        "token resume S",
        "token revoke S --reason lost --yes",
        "token remove S --yes",
        "client add radius vpn --address 192.0.2.0/24 --address ::1 --secret-stdin --policy otp --profile generic --require-message-authenticator auto",
        "client add api app --policy otp --scope verify --realm staff",
        "client set vpn --require-message-authenticator false",
        "client rotate vpn --grace 24h --secret-stdin",
        "device enroll --server https://otp.example.com --user alice --code-stdin --name desk",
        "device enroll oncegate://enroll?server=a&user=b&code=c --state s --force",
        "device otp --client vpn --quiet",
        "device pending --json",
        "device show",
        "device rename phone",
        "device transfer",
        "device renew",
        "device revoke DEVICE-1 --yes",
        "device list --user alice",
        "device set DEVICE-1 --name phone",
        "device remove DEVICE-1 --yes",
        "policy list",
        "policy check a.toml b.toml",
        "policy test",
        "verify alice --client app --otp-stdin --from 203.0.113.7",
        "audit list --user alice --since 1h --limit 5 --decision reject --json",
        "audit list --decision challenge",
        "audit verify",
        "audit export",
        "tail -n 4",
        "tail -f",
        "tail alice -n 4",
        "token list alice",
        "token link S bob --otp-stdin",
        "token unlink S bob",
        "device list alice",
        "device enroll alice --server https://otp.example.com",
        "audit list alice --since 1h",
        "audit tail -n 4",
        "explain alice --client vpn --at 03:00",
        "explain 01M85J3KY28Q1C9WJCP9C5VPRY",
        "explain --user alice --client vpn --at 03:00 --from ::1 --attribute A=b --context c=d --method pap",
        "explain --reasons --json",
        "code demo --next",
        "delivery list --json",
        "delivery test sms-a --to +82-10-1234-5678 --medium voice --language ko",
        "clock recover --yes",
        "completions bash",
        "completions zsh",
        "completions fish",
        "man",
        "man d",
        "--server https://otp.example --key-file k --ca-file c user list",
    ] {
        let parsed = parse(words);
        assert!(parsed.is_ok(), "{words}: {}", parsed.unwrap_err());
    }
}

#[test]
fn refuses_what_would_surprise() {
    for words in [
        "",
        "frobnicate",
        "user add",
        "token add alice --kind push",
        "token add alice --kind yubikey --private-id 010203040506",
        "token add alice --kind yubikey --public-id cccb --serial cccb",
        "token add alice --digits 5",
        "token add alice --secret A --secret-stdin",
        "client add radius vpn",
        "client add radius vpn --address vpn.example",
        "client rotate vpn --grace 24",
        "verify alice --from nowhere",
        "audit list --decision maybe",
        "audit list --reason bad_luck",
        "audit list --since soon",
        "token add alice --expires soon",
        "user search",
        "import",
        "import people.csv --update",
        "delivery test sms-a",
        "delivery test --to 1",
        "delivery test sms-a --to 1 --medium fax",
        "device enroll oncegate://enroll --user alice",
        "device enroll --algorithm rsa",
        "device list",
        "device set DEVICE-1",
        "device remove",
        "explain",
        "explain --user alice",
        "explain --client vpn",
        "explain 01M85J3KY28Q1C9WJCP9C5VPRY --user alice --client vpn",
        "explain 01M85J3KY28Q1C9WJCP9C5VPRY --at 03:00",
        "explain --user alice --client vpn --method telepathy",
    ] {
        assert!(parse(words).is_err(), "{words}");
    }
}

/// Every option and every command says what it is for.
#[test]
fn everything_is_documented() {
    fn check(command: &clap::Command, path: &str) {
        assert!(command.get_about().is_some(), "{path} has no description");
        for argument in command
            .get_arguments()
            .filter(|argument| !argument.is_hide_set())
        {
            assert!(
                argument.get_help().is_some(),
                "{path} {} has no help",
                argument.get_id()
            );
        }
        for inner in command.get_subcommands() {
            check(inner, &format!("{path} {}", inner.get_name()));
        }
    }
    check(&Cli::command(), "oncegate");
}

/// clap wraps paragraphs to the terminal; a line that was broken by hand would leave a stray end.
#[test]
fn no_paragraph_of_help_is_broken_by_hand() {
    fn check(command: &clap::Command, path: &str) {
        let help = command.get_after_help().map(ToString::to_string);
        let help = help.unwrap_or_default();
        let lines: Vec<&str> = help.lines().collect();
        for pair in lines.windows(2) {
            let [line, next] = pair else { continue };
            let goes_on = next.starts_with(|c: char| c.is_ascii_lowercase());
            let is_broken = !line.starts_with(' ') && goes_on && line.len() > 60;
            assert!(!is_broken, "{path}: {line}\n{next}");
        }
        for inner in command.get_subcommands() {
            check(inner, &format!("{path} {}", inner.get_name()));
        }
    }
    check(&words::definition(), "oncegate");
}

/// Secrets are not offered as arguments.
#[test]
fn secrets_in_arguments_are_hidden() {
    fn check(command: &clap::Command) {
        for argument in command.get_arguments() {
            let names = argument.get_value_names().unwrap_or_default();
            let is_none = |name: &&str| matches!(*name, "FILE" | "PUBLIC_KEY");
            if matches!(
                argument.get_long(),
                Some("secret" | "otp" | "key" | "password" | "pin")
            ) && !names.iter().any(|name| is_none(&name.as_str()))
            {
                assert!(
                    argument.is_hide_set(),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
        }
        command.get_subcommands().for_each(check);
    }
    check(&Cli::command());
}
