//! Where the parts of a user's mail lie, in Dovecot's own words: `mail_location` of 2.3 (`mailbox-list.c`,
//! `mailbox_list_settings_parse`), or `mail_path` and its like of 2.4 (`mail-storage-settings.c`). Pure: which roots
//! there are follows from the text and from the path of a mailbox, and nothing is looked up here.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::StorageKind;

/// What is answered to a text that is none.
const SYNTAX: &str = "expected DRIVER:PATH as in maildir:~/Maildir:INDEX=/var/index/%u, or settings of 2.4 as in \
    mail_path=~/Maildir";
/// What is answered to an unknown part.
const KEYS: &str = "INBOX, INDEX, CONTROL, ALT, INDEXPVT and LAYOUT are, or mail_driver, mail_path, mail_inbox_path, \
    mail_index_path, mail_control_path, mail_alt_path and mail_index_private_path";
/// Variables in one path at most: what is tried to find their values grows with their number.
const MAX_VARIABLES: usize = 4;
/// Settings that say nothing of where mail, indexes or control files are (2.3, then 2.4).
const ELSE: [&str; 18] = [
    "VOLATILEDIR",
    "LISTINDEX",
    "ITERINDEX",
    "INDEXCACHE",
    "SUBSCRIPTIONS",
    "UTF-8",
    "BROKENCHAR",
    "NO-NOSELECT",
    "NO-NOSELECTPARENT",
    "AUTOCREATE",
    "NOALT",
    "mail_volatile_path",
    "mail_cache_path",
    "mailbox_list_index_prefix",
    "mailbox_list_utf8",
    "mailbox_list_storage_escape_char",
    "mailbox_list_visible_escape_char",
    "mailbox_list_iter_from_index_dir",
];

/// A part of a user's mail that has a root of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The messages (`mail_path`).
    Mail,
    /// The messages of the INBOX (`INBOX=`, `mail_inbox_path`).
    Inbox,
    /// The indexes (`INDEX=`, `mail_index_path`).
    Index,
    /// uidlists and subscriptions (`CONTROL=`, `mail_control_path`).
    Control,
    /// The alternate storage of a dbox (`ALT=`, `mail_alt_path`).
    Alt,
    /// The indexes with a user's own flags (`INDEXPVT=`, `mail_index_private_path`).
    Private,
}

/// What stands for a part of a path that differs from user to user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    /// `~`, `%h`, `%{home}`: any number of directories.
    Home,
    /// `%u`, `%{user}`.
    User,
    /// `%n`, `%{user | username}`.
    Name,
    /// `%d`, `%{user | domain}`.
    Domain,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Text(Vec<u8>),
    Variable(Variable),
}

/// The values of the variables for one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values([Option<Vec<u8>>; 4]);

/// The roots of each user's mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The storage format; `None`: whatever is found (`auto`).
    pub driver: Option<StorageKind>,
    parts: Vec<(Part, Vec<Token>)>,
}

/// Where a directory is in the roots of its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The root that it is in.
    pub part: Part,
    /// Its path below that.
    pub below: Vec<u8>,
    /// Whose mail it is.
    pub values: Values,
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Location, String> {
        let text = text.trim();
        let old = text.strip_prefix("mail_location").and_then(|rest| rest.trim_start().strip_prefix('='));
        let text = old.map_or(text, str::trim);
        let mut location = Location { driver: None, parts: Vec::new() };
        // Settings of 2.4 are lines, or words, of a name and a value.
        match text.split_once('=') {
            Some((key, _)) if old.is_none() && key.trim_end().starts_with("mail") && !key.contains(':') => {
                location.settings(text)?;
            }
            _ => location.one_line(text)?,
        }
        if !location.parts.iter().any(|(part, _)| *part == Part::Mail) {
            return Err("it does not say where the mail is, as in maildir:~/Maildir or mail_path=~/Maildir".into());
        }
        location.check()?;
        Ok(location)
    }
}

impl Location {
    /// `driver:path:KEY=value:...`; a doubled colon is one of a path.
    fn one_line(&mut self, text: &str) -> Result<(), String> {
        let whole = text.replace("::", "\0");
        let mut words = whole.split(':').map(|word| word.replace('\0', ":"));
        let driver = words.next().unwrap_or_default();
        let path = words.next().ok_or_else(|| format!("{text:?} is no mail location ({SYNTAX})"))?;
        self.set_driver(&driver)?;
        self.add(Part::Mail, &path)?;
        for word in words.filter(|word| !word.is_empty()) {
            let (key, value) = word.split_once('=').unwrap_or((&word, ""));
            self.set(key, value)?;
        }
        Ok(())
    }

    /// `mail_driver = maildir` and so on.
    fn settings(&mut self, text: &str) -> Result<(), String> {
        // One setting a line, with blanks around its sign, or several words.
        let mut words: Vec<(String, String)> = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let spaced = line.replace(" = ", "=").replace("= ", "=").replace(" =", "=");
            for word in spaced.split_whitespace() {
                match word.split_once('=') {
                    Some((key, value)) if key.bytes().all(|b| b.is_ascii_lowercase() || b"_8".contains(&b)) => {
                        words.push((key.into(), value.trim_matches('"').into()));
                    }
                    // A blank within a value, such as that of `%{user | domain}`.
                    _ => match words.last_mut() {
                        Some((_, value)) => *value = format!("{value} {}", word.trim_matches('"')),
                        None => return Err(format!("{word:?} is no setting")),
                    },
                }
            }
        }
        words.iter().try_for_each(|(key, value)| match key.as_str() {
            "mail_driver" => self.set_driver(value),
            key => self.set(key, value),
        })
    }

    fn set_driver(&mut self, name: &str) -> Result<(), String> {
        self.driver = match name {
            "auto" => None,
            "maildir" => Some(StorageKind::Maildir),
            "mbox" => Some(StorageKind::Mbox),
            "sdbox" | "dbox" => Some(StorageKind::Sdbox),
            "mdbox" => Some(StorageKind::Mdbox),
            _ => return Err(format!("{name:?} is no storage format (maildir, mbox, sdbox, mdbox or auto)")),
        };
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let part = match key {
            "mail_path" => Part::Mail,
            "INBOX" | "mail_inbox_path" => Part::Inbox,
            "INDEX" | "mail_index_path" if value == "MEMORY" => {
                return Err("INDEX=MEMORY: such mailboxes have no index files".into());
            }
            "INDEX" | "mail_index_path" => Part::Index,
            "CONTROL" | "mail_control_path" => Part::Control,
            "ALT" | "mail_alt_path" => Part::Alt,
            "INDEXPVT" | "mail_index_private_path" => Part::Private,
            "LAYOUT" | "mailbox_list_layout" => {
                // Which of them it is shows in the names of the directories.
                let known = ["maildir++", "Maildir++", "fs", "FS", "index"].contains(&value);
                return if known { Ok(()) } else { Err(format!("{value:?} is no layout (maildir++, fs or index)")) };
            }
            "MAILBOXDIR" | "mailbox_root_directory_name" if value == "mailboxes" => return Ok(()),
            "DIRNAME" | "FULLDIRNAME" | "mailbox_directory_name" if value == "dbox-Mails" => return Ok(()),
            "MAILBOXDIR" | "mailbox_root_directory_name" | "DIRNAME" | "FULLDIRNAME" | "mailbox_directory_name" => {
                return Err(format!("{key}={value}: only mailboxes and dbox-Mails are known"));
            }
            key if ELSE.contains(&key) => return Ok(()),
            _ => {
                return Err(format!("{key:?} is no part of a mail location ({KEYS})"));
            }
        };
        if value.is_empty() { Ok(()) } else { self.add(part, value) }
    }

    fn add(&mut self, part: Part, path: &str) -> Result<(), String> {
        let tokens = tokens(path)?;
        if !matches!(tokens.first(), Some(Token::Variable(Variable::Home)))
            && !matches!(tokens.first(), Some(Token::Text(text)) if text.starts_with(b"/"))
        {
            return Err(format!("{path:?} does not begin at / or ~/"));
        }
        self.parts.retain(|(have, _)| *have != part);
        self.parts.push((part, tokens));
        Ok(())
    }

    /// # Errors
    /// When one part has a variable whose value the path of the indexes does not tell.
    fn check(&self) -> Result<(), String> {
        let Some(known) = self.tokens(Part::Index).or_else(|| self.tokens(Part::Mail)) else { return Ok(()) };
        let has = |variable| known.contains(&Token::Variable(variable));
        for token in self.parts.iter().flat_map(|(_, tokens)| tokens) {
            let Token::Variable(variable) = token else { continue };
            let follows = match variable {
                Variable::Home => has(Variable::Home),
                Variable::User => has(Variable::User) || (has(Variable::Name) && has(Variable::Domain)),
                Variable::Name | Variable::Domain => has(*variable) || has(Variable::User),
            };
            if !follows {
                return Err(format!(
                    "the value of {} does not follow from the path of the indexes: write it out",
                    variable.name()
                ));
            }
        }
        Ok(())
    }

    fn tokens(&self, part: Part) -> Option<&[Token]> {
        self.parts.iter().find(|(have, _)| *have == part).map(|(_, tokens)| tokens.as_slice())
    }

    /// Where a directory is; `None`: in none of the roots.
    pub fn spot(&self, dir: &Path) -> Option<Spot> {
        let path = dir.as_os_str().as_bytes();
        [Part::Index, Part::Private, Part::Control, Part::Mail].into_iter().find_map(|part| {
            let (values, rest) = matched(self.tokens(part)?, path, Values::default())?;
            Some(Spot { part, below: rest.strip_prefix(b"/").unwrap_or(rest).to_vec(), values })
        })
    }

    /// Where the indexes of what lies in a mail root are, if they have a root of their own.
    pub fn indexes_of(&self, path: &Path) -> Option<PathBuf> {
        let spot = self.spot(path).filter(|spot| spot.part == Part::Mail)?;
        let root = self.root(Part::Index, &spot.values)?;
        Some(if spot.below.is_empty() { root } else { root.join(std::ffi::OsStr::from_bytes(&spot.below)) })
    }

    /// The root of a part of a user's mail, if that has one of its own.
    pub fn root(&self, part: Part, values: &Values) -> Option<PathBuf> {
        let mut path = Vec::new();
        for token in self.tokens(part)? {
            match token {
                Token::Text(text) => path.extend_from_slice(text),
                Token::Variable(variable) => path.extend(values.get(*variable)?),
            }
        }
        Some(OsString::from_vec(path).into())
    }
}

impl Variable {
    const fn name(self) -> &'static str {
        match self {
            Variable::Home => "~ (%h)",
            Variable::User => "%u",
            Variable::Name => "%n",
            Variable::Domain => "%d",
        }
    }
}

impl Values {
    fn get(&self, variable: Variable) -> Option<Vec<u8>> {
        let of = |variable: Variable| self.0[variable as usize].as_deref();
        let user = || of(Variable::User).map(|user| user.splitn(2, |byte| *byte == b'@'));
        let found = match variable {
            Variable::Name => of(variable).or_else(|| user()?.next()),
            Variable::Domain => of(variable).or_else(|| user()?.nth(1)),
            _ => of(variable),
        };
        match (variable, found) {
            (Variable::User, None) => Some([of(Variable::Name)?, b"@", of(Variable::Domain)?].concat()),
            (_, found) => found.map(<[u8]>::to_vec),
        }
    }

    fn with(&self, variable: Variable, value: &[u8]) -> Option<Values> {
        let mut values = self.clone();
        match &mut values.0[variable as usize] {
            Some(known) if *known != value => return None,
            place => *place = Some(value.to_vec()),
        }
        Some(values)
    }
}

/// Splits a path at its variables.
fn tokens(path: &str) -> Result<Vec<Token>, String> {
    let mut list = Vec::new();
    let mut text = Vec::new();
    let mut rest = path.trim_end_matches('/');
    if let Some(below) = rest.strip_prefix('~').filter(|below| below.is_empty() || below.starts_with('/')) {
        list.push(Token::Variable(Variable::Home));
        rest = below;
    }
    while let Some((before, behind)) = rest.split_once('%') {
        text.extend_from_slice(before.as_bytes());
        let (name, after) = match behind.strip_prefix('{') {
            Some(long) => long.split_once('}').ok_or_else(|| format!("{path:?}: a variable has no end"))?,
            None => behind.split_at_checked(1).ok_or_else(|| format!("{path:?} ends with %"))?,
        };
        rest = after;
        let name: String = name.chars().filter(|c| !c.is_whitespace()).collect();
        let variable = match name.as_str() {
            "%" => {
                text.push(b'%');
                continue;
            }
            "h" | "home" => Variable::Home,
            "u" | "user" => Variable::User,
            "n" | "username" | "user|username" => Variable::Name,
            "d" | "domain" | "user|domain" => Variable::Domain,
            _ => return Err(format!("%{name} in {path:?} is not known (%h, %u, %n and %d are, and their long names)")),
        };
        if !text.is_empty() {
            list.push(Token::Text(std::mem::take(&mut text)));
        }
        list.push(Token::Variable(variable));
    }
    text.extend_from_slice(rest.as_bytes());
    if !text.is_empty() {
        list.push(Token::Text(text));
    }
    let variables = list.iter().filter(|token| matches!(token, Token::Variable(_))).count();
    if variables > MAX_VARIABLES {
        return Err(format!("{path:?} has more than {MAX_VARIABLES} variables"));
    }
    Ok(list)
}

/// The values under which a path begins with a root, and what is behind that.
fn matched<'p>(tokens: &[Token], path: &'p [u8], values: Values) -> Option<(Values, &'p [u8])> {
    let Some((first, more)) = tokens.split_first() else {
        return (path.is_empty() || path.starts_with(b"/")).then_some((values, path));
    };
    let variable = match first {
        Token::Text(text) => return matched(more, path.strip_prefix(text.as_slice())?, values),
        Token::Variable(variable) => *variable,
    };
    let most = match variable {
        Variable::Home => path.len(),
        _ => path.iter().position(|byte| *byte == b'/').unwrap_or(path.len()),
    };
    let ends = (1..=most).filter(|end| variable != Variable::Home || path.get(*end).is_none_or(|byte| *byte == b'/'));
    ends.into_iter().find_map(|end| {
        let (value, rest) = path.split_at_checked(end)?;
        matched(more, rest, values.with(variable, value)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(text: &str) -> Location {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn roots(text: &str, dir: &str) -> Option<(Part, String, Option<PathBuf>)> {
        let location = location(text);
        let spot = location.spot(Path::new(dir))?;
        let mail = location.root(Part::Mail, &spot.values);
        Some((spot.part, String::from_utf8(spot.below).expect("UTF-8"), mail))
    }

    #[test]
    fn both_spellings_mean_the_same() {
        let old = "mdbox:~/mdbox:INDEX=/i/%d/%n:CONTROL=/c/%u:ALT=/alt/%u:LAYOUT=fs:VOLATILEDIR=/tmp/%u:UTF-8";
        for text in [old.replace('~', "/home/%u"), format!("mail_location = {}", old.replace('~', "/home/%u"))] {
            let new = "mail_driver = mdbox\nmail_path = /home/%{user}/mdbox\n\
                mail_index_path=/i/%{user | domain}/%{user|username}\n\
                mail_control_path=/c/%u mail_alt_path=/alt/%u mailbox_list_layout=fs \
                mail_volatile_path=/tmp/%u";
            assert_eq!(location(&text), location(new));
        }
        let spot = location(&old.replace('~', "/home/%u")).spot(Path::new("/i/example.org/ann/mailboxes/a"));
        let spot = spot.expect("an index");
        assert_eq!((spot.part, spot.below.as_slice()), (Part::Index, &b"mailboxes/a"[..]));
        let alt = location(&old.replace('~', "/home/%u")).root(Part::Alt, &spot.values);
        assert_eq!(alt, Some(PathBuf::from("/alt/ann@example.org")));
    }

    #[test]
    fn roots_follow_from_the_path_of_a_mailbox() {
        let mail = |path: &str| Some(PathBuf::from(path));
        let home = "maildir:~/Maildir:INDEX=~/idx";
        assert_eq!(roots(home, "/home/a/idx/.Sent"), Some((Part::Index, ".Sent".into(), mail("/home/a/Maildir"))));
        assert_eq!(roots(home, "/home/a/Maildir"), Some((Part::Mail, "".into(), mail("/home/a/Maildir"))));
        assert_eq!(roots(home, "/home/a/idxx/.Sent"), None);
        let user = "maildir:/m/%d/%n/Maildir:INDEX=/i/%u";
        assert_eq!(roots(user, "/i/a@b/.Sent"), Some((Part::Index, ".Sent".into(), mail("/m/b/a/Maildir"))));
        assert_eq!(
            roots("sdbox:/v/a::b", "/v/a:b/mailboxes/x"),
            Some((Part::Mail, "mailboxes/x".into(), mail("/v/a:b")))
        );
        assert_eq!(roots("maildir:/v/100%%", "/v/100%"), Some((Part::Mail, "".into(), mail("/v/100%"))));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (text, word) in [
            ("maildir", "DRIVER:PATH"),
            ("imapc:/x", "imapc"),
            ("maildir:Maildir", "does not begin"),
            ("maildir:/m/%Lu", "%L"),
            ("maildir:/m/%{user", "no end"),
            ("maildir:/m:INDEX=MEMORY", "no index files"),
            ("maildir:/m:INDX=/i", "INDX"),
            ("maildir:~/m:INDEX=/i/%u", "does not follow"),
            ("maildir:/m:LAYOUT=tree", "tree"),
            ("mail_driver=maildir", "where the mail is"),
            ("sdbox:/m:DIRNAME=x", "dbox-Mails"),
        ] {
            let error = text.parse::<Location>().expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
