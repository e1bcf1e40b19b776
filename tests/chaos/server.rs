//! The second oracle: the server itself, on an untouched copy of the damaged files and on what a rebuild makes of them.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::support::dovecot::{Dovecot, Format, Installation, copy_tree};
use crate::{Message, Recorded, State};

thread_local! {
    /// A session that ends early is an answer, and not worth a backtrace.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What a server answers.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// What a client sees in the end; `None` when it is shown no mailbox.
    pub state: Option<State>,
    /// Warnings, errors and panics, without times and process ids.
    pub lines: Vec<String>,
}

/// One server for each version and format, used for one home after the other.
#[derive(Default)]
pub struct Servers {
    list: HashMap<(bool, &'static str), Dovecot>,
    /// What each answers to the untouched mailbox.
    sound: HashMap<String, bool>,
}

impl Servers {
    /// Leaves words about sessions that end early to those who read the log.
    pub fn hush() {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    }

    /// Whether the server answers to the mailbox as it was recorded: only then is it a second oracle.
    pub fn knows(&mut self, mailbox: &Recorded, home: &Path) -> bool {
        if let Some(known) = self.sound.get(&mailbox.name) {
            return *known;
        }
        let answer = self.ask(mailbox, home);
        let known = answer.lines.is_empty()
            && answer.state.as_ref().is_some_and(|state| crate::differences(&mailbox.truth, state).is_empty());
        if !known {
            println!("left to the record alone: {}: {:?}", mailbox.name, answer.lines);
        }
        self.sound.insert(mailbox.name.clone(), known);
        known
    }

    /// Opens a copy of a home.
    pub fn ask(&mut self, mailbox: &Recorded, home: &Path) -> Answer {
        let is_new = mailbox.version().starts_with("2.4");
        let format = mailbox.format();
        let dovecot = self.list.entry((is_new, format.name())).or_insert_with(|| {
            let mut all = Installation::all();
            all.retain(|one| one.has_new_settings() == is_new);
            Dovecot::with(all.swap_remove(0), format, &[])
        });
        fs::remove_dir_all(dovecot.home()).expect("home");
        copy_tree(home, &dovecot.home()).expect("copy");
        dovecot.give_back();
        mailbox.settle(&dovecot.home());
        let look = || {
            let mut session = dovecot.imap();
            let selected = session.select(&mailbox.mailbox);
            let items = if selected.highest_modseq.is_some() { "UID FLAGS MODSEQ" } else { "UID FLAGS" };
            let messages = match selected.exists {
                0 => Vec::new(),
                _ => session.ok(&format!("FETCH 1:* ({items})")).fetches(),
            };
            session.logout();
            State {
                uid_validity: selected.uid_validity.into(),
                next_uid: selected.next_uid.into(),
                highest_modseq: selected.highest_modseq.unwrap_or(0),
                messages: messages
                    .into_iter()
                    .map(|one| {
                        let flags = one.flags.into_iter().chain(one.keywords).collect();
                        (one.uid.into(), Message { flags, modseq: one.modseq })
                    })
                    .collect(),
            }
        };
        // Where it drops the connection it often has a mailbox for the next one.
        let state = (0..3).find_map(|_| quietly(look));
        let lines = dovecot.error_log().iter().map(|line| timeless(line)).collect();
        Answer { state, lines }
    }
}

/// What a session comes to; `None` when the server ends it.
pub fn quietly<T>(session: impl FnOnce() -> T) -> Option<T> {
    QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(session)).ok();
    QUIET.set(false);
    outcome
}

/// A line without the time and the process in front of it.
fn timeless(line: &str) -> String {
    let levels = ["Warning: ", "Error: ", "Fatal: ", "Panic: "];
    let from = levels.into_iter().filter_map(|level| line.find(level)).min().unwrap_or(0);
    line[from..].to_owned()
}

/// How far a state is from the truth, the worst first: another UIDVALIDITY, UIDs that will be given twice, messages that
/// are missing or too many, messages with other flags, a HIGHESTMODSEQ that went back.
pub fn harm(truth: &State, state: Option<&State>) -> [u64; 5] {
    let count = truth.messages.len() as u64;
    let Some(state) = state else { return [2, 1, count, count, 1] };
    if state.uid_validity != truth.uid_validity {
        return [1, 1, count, count, 1];
    }
    let missing = truth.messages.keys().filter(|uid| !state.messages.contains_key(uid)).count();
    let more = state.messages.keys().filter(|uid| !truth.messages.contains_key(uid)).count();
    let other = truth
        .messages
        .iter()
        .filter(|(uid, message)| state.messages.get(uid).is_some_and(|is| is.flags != message.flags))
        .count();
    [
        0,
        u64::from(state.next_uid < truth.next_uid),
        (missing + more) as u64,
        other as u64,
        u64::from(state.highest_modseq < truth.highest_modseq),
    ]
}

/// The format that a recorded mailbox is in.
pub fn format_of(dir: &Path) -> Format {
    let has = |part: &str| dir.components().any(|one| one.as_os_str() == part);
    match () {
        () if has("Maildir") => Format::Maildir,
        () if has("sdbox") => Format::Sdbox,
        () if has("mdbox") => Format::Mdbox,
        () => Format::Mbox,
    }
}
