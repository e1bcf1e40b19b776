//! Random but reproducible histories of a mailbox, made through IMAP.
//!
//! The same seed and options give the same commands, so a failure can be repeated. Only what Dovecot derives from
//! clocks (identifiers, times, rotation by age) differs between two runs.
//!
//! About 1000 operations a second are made; of an mbox only about 60, because Dovecot itself sleeps there.

use super::dovecot::Dovecot;
use super::imap::{MailboxState, Response, Session, Status};

/// A mailbox that messages are copied to and moved from; it is part of the history, but not its subject.
const OTHER: &str = "other";

/// The flags a client may set, with \Deleted left to the expunging operations.
const FLAGS: [&str; 4] = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft"];

/// Items whose retrieval adds to the cache file.
const CACHED_ITEMS: [&str; 8] = [
    "ENVELOPE",
    "BODYSTRUCTURE",
    "BODY",
    "RFC822.SIZE INTERNALDATE",
    "BODY.PEEK[HEADER.FIELDS (SUBJECT FROM TO DATE)]",
    "BODY.PEEK[HEADER.FIELDS (RECEIVED X-SEQUENCE)]",
    "BODY.PEEK[HEADER.FIELDS (REFERENCES MESSAGE-ID)]",
    "PREVIEW",
];

/// A generator of random numbers (SplitMix64): small, fast, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// What one step of a history does, with its share in 100 steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Append,
    StoreFlags,
    StoreKeywords,
    StoreUnchangedSince,
    Expunge,
    Copy,
    Move,
    MoveBack,
    FetchCached,
    FetchBody,
    Sort,
    Noop,
    Reopen,
}

const WEIGHTS: [(Operation, usize); 13] = [
    (Operation::Append, 24),
    (Operation::StoreFlags, 22),
    (Operation::StoreKeywords, 14),
    (Operation::StoreUnchangedSince, 3),
    (Operation::Expunge, 7),
    (Operation::Copy, 4),
    (Operation::Move, 3),
    (Operation::MoveBack, 3),
    (Operation::FetchCached, 12),
    (Operation::FetchBody, 3),
    (Operation::Sort, 1),
    (Operation::Noop, 3),
    (Operation::Reopen, 1),
];

/// A random history. Build it with [`Workload::new`] and the options, then [`run`](Workload::run) it.
///
/// Rotation is up to the settings of the [`Dovecot`] it runs on; see [`ROTATE_OFTEN`].
#[derive(Clone, Debug)]
pub struct Workload {
    rng: Rng,
    mailbox: String,
    operations: usize,
    keywords: usize,
    max_messages: usize,
    condstore: bool,
    second_session: bool,
    checkpoint_every: Option<usize>,
}

/// Settings under which a few hundred operations rotate the log, keep `.log.2` and rewrite the index.
pub const ROTATE_OFTEN: [(&str, &str); 6] = [
    ("mail_index_log_rotate_min_size", "4k"),
    ("mail_index_log_rotate_max_size", "16k"),
    ("mail_index_log_rotate_min_age", "1s"),
    ("mail_index_log2_max_age", "10d"),
    ("mail_index_rewrite_min_log_bytes", "512"),
    ("mail_index_rewrite_max_log_bytes", "3k"),
];

/// Settings under which the log is neither rotated nor the index rewritten: the log is the whole history.
pub const ROTATE_NEVER: [(&str, &str); 5] = [
    ("mail_index_log_rotate_min_size", "1G"),
    ("mail_index_log_rotate_max_size", "1G"),
    ("mail_index_log_rotate_min_age", "10d"),
    ("mail_index_rewrite_min_log_bytes", "1G"),
    ("mail_index_rewrite_max_log_bytes", "1G"),
];

/// A history that has been made.
#[derive(Clone, Debug)]
pub struct History {
    /// The mailbox's states at the checkpoints, oldest first: what clients that went offline then would remember.
    pub checkpoints: Vec<MailboxState>,
    /// The UIDs that exist at the end.
    pub uids: Vec<u32>,
    /// The commands, with the number of the session and without the messages appended.
    pub commands: Vec<String>,
}

impl Workload {
    /// 200 operations on INBOX with 12 keywords, QRESYNC and one session.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            mailbox: "INBOX".to_owned(),
            operations: 200,
            keywords: 12,
            max_messages: 200,
            condstore: true,
            second_session: false,
            checkpoint_every: None,
        }
    }

    /// The mailbox to work on. It is created unless it is INBOX.
    pub fn mailbox(mut self, name: &str) -> Self {
        name.clone_into(&mut self.mailbox);
        self
    }

    pub fn operations(mut self, operations: usize) -> Self {
        self.operations = operations;
        self
    }

    /// How many different keywords are used.
    pub fn keywords(mut self, keywords: usize) -> Self {
        self.keywords = keywords;
        self
    }

    /// The number of messages above which half of the mailbox is expunged.
    pub fn max_messages(mut self, messages: usize) -> Self {
        self.max_messages = messages;
        self
    }

    /// Whether the sessions enable QRESYNC; without it no modseqs are kept.
    pub fn condstore(mut self, condstore: bool) -> Self {
        self.condstore = condstore;
        self
    }

    /// Whether a second session works on the mailbox at the same time.
    pub fn second_session(mut self, second_session: bool) -> Self {
        self.second_session = second_session;
        self
    }

    /// Records the mailbox's state after every `operations` operations.
    pub fn checkpoint_every(mut self, operations: usize) -> Self {
        self.checkpoint_every = Some(operations);
        self
    }

    /// Makes the history. All sessions are closed in the end, so the files are at rest.
    pub fn run(self, dovecot: &Dovecot) -> History {
        let mut run = Run::start(self, dovecot);
        for step in 1..=run.options.operations {
            run.step();
            if run.options.checkpoint_every.is_some_and(|every| step % every == 0) {
                run.checkpoint();
            }
        }
        run.finish()
    }
}

/// A history in the making.
struct Run<'a> {
    options: Workload,
    dovecot: &'a Dovecot,
    rng: Rng,
    sessions: Vec<Session>,
    /// What exists in the mailbox and in the other one, as far as the answers tell.
    uids: Vec<u32>,
    other_uids: Vec<u32>,
    appended: usize,
    modseq: u64,
    checkpoints: Vec<MailboxState>,
    commands: Vec<String>,
}

impl<'a> Run<'a> {
    fn start(options: Workload, dovecot: &'a Dovecot) -> Self {
        let mut run = Self {
            rng: options.rng.clone(),
            options,
            dovecot,
            sessions: Vec::new(),
            uids: Vec::new(),
            other_uids: Vec::new(),
            appended: 0,
            modseq: 1,
            checkpoints: Vec::new(),
            commands: Vec::new(),
        };
        let mut first = run.dovecot.imap();
        for name in [run.options.mailbox.as_str(), OTHER] {
            if name != "INBOX" {
                // It exists when two histories are made in one Dovecot.
                first.cmd(&format!("CREATE \"{name}\""));
            }
        }
        run.uids = existing(&mut first, &run.options.mailbox);
        run.other_uids = existing(&mut first, OTHER);
        first.logout();
        for _ in 0..=usize::from(run.options.second_session) {
            let session = run.open();
            run.sessions.push(session);
        }
        run
    }

    fn open(&mut self) -> Session {
        let mut session = self.dovecot.imap();
        if self.options.condstore {
            session.enable_qresync();
        }
        session.select(&self.options.mailbox);
        session
    }

    fn step(&mut self) {
        let session = self.rng.below(self.sessions.len());
        if self.uids.len() > self.options.max_messages {
            return self.expunge(session, self.options.max_messages / 2);
        }
        match self.choose() {
            _ if self.uids.is_empty() => self.append(session),
            Operation::Append => self.append(session),
            Operation::StoreFlags => self.store(session, FLAGS.map(str::to_owned).as_ref()),
            Operation::StoreKeywords => {
                let keywords: Vec<_> = (0..self.options.keywords).map(keyword).collect();
                self.store(session, &keywords);
            }
            Operation::StoreUnchangedSince => self.store_unchanged_since(session),
            Operation::Expunge => {
                let count = 1 + self.rng.below(4);
                self.expunge(session, count);
            }
            Operation::Copy => self.copy(session),
            Operation::Move => self.move_away(session),
            Operation::MoveBack => self.move_back(session),
            Operation::FetchCached => {
                let items = *self.rng.pick(&CACHED_ITEMS);
                self.fetch(session, items);
            }
            Operation::FetchBody => self.fetch(session, "BODY[]"),
            Operation::Sort => {
                self.ok(session, "UID SORT (SUBJECT) UTF-8 ALL");
            }
            Operation::Noop => {
                self.ok(session, "NOOP");
            }
            Operation::Reopen => self.reopen(session),
        }
    }

    fn choose(&mut self) -> Operation {
        let total = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut number = self.rng.below(total);
        for (operation, weight) in WEIGHTS {
            if number < weight {
                return operation;
            }
            number -= weight;
        }
        Operation::Noop
    }

    fn append(&mut self, session: usize) {
        let mut flags: Vec<String> = Vec::new();
        if self.rng.chance(40) {
            flags.push((*self.rng.pick(&FLAGS)).to_owned());
        }
        if self.options.keywords > 0 && self.rng.chance(25) {
            flags.push(keyword(self.rng.below(self.options.keywords)));
        }
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let message = self.message();
        self.note(session, &format!("APPEND ({})", flags.join(" ")));
        let response = self.sessions[session].append(&self.options.mailbox, &flags, None, &message);
        self.uids.extend(response.append_uid());
        self.appended += 1;
    }

    fn message(&mut self) -> Vec<u8> {
        let number = self.appended;
        let mut text = String::new();
        for hop in 0..self.rng.below(3) {
            text += &format!("Received: from relay{hop}.example.net\r\n\tby mx.example.org with ESMTP\r\n");
        }
        let (from, to) = (self.rng.below(7), self.rng.below(5));
        text += &format!(
            "From: \"Sender {from}\" <sender{from}@example.com>\r\nTo: rcpt{to}@example.org\r\n\
             Subject: subject {} of {number}\r\nDate: Mon, {:02} Mar 2021 10:{:02}:00 +0200\r\n\
             Message-ID: <m{number}@example.com>\r\nX-Sequence: {number}\r\n",
            self.rng.below(20),
            1 + 7 * self.rng.below(4),
            self.rng.below(60),
        );
        if self.rng.chance(30) {
            text += &format!("References: <m{}@example.com>\r\n", self.rng.below(number + 1));
        }
        text += "\r\n";
        for _ in 0..self.rng.below(8) {
            text += &format!("line {}\r\n", self.rng.below(1000));
        }
        text.into_bytes()
    }

    fn store(&mut self, session: usize, names: &[String]) {
        if names.is_empty() {
            return;
        }
        let set = self.some_uids(8);
        let mode = *self.rng.pick(&["+FLAGS", "+FLAGS", "+FLAGS", "-FLAGS", "-FLAGS", "FLAGS"]);
        let silent = if self.rng.chance(30) { ".SILENT" } else { "" };
        let chosen: Vec<&str> =
            (0..=self.rng.below(3)).map(|_| self.rng.below(names.len())).map(|index| names[index].as_str()).collect();
        self.ok(session, &format!("UID STORE {set} {mode}{silent} ({})", chosen.join(" ")));
    }

    fn store_unchanged_since(&mut self, session: usize) {
        if !self.options.condstore {
            return self.store(session, FLAGS.map(str::to_owned).as_ref());
        }
        let set = self.some_uids(5);
        let modseq = self.modseq.saturating_sub(self.rng.next() % 20).max(1);
        let flag = *self.rng.pick(&FLAGS);
        // Messages that were changed since are named in an OK or NO; both are fine.
        self.cmd(session, &format!("UID STORE {set} (UNCHANGEDSINCE {modseq}) +FLAGS ({flag})"));
    }

    fn expunge(&mut self, session: usize, count: usize) {
        self.refresh(session);
        let gone = self.take_uids(count);
        let set = imap_set(&gone);
        self.ok(session, &format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)"));
        self.ok(session, &format!("UID EXPUNGE {set}"));
    }

    fn copy(&mut self, session: usize) {
        let set = self.some_uids(4);
        // NO when the other session has expunged all of them already.
        let response = self.cmd(session, &format!("UID COPY {set} \"{OTHER}\""));
        self.other_uids.extend(response.copy_uids().into_iter().map(|(_, to)| to));
    }

    fn move_away(&mut self, session: usize) {
        self.refresh(session);
        let count = 1 + self.rng.below(3);
        let gone = self.take_uids(count);
        let response = self.cmd(session, &format!("UID MOVE {} \"{OTHER}\"", imap_set(&gone)));
        self.other_uids.extend(response.copy_uids().into_iter().map(|(_, to)| to));
    }

    /// Moves messages from the other mailbox here, with a session of its own as another client would.
    fn move_back(&mut self, session: usize) {
        if self.other_uids.is_empty() {
            return self.append(session);
        }
        let index = self.rng.below(self.other_uids.len());
        let uid = self.other_uids.swap_remove(index);
        let mailbox = self.options.mailbox.clone();
        self.ok(session, &format!("SELECT \"{OTHER}\""));
        let response = self.cmd(session, &format!("UID MOVE {uid} \"{mailbox}\""));
        self.uids.extend(response.copy_uids().into_iter().map(|(_, to)| to));
        self.ok(session, &format!("SELECT \"{mailbox}\""));
    }

    fn fetch(&mut self, session: usize, items: &str) {
        let set = self.some_uids(6);
        self.ok(session, &format!("UID FETCH {set} ({items})"));
    }

    fn reopen(&mut self, session: usize) {
        let new = self.open();
        std::mem::replace(&mut self.sessions[session], new).logout();
    }

    fn checkpoint(&mut self) {
        let mut session = self.dovecot.imap();
        if self.options.condstore {
            session.enable_qresync();
        }
        self.checkpoints.push(session.state(&self.options.mailbox));
        session.logout();
    }

    fn finish(mut self) -> History {
        for session in self.sessions.drain(..) {
            session.logout();
        }
        self.uids.sort_unstable();
        History { checkpoints: self.checkpoints, uids: self.uids, commands: self.commands }
    }

    /// An IMAP set of one to `most` existing UIDs: a run of neighbours, or scattered ones.
    fn some_uids(&mut self, most: usize) -> String {
        let count = 1 + self.rng.below(most.min(self.uids.len()));
        let mut chosen: Vec<u32> = if self.rng.chance(50) {
            let start = self.rng.below(self.uids.len() - count + 1);
            self.uids[start..start + count].to_vec()
        } else {
            (0..count).map(|_| *self.rng.pick(&self.uids)).collect()
        };
        chosen.sort_unstable();
        chosen.dedup();
        imap_set(&chosen)
    }

    /// Takes up to `count` UIDs out of the mailbox.
    fn take_uids(&mut self, count: usize) -> Vec<u32> {
        let count = count.min(self.uids.len());
        let mut taken: Vec<u32> = (0..count)
            .map(|_| {
                let index = self.rng.below(self.uids.len());
                self.uids.remove(index)
            })
            .collect();
        taken.sort_unstable();
        taken
    }

    /// Lets a session see what the other one did: it cannot remove messages that it does not know.
    fn refresh(&mut self, session: usize) {
        if self.sessions.len() > 1 {
            self.ok(session, "NOOP");
        }
    }

    /// A command that must succeed, but for messages the other session has expunged meanwhile.
    fn ok(&mut self, session: usize, command: &str) {
        let response = self.cmd(session, command);
        let is_expunged = self.sessions.len() > 1 && response.text.starts_with("[EXPUNGEISSUED]");
        assert!(response.status == Status::Ok || is_expunged, "{command}: {}", response.text);
        self.modseq = self.modseq.max(response.code("HIGHESTMODSEQ").unwrap_or(0));
    }

    fn cmd(&mut self, session: usize, command: &str) -> Response {
        self.note(session, command);
        self.sessions[session].cmd(command)
    }

    fn note(&mut self, session: usize, command: &str) {
        self.commands.push(format!("{session} {command}"));
    }
}

fn existing(session: &mut Session, mailbox: &str) -> Vec<u32> {
    session.state(mailbox).messages.iter().map(|message| message.uid).collect()
}

fn keyword(index: usize) -> String {
    match index {
        0 => "$Forwarded".to_owned(),
        1 => "Junk".to_owned(),
        2 => "kw.dots".to_owned(),
        3 => "A-Very-Long-Keyword-Name-That-Goes-On".to_owned(),
        _ => format!("kw{index}"),
    }
}

/// Writes ascending UIDs as an IMAP set, with ranges.
pub fn imap_set(uids: &[u32]) -> String {
    let runs = uids.chunk_by(|a, b| a + 1 == *b);
    let text = |run: &[u32]| match run {
        [first, .., last] => format!("{first}:{last}"),
        [only] => only.to_string(),
        [] => String::new(),
    };
    runs.map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_have_ranges() {
        assert_eq!(imap_set(&[1, 2, 3, 7, 9, 10]), "1:3,7,9:10");
        assert_eq!(imap_set(&[]), "");
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let (mut a, mut b) = (Rng::new(7), Rng::new(7));
        assert!((0..100).all(|_| a.below(1000) == b.below(1000)));
    }
}
