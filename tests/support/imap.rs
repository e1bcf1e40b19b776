//! An IMAP client that talks to a pre-authenticated `imap` process on pipes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How long the server may stay silent before a test fails.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The tagged result of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok,
    No,
    Bad,
}

/// The answer to one command: its untagged lines, literals included, and its tagged line.
#[derive(Clone, Debug)]
pub struct Response {
    pub lines: Vec<String>,
    pub status: Status,
    /// The tagged line without tag and status.
    pub text: String,
}

impl Response {
    /// The messages of the `FETCH` lines.
    pub fn fetches(&self) -> Vec<Message> {
        self.lines.iter().filter_map(|line| Message::parse(line)).collect()
    }

    /// The UIDs of the `VANISHED` lines; `None` when there was none.
    pub fn vanished(&self) -> Option<UidSet> {
        let mut sets = self.lines.iter().filter_map(|line| {
            let rest = line.strip_prefix("* VANISHED ")?;
            UidSet::parse(rest.strip_prefix("(EARLIER) ").unwrap_or(rest).trim_end())
        });
        let first = sets.next()?;
        Some(sets.fold(first, |mut all, set| {
            all.0.extend(set.0);
            all
        }))
    }

    /// The value of a response code with a number, such as `UIDNEXT`, in any line. The last one counts.
    pub fn code(&self, name: &str) -> Option<u64> {
        let lines = self.lines.iter().map(String::as_str).chain([self.text.as_str()]);
        lines.filter_map(|line| number_after(line, &format!("[{name} "))).next_back()
    }

    /// The UID an `APPEND` was given.
    pub fn append_uid(&self) -> Option<u32> {
        let rest = &self.text[self.text.find("[APPENDUID ")? + "[APPENDUID ".len()..];
        rest.split([' ', ']']).nth(1)?.parse().ok()
    }

    /// The pairs of source and destination UIDs a `COPY` or `MOVE` reported.
    pub fn copy_uids(&self) -> Vec<(u32, u32)> {
        let lines = self.lines.iter().map(String::as_str).chain([self.text.as_str()]);
        let Some(line) = lines.into_iter().find_map(|line| line.split_once("[COPYUID ").map(|(_, rest)| rest)) else {
            return Vec::new();
        };
        let sets: Vec<_> = line.split([' ', ']']).skip(1).take(2).filter_map(UidSet::parse).collect();
        match &sets[..] {
            [from, to] => from.uids().zip(to.uids()).collect(),
            _ => Vec::new(),
        }
    }

    /// What a `SELECT` or `EXAMINE` said of the mailbox.
    pub fn selected(&self) -> Selected {
        let exists = self.lines.iter().filter_map(|line| line.strip_prefix("* ")?.strip_suffix(" EXISTS")).next_back();
        Selected {
            exists: exists.and_then(|number| number.parse().ok()).unwrap_or(0),
            uid_validity: self.code("UIDVALIDITY").and_then(|value| value.try_into().ok()).unwrap_or(0),
            next_uid: self.code("UIDNEXT").and_then(|value| value.try_into().ok()).unwrap_or(0),
            highest_modseq: self.code("HIGHESTMODSEQ"),
        }
    }
}

/// A mailbox as `SELECT` describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selected {
    pub exists: u32,
    pub uid_validity: u32,
    pub next_uid: u32,
    /// Absent when the server does not track modseqs here.
    pub highest_modseq: Option<u64>,
}

/// One message as `FETCH (UID FLAGS MODSEQ)` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub seq: u32,
    pub uid: u32,
    /// System flags, sorted, without `\Recent`.
    pub flags: Vec<String>,
    /// Keywords, sorted.
    pub keywords: Vec<String>,
    pub modseq: Option<u64>,
}

impl Message {
    /// Parses a `* 3 FETCH (UID 5 FLAGS (\Seen kw) MODSEQ (12))` line; `None` if it is anything else or has no UID.
    pub fn parse(line: &str) -> Option<Self> {
        let (seq, items) = line.strip_prefix("* ")?.split_once(" FETCH (")?;
        let all: Vec<&str> = match items.split_once("FLAGS (") {
            Some((_, rest)) => rest.split_once(')')?.0.split_ascii_whitespace().collect(),
            None => Vec::new(),
        };
        let (flags, keywords) = split_flags(&all);
        Some(Self {
            seq: seq.parse().ok()?,
            uid: number_after(items, "UID ")?.try_into().ok()?,
            flags,
            keywords,
            modseq: number_after(items, "MODSEQ ("),
        })
    }
}

/// Splits IMAP flags into system flags and keywords, both sorted; `\Recent` belongs to the session and is dropped.
pub fn split_flags<S: AsRef<str>>(all: &[S]) -> (Vec<String>, Vec<String>) {
    let all = all.iter().map(|flag| flag.as_ref().to_owned());
    let (mut flags, mut keywords): (Vec<_>, Vec<_>) = all.partition(|flag| flag.starts_with('\\'));
    flags.retain(|flag| flag != "\\Recent");
    flags.sort_unstable();
    keywords.sort_unstable();
    (flags, keywords)
}

/// A set of UIDs as IMAP writes it; the ranges keep the order they came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UidSet(pub Vec<(u32, u32)>);

impl UidSet {
    /// Parses `1:3,7`; `None` if it is not a set of plain numbers.
    pub fn parse(text: &str) -> Option<Self> {
        let range = |part: &str| {
            let (first, last) = part.split_once(':').unwrap_or((part, part));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        text.split(',').map(range).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Every UID of the set.
    pub fn uids(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|&(first, last)| first..=last)
    }
}

/// Everything IMAP tells about a mailbox's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxState {
    pub selected: Selected,
    pub messages: Vec<Message>,
}

/// A running `imap` process. Dropping it kills the process.
pub struct Session {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<io::Result<String>>,
    next_tag: u32,
    log: PathBuf,
}

impl Session {
    /// Takes over a process whose stdin and stdout are pipes and waits for its greeting. `log` is named in panics.
    pub fn new(mut child: Child, log: PathBuf) -> Self {
        let stdout = child.stdout.take().expect("stdout of the imap process is a pipe");
        let stdin = child.stdin.take();
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || read_lines(stdout, &sender));
        let mut session = Self { child, stdin, lines, next_tag: 1, log };
        let greeting = session.line();
        assert!(greeting.starts_with("* PREAUTH "), "unexpected greeting {greeting:?}");
        session
    }

    /// Sends a command and waits for its tagged answer.
    pub fn cmd(&mut self, command: &str) -> Response {
        self.cmd_bytes(command.as_bytes())
    }

    /// Sends a command that must succeed.
    pub fn ok(&mut self, command: &str) -> Response {
        let response = self.cmd(command);
        assert_eq!(response.status, Status::Ok, "{command}: {}", response.text);
        response
    }

    /// Appends a message; `flags` are IMAP flags and keywords, `date` an IMAP date-time.
    pub fn append(&mut self, mailbox: &str, flags: &[&str], date: Option<&str>, message: &[u8]) -> Response {
        let date = date.map(|date| format!(" \"{date}\"")).unwrap_or_default();
        let flags = flags.join(" ");
        let mut command = format!("APPEND \"{mailbox}\" ({flags}){date} {{{}+}}\r\n", message.len()).into_bytes();
        command.extend_from_slice(message);
        let response = self.cmd_bytes(&command);
        assert_eq!(response.status, Status::Ok, "APPEND: {}", response.text);
        response
    }

    /// Enables QRESYNC, and with it CONDSTORE.
    pub fn enable_qresync(&mut self) {
        self.ok("ENABLE QRESYNC");
    }

    pub fn select(&mut self, mailbox: &str) -> Selected {
        self.ok(&format!("SELECT \"{mailbox}\"")).selected()
    }

    pub fn examine(&mut self, mailbox: &str) -> Selected {
        self.ok(&format!("EXAMINE \"{mailbox}\"")).selected()
    }

    /// `EXAMINE` with QRESYNC parameters, for example `1795410490 12 1:40`, as RFC 7162 has them.
    pub fn examine_qresync(&mut self, mailbox: &str, parameters: &str) -> Response {
        self.ok(&format!("EXAMINE \"{mailbox}\" (QRESYNC ({parameters}))"))
    }

    /// Opens a mailbox read-only and reads the flags of all messages, and their modseqs where the server has them.
    pub fn state(&mut self, mailbox: &str) -> MailboxState {
        let selected = self.examine(mailbox);
        let items = if selected.highest_modseq.is_some() { "UID FLAGS MODSEQ" } else { "UID FLAGS" };
        let messages = match selected.exists {
            0 => Vec::new(),
            _ => self.ok(&format!("FETCH 1:* ({items})")).fetches(),
        };
        MailboxState { selected, messages }
    }

    /// Logs out and waits until the process has ended, so that all files are written.
    pub fn logout(mut self) {
        self.ok("LOGOUT");
        self.stdin = None;
        let deadline = Instant::now() + TIMEOUT;
        while self.child.try_wait().expect("the imap process can be waited for").is_none() {
            assert!(Instant::now() < deadline, "the imap process did not end after LOGOUT");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends the process at once, as a crash would.
    pub fn kill(self) {}

    fn cmd_bytes(&mut self, command: &[u8]) -> Response {
        let tag = format!("t{} ", self.next_tag);
        self.next_tag += 1;
        let sent = self.send(&[tag.as_bytes(), command, b"\r\n"].concat());
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            if let Some(rest) = line.strip_prefix(&tag) {
                sent.expect("the imap process reads commands");
                return tagged(lines, rest);
            }
            lines.push(line);
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stdin = self.stdin.as_mut().expect("the session is open");
        stdin.write_all(bytes)?;
        stdin.flush()
    }

    fn line(&mut self) -> String {
        match self.lines.recv_timeout(TIMEOUT) {
            Ok(Ok(line)) => line,
            Ok(Err(error)) => panic!("reading from the imap process: {error}"),
            Err(RecvTimeoutError::Timeout) => panic!("the imap process was silent for {TIMEOUT:?}"),
            Err(RecvTimeoutError::Disconnected) => {
                panic!("the imap process ended:\n{}", std::fs::read_to_string(&self.log).unwrap_or_default())
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Both fail only when the process is gone already, and that is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tagged(lines: Vec<String>, rest: &str) -> Response {
    let (status, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let status = match status {
        "OK" => Status::Ok,
        "NO" => Status::No,
        "BAD" => Status::Bad,
        other => panic!("unexpected tagged status {other:?}"),
    };
    Response { lines, status, text: text.to_owned() }
}

/// Sends every line of the server, with its literals in it and without the line end, until the pipe is closed.
fn read_lines(stdout: ChildStdout, sender: &mpsc::Sender<io::Result<String>>) {
    let mut reader = BufReader::new(stdout);
    loop {
        let line = match read_line(&mut reader) {
            Ok(Some(line)) => Ok(line),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let is_last = line.is_err();
        if sender.send(line).is_err() || is_last {
            return;
        }
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let text = line.trim_ascii_end();
        let Some(size) = literal_size(text) else {
            return Ok(Some(String::from_utf8_lossy(text).into_owned()));
        };
        reader.take(size).read_to_end(&mut line)?;
    }
}

/// The size of the literal announced at the end of a line.
fn literal_size(line: &[u8]) -> Option<u64> {
    let digits = line.strip_suffix(b"}")?;
    let start = digits.iter().rposition(|&byte| byte == b'{')? + 1;
    std::str::from_utf8(&digits[start..]).ok()?.parse().ok()
}

/// The decimal number that follows the first occurrence of `prefix`.
fn number_after(text: &str, prefix: &str) -> Option<u64> {
    let rest = &text[text.find(prefix)? + prefix.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetch_line() {
        let message = Message::parse("* 3 FETCH (UID 5 FLAGS (\\Seen b \\Recent \\Answered a) MODSEQ (12))").unwrap();
        assert_eq!((message.seq, message.uid, message.modseq), (3, 5, Some(12)));
        assert_eq!(message.flags, ["\\Answered", "\\Seen"]);
        assert_eq!(message.keywords, ["a", "b"]);
        assert_eq!(Message::parse("* 3 EXISTS"), None);
    }

    #[test]
    fn vanished_lines_are_joined() {
        let lines = ["* VANISHED (EARLIER) 1:3,7", "* VANISHED 9"].map(str::to_owned).to_vec();
        let response = Response { lines, status: Status::Ok, text: String::new() };
        assert_eq!(response.vanished().unwrap().uids().collect::<Vec<_>>(), [1, 2, 3, 7, 9]);
    }

    #[test]
    fn literals_stay_in_their_line() {
        let mut input: &[u8] = b"* 1 FETCH (BODY[] {4}\r\na\r\nb UID 1)\r\nx OK\r\n";
        assert_eq!(read_line(&mut input).unwrap().unwrap(), "* 1 FETCH (BODY[] {4}\r\na\r\nb UID 1)");
        assert_eq!(read_line(&mut input).unwrap().unwrap(), "x OK");
        assert_eq!(read_line(&mut input).unwrap(), None);
    }
}
