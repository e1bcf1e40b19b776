//! A recorded IMAP session: the client's and the server's lines around one SELECT or EXAMINE with QRESYNC.

use super::qresync::{Fetched, State, flag_names};
use crate::model::UidSet;
use crate::model::qresync::{Answer, Kind, Question, Sample};
use crate::render::Emit;

/// One line of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    /// Its number in the transcript, from 1.
    number: usize,
    client: bool,
    text: String,
}

/// The part of a recorded session that is about one SELECT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The command.
    pub command: String,
    /// Line of the command, from 1.
    pub line: usize,
    /// What the client asked.
    pub question: Question,
    /// Why the question cannot be understood as it was put.
    malformed: Option<String>,
    uid_validity: Option<(usize, u64)>,
    next_uid: Option<(usize, u64)>,
    highest_modseq: Option<(usize, u64)>,
    no_modseq: Option<usize>,
    exists: Option<(usize, u64)>,
    vanished: Vec<(usize, UidSet)>,
    fetched: Vec<(usize, Fetch)>,
    status: Option<(usize, String)>,
    /// The UIDs that later commands of the client name one by one, with the line.
    used: Vec<(usize, u32)>,
    /// True when the transcript begins before authentication or at a greeting, so that an ENABLE would be in it.
    from_start: bool,
    enabled: bool,
}

/// A FETCH line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fetch {
    seq: u64,
    uid: Option<u64>,
    flags: Option<Vec<String>>,
    modseq: Option<u64>,
}

/// Something that a recorded session has otherwise than it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
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

impl Difference {
    /// Emits the members.
    pub fn write<E: Emit + ?Sized>(&self, emit: &mut E) {
        emit.text("who", self.who.as_bytes());
        emit.number("line", self.line as u64);
        emit.text("what", self.what.as_bytes());
        emit.text("expected", self.expected.as_bytes());
        emit.text("found", self.found.as_bytes());
        emit.text("message", self.message.as_bytes());
    }
}

/// Splits a transcript into lines with their speaker. Lines may be marked `C: ` and `S: `; without marks the server is
/// known by `* `, `+ ` and by the tag of a command that it answers.
fn lines(bytes: &[u8]) -> Vec<Line> {
    let mut tags: Vec<String> = Vec::new();
    let mut list = Vec::new();
    for (i, raw) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let text = String::from_utf8_lossy(raw);
        let text = text.trim_end_matches('\r');
        if text.is_empty() {
            continue;
        }
        let marked = [("C:", true), ("S:", false)].into_iter().find_map(|(mark, client)| {
            let rest = text.strip_prefix(mark)?;
            Some((client, rest.strip_prefix(' ').unwrap_or(rest)))
        });
        let (client, text) = marked.unwrap_or_else(|| {
            let mut words = text.split(' ');
            let (tag, word) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let status = ["OK", "NO", "BAD", "PREAUTH", "BYE"].iter().any(|known| word.eq_ignore_ascii_case(known));
            let server = matches!(tag, "*" | "+") || (status && tags.iter().any(|known| known == tag));
            (!server, text)
        });
        if client && let Some(tag) = text.split(' ').next() {
            tags.push(tag.to_owned());
        }
        list.push(Line { number: i + 1, client, text: text.to_owned() });
    }
    list
}

/// A client's commands with their literals in place.
fn commands(lines: &[Line]) -> Vec<(usize, String)> {
    let mut list: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.client) {
        match list.last_mut().filter(|_| open) {
            Some((_, command)) => {
                let start = command.rfind('{').unwrap_or(command.len());
                command.truncate(start);
                command.push_str(&line.text);
            }
            None => list.push((at, line.text.clone())),
        }
        open = line.text.ends_with('}') && line.text.contains('{');
    }
    list
}

fn has_word(text: &str, word: &str) -> bool {
    text.to_ascii_uppercase().contains(word)
}

impl Session {
    /// Finds the SELECT or EXAMINE to compare: the last one with QRESYNC whose UIDVALIDITY, as client or server has it,
    /// is the mailbox's, else the last one with QRESYNC.
    pub fn find(transcript: &[u8], uid_validity: u32) -> Option<Session> {
        let lines = lines(transcript);
        let commands = commands(&lines);
        let from_start = lines.first().is_some_and(|line| line.text.starts_with("* "));
        let mut enabled = false;
        let mut found: Option<Session> = None;
        for (n, (at, command)) in commands.iter().enumerate() {
            let mut words = command.split(' ');
            let (tag, verb) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            if verb.eq_ignore_ascii_case("ENABLE") && has_word(command, "QRESYNC") {
                enabled = true;
            }
            let opens = ["SELECT", "EXAMINE"].iter().any(|known| verb.eq_ignore_ascii_case(known));
            if !opens || !has_word(command, "(QRESYNC ") && !has_word(command, " QRESYNC (") {
                continue;
            }
            let mut session = Session {
                command: command.clone(),
                line: lines.get(*at).map_or(0, |line| line.number),
                from_start,
                enabled,
                ..Session::default()
            };
            match parse_question(command) {
                Ok(question) => session.question = question,
                Err(error) => session.malformed = Some(error),
            }
            session.read_answer(lines.get(at + 1..).unwrap_or_default(), tag);
            for (at, command) in commands.get(n + 1..).unwrap_or_default() {
                let mut words = command.split(' ').skip(1);
                let verb = words.next().unwrap_or_default().to_ascii_uppercase();
                if matches!(verb.as_str(), "SELECT" | "EXAMINE" | "CLOSE" | "UNSELECT" | "LOGOUT") {
                    break;
                }
                if verb == "UID" {
                    let line = lines.get(*at).map_or(0, |line| line.number);
                    let set = words.nth(1).unwrap_or_default();
                    session.used.extend(set.split(',').filter_map(|one| Some((line, one.parse().ok()?))));
                }
            }
            let same = |session: &Session| {
                session.question.uid_validity == uid_validity
                    || session.uid_validity.is_some_and(|(_, value)| value == u64::from(uid_validity))
            };
            if same(&session) || !found.as_ref().is_some_and(same) {
                found = Some(session);
            }
        }
        found
    }

    fn read_answer(&mut self, lines: &[Line], tag: &str) {
        for line in lines.iter().filter(|line| !line.client) {
            let text = line.text.as_str();
            if let Some(rest) = text.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' ')) {
                self.code(line.number, rest);
                self.status = Some((line.number, rest.to_owned()));
                return;
            }
            let Some(rest) = text.strip_prefix("* ") else { continue };
            self.code(line.number, rest);
            let upper = rest.to_ascii_uppercase();
            if let Some(set) = upper.strip_prefix("VANISHED (EARLIER) ") {
                if let Ok(set) = set.trim().parse() {
                    self.vanished.push((line.number, set));
                }
            } else if let Some((number, "EXISTS")) = upper.trim_end().split_once(' ') {
                self.exists = number.parse().ok().map(|n| (line.number, n));
            } else if let Some(fetch) = parse_fetch(rest) {
                self.fetched.push((line.number, fetch));
            }
        }
    }

    fn code(&mut self, number: usize, text: &str) {
        let upper = text.to_ascii_uppercase();
        let value = |name: &str| {
            let rest = upper.split_once(&format!("[{name} "))?.1;
            Some((number, rest.split([']', ' ']).next()?.parse().ok()?))
        };
        self.uid_validity = value("UIDVALIDITY").or(self.uid_validity);
        self.next_uid = value("UIDNEXT").or(self.next_uid);
        self.highest_modseq = value("HIGHESTMODSEQ").or(self.highest_modseq);
        if upper.contains("[NOMODSEQ]") {
            self.no_modseq = Some(number);
        }
    }
}

/// Reads `QRESYNC (V M [known] [(seqs uids)])` out of a command.
fn parse_question(command: &str) -> Result<Question, String> {
    let upper = command.to_ascii_uppercase();
    let at = upper.rfind("QRESYNC (").ok_or("no QRESYNC parameter")?;
    let args = command.get(at + "QRESYNC (".len()..).unwrap_or_default();
    let mut words = args.split([' ', ')']).filter(|word| !word.is_empty());
    let number = |word: Option<&str>, what: &str| {
        word.ok_or_else(|| format!("no {what}"))
            .and_then(|word| word.parse::<u64>().map_err(|_| format!("{what} is {word:?} instead of a number")))
    };
    let uid_validity = number(words.next(), "UIDVALIDITY")?;
    let uid_validity = u32::try_from(uid_validity).map_err(|_| "UIDVALIDITY is above 32 bits".to_owned())?;
    let modseq = number(words.next(), "modseq")?;
    let set = |word: &str| match word.contains('*') {
        true => Err(format!("{word}: * is not allowed in a QRESYNC parameter")),
        false => word.parse::<UidSet>().map_err(|error| error.to_string()),
    };
    let (mut known, mut sample) = (None, None);
    let mut next = words.next();
    if let Some(word) = next.filter(|word| !word.starts_with('(')) {
        known = Some(set(word)?);
        next = words.next();
    }
    if let Some(seqs) = next.and_then(|word| word.strip_prefix('(')) {
        let seqs = set(seqs)?;
        let uids = set(words.next().ok_or("sequence match data without UIDs")?)?;
        let counts = format!("{} sequence numbers for {} UIDs", seqs.count(), uids.count());
        sample = Some(Sample::new(&seqs, &uids).ok_or(counts)?);
    }
    Ok(Question { uid_validity, modseq, known, sample })
}

fn parse_fetch(text: &str) -> Option<Fetch> {
    let (seq, rest) = text.split_once(' ')?;
    let seq = seq.parse().ok()?;
    let (word, items) = rest.split_once(' ')?;
    if !word.eq_ignore_ascii_case("FETCH") {
        return None;
    }
    let upper = items.to_ascii_uppercase();
    let after = |name: &str| {
        let at = upper.find(name)? + name.len();
        items.get(at..)
    };
    let number = |text: &str| text.split([' ', ')']).next()?.parse().ok();
    let uid = after("(UID ").or_else(|| after(" UID ")).and_then(number);
    let modseq = after("MODSEQ (").and_then(number);
    let flags = after("FLAGS (").and_then(|rest| rest.split_once(')')).map(|(flags, _)| {
        flags
            .split_ascii_whitespace()
            .filter(|flag| !flag.eq_ignore_ascii_case("\\Recent"))
            .map(str::to_owned)
            .collect()
    });
    Some(Fetch { seq, uid, flags, modseq })
}

/// Collects differences.
struct Judge {
    line: usize,
    list: Vec<Difference>,
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
        self.list.push(Difference { who, what, line, expected, found, message });
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
pub fn compare(session: &Session, state: &State<'_>, question: &Question, answer: &Answer) -> Vec<Difference> {
    let mut judge = Judge { line: session.status.as_ref().map_or(session.line, |(line, _)| *line), list: Vec::new() };
    let (replayed, header) = (&state.loaded.replayed, &state.loaded.replayed.mailbox.header);
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
    for (line, uid) in &session.used {
        if session.vanished.iter().any(|(_, set)| set.contains(*uid)) {
            let message = format!("UID {uid} is used although the server said that it has vanished");
            judge.add(("client", "vanished", Some(*line)), "", uid, message);
        }
    }
    judge.list
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

fn vanished(session: &Session, state: &State<'_>, answer: &Answer, judge: &mut Judge) {
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
            Kind::UidValidityChanged => format!("UIDs {needless}: with another UIDVALIDITY nothing may be said"),
            Kind::Exact => format!("UIDs {needless} were not expunged after the modseq: true or not, needless"),
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

fn fetches(session: &Session, state: &State<'_>, answer: &Answer, judge: &mut Judge) {
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
            flags => {
                let found = flags.as_ref().map_or_else(String::new, |flags| format!("({})", flags.join(" ")));
                judge.add(at("flags"), format!("({})", names.join(" ")), found, format!("UID {uid} has other flags"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "* PREAUTH hello\r\na ENABLE QRESYNC\r\n* ENABLED QRESYNC\r\na OK\r\n\
        b SELECT INBOX (QRESYNC (17 5 1:9 (1,3 1,4)))\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 17] x\r\n\
        * OK [UIDNEXT 10] x\r\n* OK [HIGHESTMODSEQ 8] x\r\n* VANISHED (EARLIER) 2:3,7\r\n\
        * 1 FETCH (MODSEQ (6) UID 1 FLAGS (\\Seen \\Recent kw))\r\nb OK [READ-WRITE] done\r\n\
        c UID FETCH 4,7 (FLAGS)\r\nc OK\r\n";

    fn check(session: &Session) {
        assert_eq!((session.question.uid_validity, session.question.modseq), (17, 5));
        assert_eq!(session.question.known, Some(UidSet::range(1, 9)));
        assert_eq!(session.question.sample.as_ref().map(|s| s.pairs.clone()), Some(vec![(1, 1), (3, 4)]));
        assert_eq!(session.highest_modseq.map(|(_, n)| n), Some(8));
        assert_eq!(session.exists.map(|(_, n)| n), Some(3));
        assert_eq!(session.vanished.iter().map(|(_, set)| set.to_string()).collect::<Vec<_>>(), ["2:3,7"]);
        let fetch = &session.fetched[0].1;
        assert_eq!((fetch.seq, fetch.uid, fetch.modseq), (1, Some(1), Some(6)));
        assert_eq!(fetch.flags, Some(vec!["\\Seen".to_owned(), "kw".to_owned()]));
        assert_eq!(session.used.iter().map(|(_, uid)| *uid).collect::<Vec<_>>(), [4, 7]);
        assert!(session.enabled && session.from_start && session.malformed.is_none());
    }

    #[test]
    fn sessions_with_and_without_marks() {
        check(&Session::find(BARE.as_bytes(), 17).expect("a SELECT"));
        let marked: String = BARE
            .lines()
            .map(|line| {
                let server = line.starts_with('*') || line.contains(" OK");
                format!("{}: {line}\n", if server { "S" } else { "C" })
            })
            .collect();
        check(&Session::find(marked.as_bytes(), 17).expect("a SELECT"));
    }

    #[test]
    fn a_literal_is_part_of_its_command() {
        let text = "C: a SELECT {5}\nS: + OK\nC: INBOX (QRESYNC (1 2))\nS: a OK done\n";
        let session = Session::find(text.as_bytes(), 9).expect("a SELECT");
        assert_eq!((session.question.uid_validity, session.question.modseq, session.line), (1, 2, 1));
        assert_eq!(session.status, Some((4, "OK done".to_owned())));
    }

    #[test]
    fn questions_that_cannot_be_understood() {
        for (text, why) in [
            ("(QRESYNC (1))", "no modseq"),
            ("(QRESYNC (1 x))", "modseq is"),
            ("(QRESYNC (1 2 1:*))", "* is not allowed"),
            ("(QRESYNC (1 2 1:9 (1:2 1)))", "2 sequence numbers for 1 UIDs"),
        ] {
            let error = parse_question(&format!("a SELECT INBOX {text}")).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn the_select_of_this_mailbox_is_chosen() {
        let text = "a SELECT A (QRESYNC (17 5))\na OK x\nb SELECT B (QRESYNC (18 6))\nb OK x\n";
        assert_eq!(Session::find(text.as_bytes(), 17).map(|s| s.question.modseq), Some(5));
        assert_eq!(Session::find(text.as_bytes(), 18).map(|s| s.question.modseq), Some(6));
        assert_eq!(Session::find(text.as_bytes(), 99).map(|s| s.question.modseq), Some(6));
        assert_eq!(Session::find(b"a SELECT A\na OK\n\xff\xfe\n", 1), None);
    }
}
