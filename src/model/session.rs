//! A recorded IMAP session: what client and server said around each SELECT or EXAMINE with QRESYNC, and each `UID
//! FETCH` with CHANGEDSINCE, in the notations in which clients and servers log it. What is right is not decided here.

use std::collections::HashSet;

use super::UidSet;
use super::qresync::{Question, Sample};

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
    pub malformed: Option<String>,
    /// What the server said of it, with the line.
    pub uid_validity: Option<(usize, u64)>,
    /// What the server said of it, with the line.
    pub next_uid: Option<(usize, u64)>,
    /// What the server said of it, with the line.
    pub highest_modseq: Option<(usize, u64)>,
    /// What the server said of it, with the line.
    pub no_modseq: Option<usize>,
    /// What the server said of it, with the line.
    pub exists: Option<(usize, u64)>,
    /// What the server said of it, with the line.
    pub vanished: Vec<(usize, UidSet)>,
    /// What the server said of it, with the line.
    pub fetched: Vec<(usize, Fetch)>,
    /// What the server said of it, with the line.
    pub status: Option<(usize, String)>,
    /// The UIDs that later commands of the client name one by one, with the line.
    pub used: Vec<(usize, u32)>,
    /// True when the transcript begins before authentication or at a greeting, so that an ENABLE would be in it.
    pub from_start: bool,
    /// QRESYNC was enabled before.
    pub enabled: bool,
    /// A `UID FETCH` with CHANGEDSINCE, in a mailbox that is open, and whether VANISHED was asked for.
    pub fetch: Option<bool>,
    /// The highest modseq that the server had said of the mailbox before.
    before: Option<u64>,
}

/// A FETCH line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetch {
    /// Sequence number.
    pub seq: u64,
    /// UID, if it has one.
    pub uid: Option<u64>,
    /// Flags and keywords but \\Recent, if it has them.
    pub flags: Option<Vec<String>>,
    /// Modseq, if it has one.
    pub modseq: Option<u64>,
}

/// Who says a line, as far as the notation of the client that logged it tells, and what is said: `C: ` and `S: `; `4> `
/// and `4< ` of mutt, with more before it of neomutt; `>>> ` of mbsync; `:SendData: ` of Thunderbird; `IMAP> ` of
/// fetchmail; a clock and `> ` of imaplib; a time stamp alone of Dovecot's rawlog.
fn spoken(text: &str) -> (Option<bool>, &str) {
    for (mark, client) in [("C:", true), ("S:", false)] {
        if let Some(rest) = text.strip_prefix(mark) {
            return (Some(client), rest.strip_prefix(' ').unwrap_or(rest));
        }
    }
    let marks = [
        (":SendData: ", true),
        (":CreateNewLineFromSocket: ", false),
        ("IMAP> ", true),
        ("IMAP< ", false),
        (">>> ", true),
        ("<<< ", false),
    ];
    for (mark, client) in marks {
        // What a server quotes of a mail is no mark.
        if let Some((before, rest)) = text.split_once(mark)
            && !before.starts_with("* ")
            && !before.contains('"')
        {
            return (Some(client), rest);
        }
    }
    // neomutt says when, how loud and in which function.
    let is_function = |text: &str| text.split_once(' ').is_some_and(|(name, _)| name.ends_with("()"));
    let bare = match text.strip_prefix('[').and_then(|rest| rest.split_once("> ")) {
        Some((_, rest)) if is_function(rest) => rest.split_once(' ').map_or(rest, |(_, rest)| rest),
        _ => text,
    };
    let clock = |before: &str| {
        let before = before.trim();
        !before.is_empty() && before.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'))
    };
    for (mark, client) in [("> ", true), ("< ", false)] {
        if let Some((before, rest)) = bare.split_once(mark)
            && clock(before)
        {
            return (Some(client), unquoted(rest));
        }
    }
    match text.split_once(' ') {
        Some((stamp, rest)) if stamp.len() > 10 && stamp.contains('.') && clock(stamp) => (None, rest),
        _ => (None, text),
    }
}

/// Text as Python prints bytes: `b'...'`.
fn unquoted(text: &str) -> &str {
    let inner = |quote: char| text.strip_prefix('b')?.strip_prefix(quote)?.strip_suffix(quote);
    let inner = inner('\'').or_else(|| inner('"'));
    inner.map_or(text, |inner| inner.strip_suffix("\\r\\n").unwrap_or(inner))
}

/// Splits a transcript into lines with their speaker. Where the notation does not tell, the server is known by `* `,
/// `+ ` and by the tag of a command that it answers.
fn lines(bytes: &[u8]) -> Vec<Line> {
    let mut tags: HashSet<String> = HashSet::new();
    let mut list = Vec::new();
    for (i, raw) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let text = String::from_utf8_lossy(raw);
        let text = text.trim_end_matches('\r');
        let (client, text) = spoken(text);
        if text.is_empty() {
            continue;
        }
        let client = client.unwrap_or_else(|| {
            let mut words = text.split(' ');
            let (tag, word) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let status = ["OK", "NO", "BAD", "PREAUTH", "BYE"].iter().any(|known| word.eq_ignore_ascii_case(known));
            !(matches!(tag, "*" | "+") || (status && tags.contains(tag)))
        });
        if client && let Some(tag) = text.split(' ').next() {
            tags.insert(tag.to_owned());
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
    /// Finds what is to be judged, in order: every SELECT or EXAMINE with QRESYNC, and every `UID FETCH` with
    /// CHANGEDSINCE, of the mailbox whose UIDVALIDITY, as client or server has it, is this. Where there is none, the
    /// last with another UIDVALIDITY.
    pub fn find(transcript: &[u8], uid_validity: u32) -> Vec<Session> {
        let lines = lines(transcript);
        let from_start = lines.first().is_some_and(|line| line.text.starts_with("* "));
        let mut enabled = false;
        let mut found: Vec<Session> = Vec::new();
        // The mailbox that is open, and whether its opening is among the found.
        let mut open: Option<(Session, bool)> = None;
        for (at, command) in commands(&lines) {
            let mut words = command.split(' ');
            let (tag, verb) = (words.next().unwrap_or_default(), words.next().unwrap_or_default().to_ascii_uppercase());
            let line = lines.get(at).map_or(0, |line| line.number);
            let answers = lines.get(at + 1..).unwrap_or_default();
            let new = || Session { command: command.clone(), line, from_start, enabled, ..Session::default() };
            match verb.as_str() {
                "ENABLE" => enabled |= has_word(&command, "QRESYNC"),
                "SELECT" | "EXAMINE" => {
                    let mut session = new();
                    let is_asked = has_word(&command, "(QRESYNC ") || has_word(&command, " QRESYNC (");
                    match parse_question(&command) {
                        _ if !is_asked => {}
                        Ok(question) => session.question = question,
                        Err(error) => session.malformed = Some(error),
                    }
                    session.read_answer(answers, tag);
                    found.extend(is_asked.then(|| session.clone()));
                    open = Some((session, is_asked));
                }
                "CLOSE" | "UNSELECT" | "LOGOUT" => open = None,
                "UID" => {
                    let Some((mailbox, is_found)) = &mut open else { continue };
                    if *is_found && let Some(last) = found.last_mut() {
                        let set = command.split(' ').nth(3).unwrap_or_default();
                        last.used.extend(set.split(',').filter_map(|one| Some((line, one.parse().ok()?))));
                    }
                    if let Some((question, wants_vanished)) = changed_since(&command) {
                        let uid_validity = mailbox.uid_validity.and_then(|(_, value)| u32::try_from(value).ok());
                        let mut session = new();
                        session.question = Question { uid_validity: uid_validity.unwrap_or(0), ..question };
                        session.fetch = Some(wants_vanished);
                        session.before = mailbox.at_modseq();
                        session.read_answer(answers, tag);
                        mailbox.before = session.at_modseq();
                        found.push(session);
                        *is_found = true;
                    }
                }
                _ => {}
            }
        }
        let is_same = |session: &Session| {
            session.question.uid_validity == uid_validity
                || session.uid_validity.is_some_and(|(_, value)| value == u64::from(uid_validity))
        };
        if found.iter().any(is_same) {
            found.retain(is_same);
        } else {
            found.drain(..found.len().saturating_sub(1));
        }
        found
    }

    /// The HIGHESTMODSEQ that the mailbox had, as the server's own answers tell.
    pub fn at_modseq(&self) -> Option<u64> {
        let fetched = self.fetched.iter().filter_map(|(_, fetch)| fetch.modseq);
        let said = self.highest_modseq.map(|(_, value)| value).or(self.before)?;
        Some(fetched.fold(said, u64::max))
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

/// Reads `UID FETCH set items (CHANGEDSINCE n [VANISHED])` out of a command.
fn changed_since(command: &str) -> Option<(Question, bool)> {
    let upper = command.to_ascii_uppercase();
    let mut words = upper.split(' ').skip(1);
    if (words.next(), words.next()) != (Some("UID"), Some("FETCH")) {
        return None;
    }
    let known = words.next()?.parse().ok()?;
    let (_, rest) = upper.split_once("CHANGEDSINCE ")?;
    let modseq = rest.split([' ', ')']).next()?.parse().ok()?;
    Some((Question { modseq, known: Some(known), ..Question::default() }, rest.contains("VANISHED")))
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

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "* PREAUTH hello\r\na ENABLE QRESYNC\r\n* ENABLED QRESYNC\r\na OK\r\n\
        b SELECT INBOX (QRESYNC (17 5 1:9 (1,3 1,4)))\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 17] x\r\n\
        * OK [UIDNEXT 10] x\r\n* OK [HIGHESTMODSEQ 8] x\r\n* VANISHED (EARLIER) 2:3,7\r\n\
        * 1 FETCH (MODSEQ (6) UID 1 FLAGS (\\Seen \\Recent kw))\r\nb OK [READ-WRITE] done\r\n\
        c UID FETCH 4,7 (FLAGS)\r\nc OK\r\n";

    fn last(text: &str, uid_validity: u32) -> Option<Session> {
        Session::find(text.as_bytes(), uid_validity).pop()
    }

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
        check(&last(BARE, 17).expect("a SELECT"));
        let marked: String = BARE
            .lines()
            .map(|line| {
                let server = line.starts_with('*') || line.contains(" OK");
                format!("{}: {line}\n", if server { "S" } else { "C" })
            })
            .collect();
        check(&last(&marked, 17).expect("a SELECT"));
    }

    #[test]
    fn a_literal_is_part_of_its_command() {
        let text = "C: a SELECT {5}\nS: + OK\nC: INBOX (QRESYNC (1 2))\nS: a OK done\n";
        let session = last(text, 9).expect("a SELECT");
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
        assert_eq!(last(text, 17).map(|s| s.question.modseq), Some(5));
        assert_eq!(last(text, 18).map(|s| s.question.modseq), Some(6));
        assert_eq!(last(text, 99).map(|s| s.question.modseq), Some(6));
        assert_eq!(Session::find(b"a SELECT A\na OK\n\xff\xfe\n", 1), []);
    }

    /// The same session as clients log it.
    #[test]
    fn the_notations_of_clients() {
        let tb = "2026-11-26 05:40:01.1 UTC - [Parent 42: IMAP]: I/IMAP 7f:host:S-INBOX:";
        let notations: [(&str, String, String); 7] = [
            ("mutt", "4> ".into(), "4< ".into()),
            (
                "neomutt",
                "[2026-11-26 05:40:01]<2> mutt_socket_write_d() 6> ".into(),
                "[2026-11-26 05:40:01]<2> mutt_socket_readln_d() 6< ".into(),
            ),
            ("mbsync", ">>> ".into(), String::new()),
            ("thunderbird", format!("{tb}SendData: "), format!("{tb}CreateNewLineFromSocket: ")),
            ("imaplib", "  05:40.01 > ".into(), "  05:40.01 < ".into()),
            ("fetchmail", "fetchmail: IMAP> ".into(), "fetchmail: IMAP< ".into()),
            ("rawlog", "1795671210.123456 ".into(), "1795671210.123456 ".into()),
        ];
        for (name, client, server) in notations {
            let is_server = |line: &str| line.starts_with('*') || line.contains(" OK");
            let mark = |line: &str| format!("{}{line}\n", if is_server(line) { &server } else { &client });
            let text: String = BARE.lines().map(mark).collect();
            let session = last(&text, 17);
            assert!(session.is_some(), "{name}");
            session.iter().for_each(check);
        }
    }

    #[test]
    fn what_changed_since_is_asked_in_an_open_mailbox() {
        let text = "a SELECT INBOX\n* OK [UIDVALIDITY 17] x\n* OK [HIGHESTMODSEQ 14] x\na OK x\n\
            b UID FETCH 1:* (UID) (CHANGEDSINCE 11 VANISHED)\n* VANISHED (EARLIER) 9:10\n* 4 FETCH (UID 4 MODSEQ \
            (15))\nb OK\n";
        let session = last(text, 17).expect("a FETCH");
        assert_eq!((session.question.modseq, session.fetch, session.at_modseq()), (11, Some(true), Some(15)));
        assert_eq!(session.vanished.iter().map(|(_, set)| set.to_string()).collect::<Vec<_>>(), ["9:10"]);
    }
}
