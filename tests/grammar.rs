//! One grammar for every option: a text that one option understands, every option of its kind understands, and what none
//! understands is answered with what is understood.

use std::process::Command;

/// Options that take a point in time, a span, a size, a set of UIDs: verb and option.
const TIMES: [&[&str]; 3] = [&["log", "--since"], &["log", "--until"], &["expunges", "--since"]];
const SPANS: [&[&str]; 7] = [
    &["check", "--min-window"],
    &["rebuild", "--lock-timeout"],
    &["undo", "--lock-timeout"],
    &["simulate", "--for"],
    &["simulate", "--sync-every"],
    &["simulate", "--log2-max-age"],
    &["simulate", "--offline"],
];
const SIZES: [&[&str]; 4] = [
    &["check", "--max-log-size"],
    &["check", "--max-cache-size"],
    &["simulate", "--log-rotate-min-size"],
    &["simulate", "--log-rotate-max-size"],
];
const SETS: [&[&str]; 5] =
    [&["dump", "--uid"], &["show", "--uid"], &["log", "--uid"], &["modseq", "--uid"], &["expunges", "--uid"]];

/// Whether the command line takes the text; the path leads nowhere, so nothing else happens.
fn takes(option: &[&str], text: &str) -> Result<(), String> {
    let args = [option, &[text, "/nowhere/at/all"]].concat();
    let output = Command::new(env!("CARGO_BIN_EXE_idx")).args(args).output().expect("idx runs");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    if stderr.starts_with("error: invalid value") { Err(stderr) } else { Ok(()) }
}

fn every(options: &[&[&str]], good: &[&str], bad: &[&str], answer: &str) {
    for option in options {
        for text in good {
            assert_eq!(takes(option, text), Ok(()), "{option:?} {text}");
        }
        for text in bad {
            let error = takes(option, text).expect_err(text);
            assert!(error.contains(answer), "{option:?} {text}: {error}");
        }
    }
}

#[test]
fn times() {
    let good = [
        "1795405928",
        "2026-11-23T03:52:08Z",
        "2026-11-23 06:30",
        "2026-11-23",
        "06:30",
        "today",
        "yesterday",
        "now",
        "Nov 26 05:34:20",
        "2026-11-26T05:34:20.123456+01:00",
        "3d",
        "3d ago",
        "2 days",
        "5 mins ago",
        "1h 30m ago",
    ];
    every(&TIMES, &good, &["soon", "1 month ago", "25:00", "3 parsecs"], "\"3d ago\"");
}

#[test]
fn spans() {
    let good = ["90", "90s", "90m", "5 mins", "1h 30m", "1.5h", "3d", "14 days", "1w", "2000ms"];
    every(&SPANS, &good, &["x", "5 fortnights", "2 months"], "1h 30m");
}

#[test]
fn sizes() {
    every(&SIZES, &["4096", "64k", "1M", "1.5 MiB", "500MB", "1T", "2g"], &["x", "1x", "-"], "1.5 MiB");
}

#[test]
fn sets() {
    every(&SETS, &["7", "1:3,7", "4088:*"], &["x", "1-3", "1:2:3"], "1:3,7");
}

/// Whatever option a verb has for a span, a time, a size or a set, it asks the one grammar: none is left out here because
/// nobody listed it.
#[test]
fn every_option_that_takes_one_has_the_one_answer() {
    let answers =
        ["expected seconds, or a span", "expected UNIX seconds", "expected bytes, or a size", "expected a set as in"];
    let mut asked = 0;
    for verb in idx::cli::command().get_subcommands() {
        for option in verb.get_arguments() {
            let names = option.get_value_names().unwrap_or_default();
            let is_one =
                names.iter().any(|name| matches!(name.as_str(), "TIME" | "SPAN" | "SIZE" | "SET" | "UIDS" | "SEQS"));
            let (true, Some(long)) = (is_one, option.get_long()) else { continue };
            let error = takes(&[verb.get_name(), &format!("--{long}")], "no such thing");
            let error = error.expect_err(long);
            assert!(answers.iter().any(|answer| error.contains(answer)), "{} --{long}: {error}", verb.get_name());
            asked += 1;
        }
    }
    assert!(asked > 12, "{asked} options");
}
