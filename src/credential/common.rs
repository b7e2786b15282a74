//! The PINs and passwords that are tried first.
//!
//! Sources: the heads of published lists of leaked credentials (`SecLists`, NCSC 2019,
//! `DataGenetics` 2012), without those that another rule already finds. Separated by spaces, in lower
//! case.

/// PINs of six or more characters that are in no run, line or repetition, and neither a common password nor a word.
pub(super) const PINS: &str = "\
    010203 020406 024680 100200 102030 110119 112211 112233 112358 131421 1314520 134679 \
    135246 135790 135791 141421 142536 142857 161803 201314 223344 246800 246801 246810 \
    246813 271828 314159 332211 445566 520131 5201314 778899 998877 \
    123qwe 1q2w3e 1qaz2w a1b2c3 asd123 q1w2e3 qazxsw qwe123 qweasd zaq12w";

/// Words that are tried with up to four digits or signs behind them.
pub(super) const WORDS: &str = "\
    1q2w3e4r 1qaz2wsx abcd access admin administrator america andrew anthony arsenal asdf \
    asdfgh asdfghjk asdfghjkl ashley autumn barcelona baseball basketball batman benjamin \
    blink butterfly changeme charlie cheese chelsea chocolate computer cookie corvette \
    daniel default dragon einstein elephant facebook family flower football forever freedom \
    ginger google guest hello hockey hunter iloveyou internet jennifer jessica jordan joshua \
    killer letmein liverpool login lovely maggie master matrix mercedes michael michelle \
    monkey mustang naruto nicole oncegate p@ssw0rd passw0rd password passwort pepper pokemon \
    princess purple q1w2e3r4 q1w2e3r4t5 qazwsx qazwsxedc qwer qwert qwerty qwertyui \
    qwertyuiop samsung secret shadow soccer spring starwars summer sunshine superman temp \
    test testing thomas toor trustno user welcome whatever winter zaq12wsx zxcvbn zxcvbnm";

/// Passwords of eight or more characters that are tried as they are.
pub(super) const PASSWORDS: &str = "\
    0123456789 0987654321 11223344 1122334455 12344321 123454321 12345678 123456789 \
    1234567890 123456789a 12345679 12345qwert 1234qwer 123qweasd 147258369 1q2w3e4r5t \
    1qaz2wsx3edc 789456123 87654321 987654321 a1234567 aa123456 aa12345678";
