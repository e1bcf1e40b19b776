//! What people type for a verb, and the verb they mean.

use std::path::Path;

/// Words that are no verbs, by what they ask for.
const MEANT: &[(&[&str], &str)] = &[
    (
        &["fsck", "verify", "verify-index", "validate", "test", "lint", "doctor", "diagnose", "health"],
        "`idx check PATH` looks for damage, `idx rebuild PATH` mends it",
    ),
    (
        &["repair", "fix", "recover", "mend", "force-resync", "resync", "reindex", "index", "heal"],
        "`idx rebuild PATH` repairs an index, and `idx rebuild -n PATH` says what it would do",
    ),
    (&["restore", "revert", "rollback", "unrebuild"], "`idx undo PATH` puts back what the last rebuild replaced"),
    (&["list", "ls", "find", "mailboxes", "users", "tree"], "`idx scan ROOT` lists the mailboxes below a directory"),
    (
        &["status", "stat", "info", "cat", "messages", "view", "print", "state", "fetch"],
        "`idx show PATH` shows a mailbox, `idx scan PATH` its counts and sizes",
    ),
    (
        &["history", "tail", "follow", "journal", "events", "stats", "replay"],
        "`idx log PATH` shows the history of a mailbox",
    ),
    (
        &["hexdump", "hex", "inspect", "decode", "cache", "header", "headers", "raw"],
        "`idx dump PATH` shows what is in the files, with --hex every byte",
    ),
    (&["expunge", "deleted", "deletions", "vanished", "expunged"], "`idx expunges PATH` lists what was expunged"),
    (&["simulation", "rotation", "retention", "rotate"], "`idx simulate PATH` simulates log rotation"),
    (&["highestmodseq", "condstore"], "`idx modseq PATH` shows the modseqs of a mailbox"),
    (&["completion", "complete"], "`idx completions SHELL` prints a completion script"),
    (&["version"], "`idx --version` says which idx this is"),
];

/// The answer to a word that is no verb, if it is known what is meant.
pub fn meant(word: &str) -> Option<String> {
    let lower = word.to_lowercase();
    if let Some((_, answer)) = MEANT.iter().find(|(words, _)| words.contains(&lower.as_str())) {
        return Some((*answer).to_owned());
    }
    let path = Path::new(word);
    (word.contains('/') || path.exists()).then(|| "a verb comes first, as in `idx show PATH`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_a_verb_or_twice_there() {
        let command = crate::cli::command();
        let mut all: Vec<&str> = MEANT.iter().flat_map(|(words, _)| words.iter().copied()).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        for word in all {
            assert!(command.find_subcommand(word).is_none(), "{word}");
        }
        assert!(meant("FSCK").is_some_and(|answer| answer.contains("idx check")));
        assert!(meant("/tmp").is_some() && meant("nonsense").is_none());
    }
}
