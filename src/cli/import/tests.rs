use super::*;
use crate::api;
use crate::cli::import::batches::Batch;
use crate::cli::import::rows::SHOWN;

const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

fn import() -> Import {
    Import {
        file: PathBuf::from("-"),
        dry_run: false,
        skip_bad: false,
        encoding: None,
        map: Vec::new(),
        ignore_columns: None,
        on_conflict: OnConflict::Fail,
        link: false,
        unread: 0,
        cautions: Vec::new(),
    }
}

fn batches(text: &str) -> Vec<Batch> {
    let source = Source::new(text.as_bytes());
    let looked = look(source, Make::Users, &Ignore::Nothing, false);
    let pass = (Rows::AllBut(&looked.left, &looked.twins), false);
    let batches = Batches::new(source, Make::Users, &import(), pass);
    let mut batches = batches.unwrap();
    std::iter::from_fn(|| batches.next()).collect()
}

#[test]
fn the_body_is_what_the_api_reads() {
    let text = format!(
        "user,realm,groups,kind,secret,counter\nalice,staff,a; b,hotp,{SECRET},7\nbob,,,,,\n"
    );
    let batch = batches(&text).remove(0);
    let lines: Vec<u64> = batch.from.iter().map(|stands| stands.line).collect();
    assert_eq!(lines, [2, 3]);
    let body = serde_json::to_vec(&batch.request).unwrap();
    let read: api::ImportRequest = serde_json::from_slice(&body).unwrap();
    assert_eq!(read.make, "users");
    let alice = &read.rows[0];
    assert_eq!((&*alice.user, alice.counter), ("alice@staff", Some(7)));
    assert_eq!(alice.groups, ["a", "b"]);
    assert_eq!(alice.secret.as_ref().unwrap().expose(), SECRET);
    assert!(read.rows[1].secret.is_none());
}

/// A key of its own for each.
fn secret(number: usize) -> String {
    let number = u64::try_from(number).unwrap();
    let octets = [&[7; 12][..], &number.to_be_bytes()].concat();
    data_encoding::BASE32_NOPAD.encode(&octets)
}

#[test]
fn rows_of_one_user_stay_together() {
    let mut text = "user,secret\n".to_owned();
    for user in 0..(ROWS - 1) {
        push!(text, "u{user},{}\n", secret(user));
    }
    let [twin, second, last] = [ROWS, ROWS + 1, ROWS + 2].map(secret);
    push!(text, "twin,{twin}\ntwin,{second}\nlast,{last}\n");
    let sizes: Vec<_> = batches(&text)
        .iter()
        .map(|batch| batch.from.len())
        .collect();
    assert_eq!(sizes, [ROWS + 1, 1]);
}

#[test]
fn bad_rows_are_counted_and_the_first_are_told() {
    let mut text = "user,secret,email\n".to_owned();
    for user in 0..(SHOWN + 5) {
        push!(text, "u{user},{},nowhere\n", secret(user));
    }
    push!(text, "good,{SECRET},a@b\n");
    let looked = look(
        Source::new(text.as_bytes()),
        Make::Users,
        &Ignore::Nothing,
        false,
    );
    assert_eq!((looked.rows, looked.bad), (1, SHOWN as u64 + 5));
    assert_eq!(looked.faults.len(), SHOWN);
    assert_eq!(looked.faults[0].line, 2);
    assert!(looked.faults[0].what.starts_with("email"));
    // What only users have is not looked at where tokens are made.
    assert_eq!(
        look(
            Source::new(text.as_bytes()),
            Make::Tokens,
            &Ignore::Nothing,
            false
        )
        .bad,
        0
    );
    let heading = look(
        Source::new(b"user\na\n"),
        Make::Tokens,
        &Ignore::Nothing,
        false,
    );
    assert_eq!((heading.bad, heading.heading.is_some()), (1, true));
}

/// What stands in the way is said as it is: where steps are others, one code is not right for both.
#[test]
fn a_key_that_counts_otherwise_is_refused_for_what_it_is() {
    for (first, second, why) in [
        (
            "totp,,",
            "hotp,,",
            "as another kind or with another period: what one of them has used up says nothing about the other",
        ),
        (
            "totp,30,",
            "totp,60,",
            "as another kind or with another period",
        ),
        (
            "totp,,6",
            "totp,,8",
            "with another algorithm or number of digits",
        ),
        (
            "totp,,",
            "totp,,",
            "two tokens of one key would accept one code twice",
        ),
    ] {
        let text =
            format!("user,secret,kind,period,digits\na,{SECRET},{first}\nb,{SECRET},{second}\n");
        for link in [false, true] {
            let source = Source::new(text.as_bytes());
            let looked = look(source, Make::Tokens, &Ignore::Nothing, link);
            if link && first == second {
                assert_eq!((looked.bad, looked.twins.len()), (0, 1));
                continue;
            }
            assert_eq!((looked.rows, looked.bad), (1, 1), "{first} {second}");
            let fault = &looked.faults[0];
            assert_eq!(fault.line, 3);
            assert!(fault.what.contains(why), "{}", fault.what);
            let both = fault.what.contains("accept one code twice");
            assert_eq!(both, first == second, "{}", fault.what);
        }
    }
}
