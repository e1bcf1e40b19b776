//! A recorded session held against what is right: what differs, whose fault it is, and what that means for the client.

use super::opened::{Fetched, LoadedMailbox, flag_names};
use crate::model::UidSet;
use crate::model::qresync::{Answer, AnswerKind, Question, Sample};
use crate::model::session::{Fetch, Session};

/// Something that a recorded session has otherwise than it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// `server` or `client`.
    pub who: &'static str,
    /// What it is about: `vanished`, `fetch`, `highest_modseq` and so on.
    pub what: &'static str,
    /// Line of the transcript, from 1.
    pub line: usize,
    /// What is right; empty when nothing is.
    pub expected: String,
    /// What the session has; empty when it has nothing.
    pub found: String,
    /// What that means for the client.
    pub message: String,
}

/// Collects differences.
struct Judge {
    line: usize,
    list: Vec<Deviation>,
}

impl Judge {
    fn add(
        &mut self,
        (who, what, line): (&'static str, &'static str, Option<usize>),
        expected: impl ToString,
        found: impl ToString,
        message: impl Into<String>,
    ) {
        let line = line.unwrap_or(self.line);
        let (expected, found, message) = (expected.to_string(), found.to_string(), message.into());
        self.list.push(Deviation { who, what, line, expected, found, message });
    }

    fn number(&mut self, what: &'static str, right: u64, said: Option<(usize, u64)>, why: &str) {
        match said {
            Some((_, value)) if value == right => {}
            Some((line, value)) => self.add(("server", what, Some(line)), right, value, why),
            None => self.add(("server", what, None), right, "", format!("not said; {why}")),
        }
    }
}

/// Holds a recorded session against the right answer.
pub fn compare(
    session: &Session,
    state: &LoadedMailbox<'_>,
    question: &Question,
    answer: &Answer,
    gone: &UidSet,
) -> Vec<Deviation> {
    let mut judge = Judge { line: session.status.as_ref().map_or(session.line, |(line, _)| *line), list: Vec::new() };
    let (replayed, header) = (&state.loaded.replayed, &state.loaded.replayed.mailbox.header);
    used(session, gone, &mut judge);
    if let Some(wants_vanished) = session.fetch {
        if wants_vanished {
            vanished(session, state, answer, &mut judge);
        }
        fetches(session, state, answer, &mut judge);
        return judge.list;
    }
    client(session, question, replayed.highest_modseq(), header.next_uid, &mut judge);
    let refused = session.status.as_ref().filter(|(_, text)| !text.to_ascii_uppercase().starts_with("OK"));
    if let Some((line, text)) = refused {
        if session.malformed.is_none() {
            judge.add(("server", "status", Some(*line)), "OK", text, "the command was refused");
        }
        return judge.list;
    }
    if session.status.is_none() {
        judge.add(("server", "status", None), "OK", "", "the session ends before the command was answered");
    }
    let validity = "without the right UIDVALIDITY the client throws its cache away, or keeps a wrong one";
    judge.number("uid_validity", u64::from(header.uid_validity), session.uid_validity, validity);
    let highest = replayed.highest_modseq();
    match (session.highest_modseq, session.no_modseq) {
        (None, Some(line)) => judge.add(
            ("server", "highest_modseq", Some(line)),
            highest,
            "NOMODSEQ",
            "the mailbox has modseqs, but the server said it has none: the client cannot resynchronise",
        ),
        (said, _) => {
            let why = match said {
                Some((_, value)) if value > highest => {
                    "the client remembers a modseq that is yet to come and will not be told of expunges until then"
                }
                Some(_) => "the client will be told again what it knows (or the mailbox has changed since)",
                None => "the client does not learn where it stands",
            };
            judge.number("highest_modseq", highest, said, why);
        }
    }
    if let Some((line, value)) = session.next_uid.filter(|(_, value)| *value != u64::from(header.next_uid)) {
        judge.add(("server", "next_uid", Some(line)), header.next_uid, value, "UIDNEXT is not the mailbox's");
    }
    if let Some((line, value)) = session.exists.filter(|(_, value)| *value != replayed.mailbox.len() as u64) {
        judge.add(("server", "exists", Some(line)), replayed.mailbox.len(), value, "not the number of messages");
    }
    vanished(session, state, answer, &mut judge);
    fetches(session, state, answer, &mut judge);
    judge.list
}

/// What the client does with UIDs of which it was told that they are gone, now or before.
fn used(session: &Session, gone: &UidSet, judge: &mut Judge) {
    for (line, uid) in session.used.iter().filter(|(_, uid)| gone.contains(*uid)) {
        let message = format!("UID {uid} is used although the server said that it has vanished");
        judge.add(("client", "vanished", Some(*line)), "", uid, message);
    }
}

fn client(session: &Session, question: &Question, highest: u64, next_uid: u32, judge: &mut Judge) {
    let at = Some(session.line);
    if let Some(error) = &session.malformed {
        judge.add(
            ("client", "command", at),
            "QRESYNC (uidvalidity modseq [known [(seqs uids)]])",
            &session.command,
            error,
        );
        return;
    }
    let sent = &session.question;
    if session.from_start && !session.enabled {
        judge.add(("client", "enable", at), "ENABLE QRESYNC", "", "QRESYNC is used without having been enabled");
    }
    if sent.modseq != question.modseq {
        let message = "the client sent another modseq than the one it knows";
        judge.add(("client", "modseq", at), question.modseq, sent.modseq, message);
    } else if sent.modseq > highest {
        let message = "the modseq is above HIGHESTMODSEQ: expunges that lie before it are never told to this client";
        judge.add(("client", "modseq", at), format!("at most {highest}"), sent.modseq, message);
    } else if sent.modseq == 0 {
        judge.add(("client", "modseq", at), "1 or more", 0, "0 is no modseq (RFC 7162); the answer names every gap");
    }
    if sent.uid_validity != question.uid_validity {
        let message = "the client sent another UIDVALIDITY than the one it knows";
        judge.add(("client", "uid_validity", at), question.uid_validity, sent.uid_validity, message);
    }
    if sent.known != question.known {
        let text = |known: &Option<UidSet>| known.as_ref().map_or_else(String::new, UidSet::to_string);
        let message = "the client sent another set of known UIDs than the one given";
        judge.add(("client", "known", at), text(&question.known), text(&sent.known), message);
    } else if let Some(known) = &sent.known
        && known.intersects(next_uid, u32::MAX)
    {
        let never = known.intersection(&UidSet::range(next_uid, u32::MAX));
        let message = "the client claims to know UIDs that were never assigned";
        judge.add(("client", "known", at), format!("below {next_uid}"), never, message);
    }
    if sent.sample != question.sample {
        let text = |sample: &Option<Sample>| sample.as_ref().map_or_else(String::new, |s| format!("{:?}", s.pairs));
        let message = "the client sent other sequence match data than given";
        judge.add(("client", "seq_match", at), text(&question.sample), text(&sent.sample), message);
    }
}

fn vanished(session: &Session, state: &LoadedMailbox<'_>, answer: &Answer, judge: &mut Judge) {
    let said: UidSet = session.vanished.iter().flat_map(|(_, set)| set.ranges()).copied().collect();
    let line = session.vanished.first().map(|(line, _)| *line);
    let at = ("server", "vanished", line);
    let mailbox = &state.loaded.replayed.mailbox;
    let existing: UidSet = mailbox.positions().map(|i| mailbox.uid(i)).collect();
    let missing = answer.vanished.difference(&said);
    if !missing.is_empty() {
        let message = format!("UIDs {missing} are gone and the client is not told: it shows ghosts");
        judge.add(at, &answer.vanished, &said, message);
    }
    let extra = said.difference(&answer.vanished);
    let living = extra.intersection(&existing);
    if !living.is_empty() {
        judge.add(at, &answer.vanished, &said, format!("UIDs {living} exist, and the client is told to forget them"));
    }
    let needless = extra.difference(&existing);
    if !needless.is_empty() {
        let message = match answer.kind {
            AnswerKind::UidValidityChanged => format!("UIDs {needless}: with another UIDVALIDITY nothing may be said"),
            AnswerKind::Exact => format!("UIDs {needless} were not expunged after the modseq: true or not, needless"),
            _ => format!("UIDs {needless} are not known to the client: needless"),
        };
        judge.add(at, &answer.vanished, &said, message);
    }
    let fetch = session.fetched.first().map(|(line, _)| *line);
    if let Some((line, first)) = line.zip(fetch).filter(|(vanished, fetch)| fetch < vanished) {
        let message = format!("VANISHED comes after the FETCH of line {first}; RFC 7162 wants it before");
        judge.add(("server", "order", Some(line)), "VANISHED before FETCH", "FETCH before VANISHED", message);
    }
}

fn fetches(session: &Session, state: &LoadedMailbox<'_>, answer: &Answer, judge: &mut Judge) {
    let mailbox = &state.loaded.replayed.mailbox;
    let mut wanted = answer.changed.iter().copied().peekable();
    let mut right: Vec<Fetched> = Vec::new();
    for (i, seq) in mailbox.positions().zip(1..) {
        if wanted.next_if_eq(&i).is_some() {
            right.push(state.message(i, seq));
        }
    }
    let wanted: UidSet = right.iter().map(|message| message.uid).collect();
    let uid_of = |fetch: &Fetch| fetch.uid.and_then(|uid| u32::try_from(uid).ok());
    let said: UidSet = session.fetched.iter().filter_map(|(_, fetch)| uid_of(fetch)).collect();
    let missing = wanted.difference(&said);
    if !missing.is_empty() {
        let message = format!("UIDs {missing} have changed and the client is not told");
        judge.add(("server", "fetch", None), &wanted, &said, message);
    }
    for (line, fetch) in &session.fetched {
        let at = |what| ("server", what, Some(*line));
        let Some(uid) = uid_of(fetch) else {
            judge.add(at("fetch"), "a UID", "", "a FETCH without UID: the client may not know which message this is");
            continue;
        };
        let Ok(n) = right.binary_search_by_key(&uid, |message| message.uid) else {
            let message = match mailbox.lookup(uid) {
                Some(_) => "the message has not changed since the modseq, or is not known to the client: needless",
                None => "there is no such message",
            };
            judge.add(at("fetch"), "", format!("UID {uid}"), message);
            continue;
        };
        let Some(message) = right.get(n) else { continue };
        if fetch.seq != u64::from(message.seq) {
            judge.add(at("seq"), message.seq, fetch.seq, format!("UID {uid} has another sequence number"));
        }
        if fetch.modseq != Some(message.modseq) {
            let found = fetch.modseq.map_or_else(String::new, |modseq| modseq.to_string());
            judge.add(at("modseq"), message.modseq, found, format!("UID {uid} has another modseq"));
        }
        let folded = |names: Vec<String>| {
            let mut names: Vec<String> = names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
            names.sort_unstable();
            names
        };
        let names = flag_names(message);
        match &fetch.flags {
            Some(flags) if folded(flags.clone()) == folded(names.clone()) => {}
            // It need not have been asked for them.
            None if session.fetch.is_some() => {}
            flags => {
                let found = flags.as_ref().map_or_else(String::new, |flags| format!("({})", flags.join(" ")));
                judge.add(at("flags"), format!("({})", names.join(" ")), found, format!("UID {uid} has other flags"));
            }
        }
    }
}
