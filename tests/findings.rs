//! `docs/findings.md` says what the table of rules says: one line for each. `IDX_BLESS=1` writes it anew.

use std::fmt::Write;
use std::path::Path;

use idx::check::{RULES, Remedy};

const HEAD: &str = "\
# Findings of idx check

One line for each rule, made from the table in `src/check/rules.rs`; a code never changes its meaning. L are rules of the logs, I of
the index, C of the cache, D of the mail storage and other files around the mailbox, T thresholds that the administrator set, N of
names. The severity is that of the usual variant: a single finding may be graver or milder, and says so itself.

| code | severity | what must hold | what Dovecot does if not | remedy |
|---|---|---|---|---|
";

fn document() -> String {
    let mut text = HEAD.to_owned();
    for rule in RULES {
        let words = |text: &str| text.replace("{mailbox}", "MAILBOX").replace("{file}", "FILE");
        let remedy = match &rule.remedy {
            Remedy::Fix(command) => format!("`{}`", words(command)),
            Remedy::Advice(text) => words(text),
            Remedy::Rebuild => "`idx rebuild MAILBOX`, where it was tried in memory and loses nothing".to_owned(),
        };
        let cell = |text: &str| text.replace('|', "\\|");
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            rule.code,
            rule.severity,
            cell(rule.title),
            cell(rule.dovecot),
            cell(&remedy)
        );
    }
    text
}

#[test]
fn the_list_of_findings_is_that_of_the_rules() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/findings.md");
    let wanted = document();
    if std::env::var_os("IDX_BLESS").is_some() {
        std::fs::write(&path, &wanted).expect("docs/findings.md written");
    }
    let have = std::fs::read_to_string(&path).expect("docs/findings.md");
    assert!(have == wanted, "docs/findings.md is out of date: IDX_BLESS=1 cargo test --test findings");
}
