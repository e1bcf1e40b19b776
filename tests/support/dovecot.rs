//! A private Dovecot: a temporary home, a configuration and stand-alone processes on pipes.
//!
//! Dovecot refuses to read mail as root, so under root its processes run as an unprivileged user.

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::imap::Session;

/// Names the root directory of an installation of Dovecot 2.4.
pub const DOVECOT_24: &str = "IDX_DOVECOT_24";

/// Where distributions and `make install` put the `imap` binary.
const IMAP_BINARIES: [&str; 4] = [
    "/usr/lib/dovecot/imap",
    "/usr/libexec/dovecot/imap",
    "/usr/local/libexec/dovecot/imap",
    "/usr/local/lib/dovecot/imap",
];

/// The name the mailboxes belong to.
const USER: &str = "tester";

/// The setting that lets a Dovecot of 2.3 keep a clock that `faketime` has set; in 2.4 the configuration of these tests does.
pub const FAKETIME_ENVIRONMENT: (&str, &str) = ("import_environment", "TZ USER HOME LD_PRELOAD FAKETIME NO_FAKE_STAT");

/// The user and group, usually nobody and nogroup, that Dovecot runs as under root.
const UNPRIVILEGED: (u32, u32) = (65534, 65534);

/// How the messages are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Maildir,
    Mbox,
    Sdbox,
    Mdbox,
}

impl Format {
    pub const ALL: [Self; 4] = [Self::Maildir, Self::Mbox, Self::Sdbox, Self::Mdbox];

    /// The name Dovecot's settings use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Maildir => "maildir",
            Self::Mbox => "mbox",
            Self::Sdbox => "sdbox",
            Self::Mdbox => "mdbox",
        }
    }

    /// The directory below the home that holds the mail.
    fn directory(self) -> &'static str {
        match self {
            Self::Maildir => "Maildir",
            other => other.name(),
        }
    }
}

/// An installation of Dovecot.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The directory to change the root to; `None` for the system's own Dovecot.
    root: Option<PathBuf>,
    /// The version as `dovecot --version` prints it, without build information.
    version: String,
    imap: &'static str,
}

impl Installation {
    /// The system's Dovecot. Panics without one: a test that needs Dovecot must not pass for want of it.
    pub fn system() -> Self {
        Self::at(None)
    }

    /// Every Dovecot to test against: the system's, and the 2.4 that `IDX_DOVECOT_24` names.
    pub fn all() -> Vec<Self> {
        let other = std::env::var_os(DOVECOT_24).map(|root| Self::at(Some(PathBuf::from(root))));
        [Self::system()].into_iter().chain(other).collect()
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether settings are written in the syntax of 2.4.
    pub fn has_new_settings(&self) -> bool {
        let mut numbers = self.version.split('.').map(|number| number.parse().unwrap_or(0_u32));
        (numbers.next(), numbers.next()) >= (Some(2), Some(4))
    }

    fn at(root: Option<PathBuf>) -> Self {
        let prefix = root.as_deref().unwrap_or(Path::new("/"));
        let exists = |path: &&str| prefix.join(path.trim_start_matches('/')).exists();
        let imap = IMAP_BINARIES.into_iter().find(exists).unwrap_or_else(|| {
            panic!("Dovecot is not installed{}", if root.is_some() { " where IDX_DOVECOT_24 says" } else { "" })
        });
        let mut installation = Self { root, version: String::new(), imap };
        let output = installation.command("dovecot", None).arg("--version").output().expect("dovecot can be started");
        let text = String::from_utf8_lossy(&output.stdout);
        let version: String = text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        assert!(!version.is_empty(), "dovecot --version printed {text:?}");
        installation.version = version;
        installation
    }

    /// A command of this installation with a clean environment, run as `user` if given.
    fn command(&self, program: &str, user: Option<(u32, u32)>) -> Command {
        let mut command = match &self.root {
            Some(root) => {
                let mut command = Command::new("chroot");
                if let Some((uid, gid)) = user {
                    command.arg(format!("--userspec={uid}:{gid}"));
                }
                command.arg(root).arg(program);
                command
            }
            None => {
                let mut command = Command::new(program);
                if let Some((uid, gid)) = user {
                    command.uid(uid).gid(gid);
                }
                command
            }
        };
        command.env_clear().env("PATH", "/usr/local/bin:/usr/local/sbin:/usr/bin:/bin:/usr/sbin:/sbin");
        command.env("TZ", "UTC").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command
    }
}

/// A Dovecot of its own: home, configuration and log in a temporary directory that is removed with it.
pub struct Dovecot {
    installation: Installation,
    format: Format,
    base: TempDir,
    /// The user to run as, when the tests run as root.
    user: Option<(u32, u32)>,
    log_seen: Cell<u64>,
    snapshots: Cell<u32>,
    /// Processes that were given a clock.
    faked: RefCell<Vec<u32>>,
}

impl Drop for Dovecot {
    /// Removes what libfaketime leaves in shared memory when a process ends as Dovecot's do.
    fn drop(&mut self) {
        let shared = self.installation.root.as_deref().unwrap_or(Path::new("/")).join("dev/shm");
        for pid in self.faked.take() {
            for name in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
                let _ = fs::remove_file(shared.join(name));
            }
        }
    }
}

impl Dovecot {
    /// The system's Dovecot with mailboxes in `format` and additional `settings`, which have the same names in all
    /// versions or are the caller's concern.
    pub fn new(format: Format, settings: &[(&str, &str)]) -> Self {
        Self::with(Installation::system(), format, settings)
    }

    /// The same with a chosen installation.
    pub fn with(installation: Installation, format: Format, settings: &[(&str, &str)]) -> Self {
        let parent = installation.root.as_ref().map_or_else(std::env::temp_dir, |root| root.join("tmp"));
        let base = tempfile::Builder::new().prefix("idx-dovecot.").tempdir_in(parent).expect("temporary directory");
        let is_root = base.path().metadata().expect("metadata of the temporary directory").uid() == 0;
        let user = is_root.then_some(UNPRIVILEGED);
        let log_seen = Cell::new(0);
        let (snapshots, faked) = (Cell::new(0), RefCell::default());
        let dovecot = Self { installation, format, base, user, log_seen, snapshots, faked };
        fs::create_dir(dovecot.home()).expect("home");
        fs::write(dovecot.base.path().join("dovecot.conf"), dovecot.configuration(settings)).expect("configuration");
        File::create(dovecot.log()).expect("log file");
        dovecot.give_away(dovecot.base.path()).expect("owner of the temporary directory");
        dovecot
    }

    /// Replaces the settings given at the start.
    pub fn reconfigure(&self, settings: &[(&str, &str)]) {
        fs::write(self.base.path().join("dovecot.conf"), self.configuration(settings)).expect("configuration");
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// The home directory of the mailboxes' owner.
    pub fn home(&self) -> PathBuf {
        self.base.path().join("home")
    }

    /// Starts an IMAP session.
    pub fn imap(&self) -> Session {
        let mut command = self.installation.command(self.installation.imap, self.user);
        self.add_environment(&mut command);
        command.arg("-c").arg(self.inside(&self.base.path().join("dovecot.conf")));
        let log = OpenOptions::new().append(true).open(self.log()).expect("log file");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn();
        Session::new(child.expect("the imap process can be started"), self.log())
    }

    /// Starts an IMAP session whose clock stands still at `time`, UNIX seconds, by means of `libfaketime`. The settings of a
    /// 2.3 must let [`FAKETIME_ENVIRONMENT`] through. File times stay real.
    pub fn imap_at(&self, time: i64) -> Session {
        let library = match &self.installation.root {
            None => libfaketime(),
            // In a changed root the library is a copy of this system's.
            Some(_) => {
                let copy = self.base.path().join("libfaketime.so.1");
                if !copy.exists() {
                    fs::copy(libfaketime(), &copy).expect("libfaketime can be copied");
                }
                self.inside(&copy)
            }
        };
        let time = jiff::Timestamp::from_second(time).expect("a time").strftime("%Y-%m-%d %H:%M:%S").to_string();
        // Not through the `faketime` command, which leaves a semaphore behind for each process. It is env that sets these, so
        // that chroot itself does not look for the library outside.
        let mut command = self.installation.command("env", self.user);
        self.add_environment(&mut command);
        command.arg(format!("LD_PRELOAD={}", library.display())).arg(format!("FAKETIME={time}")).arg("NO_FAKE_STAT=1");
        command.arg(self.installation.imap);
        command.arg("-c").arg(self.inside(&self.base.path().join("dovecot.conf")));
        let log = OpenOptions::new().append(true).open(self.log()).expect("log file");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn();
        let child = child.expect("the imap process can be started");
        self.faked.borrow_mut().push(child.id());
        Session::new(child, self.log())
    }

    /// Starts an IMAP session with QRESYNC enabled.
    pub fn qresync(&self) -> Session {
        let mut session = self.imap();
        session.enable_qresync();
        session
    }

    /// Runs `doveadm ARGS` and returns what it printed; its stderr goes to the log. Panics if it fails.
    pub fn doveadm<A: AsRef<OsStr>>(&self, args: &[A]) -> Vec<u8> {
        let output = self.try_doveadm(args);
        assert!(output.status.success(), "doveadm: {}:\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Runs `doveadm ARGS`, whatever comes of it; its stderr goes to the log.
    pub fn try_doveadm<A: AsRef<OsStr>>(&self, args: &[A]) -> Output {
        let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
        let output = self.command_for(&args).output().expect("doveadm can be started");
        let mut log = OpenOptions::new().append(true).open(self.log()).expect("log file");
        io::copy(&mut output.stderr.as_slice(), &mut log).expect("log file");
        output
    }

    /// What `doveconf ARGS` prints; `None` when it refuses the configuration.
    pub fn doveconf(&self, args: &[&str]) -> Option<String> {
        let mut command = self.installation.command("doveconf", self.user);
        self.add_environment(&mut command);
        command.arg("-c").arg(self.inside(&self.base.path().join("dovecot.conf"))).args(args);
        let output = command.output().expect("doveconf can be started");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `doveadm ARGS` to be run by the caller. Paths are as [`try_doveadm`](Self::try_doveadm) takes them.
    pub fn command_for(&self, args: &[&OsStr]) -> Command {
        let mut command = self.installation.command("doveadm", self.user);
        self.add_environment(&mut command);
        command.arg("-c").arg(self.inside(&self.base.path().join("dovecot.conf"))).args(args);
        command
    }

    /// Runs a mail command, for example `(["mailbox", "status"], ["all", "INBOX"])`, for the owner of the mailboxes.
    pub fn doveadm_mail(&self, command: &[&str], args: &[&str]) -> Vec<u8> {
        let user: &[&str] = if self.installation.has_new_settings() { &["--no-userdb-lookup"] } else { &[] };
        self.doveadm(&[command, user, args].concat())
    }

    /// `doveadm dump` of a file in this Dovecot's directories; `kind` is `index`, `log` and so on.
    pub fn dump(&self, kind: &str, path: &Path) -> String {
        let path = self.inside(path);
        let output = self.doveadm(&[OsStr::new("dump"), OsStr::new("-t"), OsStr::new(kind), path.as_os_str()]);
        String::from_utf8_lossy(&output).into_owned()
    }

    /// The warnings, errors and panics logged since the last call.
    pub fn error_log(&self) -> Vec<String> {
        let mut log = File::open(self.log()).expect("log file");
        log.seek(SeekFrom::Start(self.log_seen.get())).expect("log file");
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes).expect("log file");
        self.log_seen.set(log.stream_position().expect("log file"));
        let is_problem =
            |line: &&str| ["Warning: ", "Error: ", "Fatal: ", "Panic: "].iter().any(|level| line.contains(level));
        String::from_utf8_lossy(&bytes).lines().filter(is_problem).map(str::to_owned).collect()
    }

    /// The directory of a mailbox's index files; `/` separates levels of the name.
    pub fn index_dir(&self, mailbox: &str) -> PathBuf {
        let root = self.mail_root();
        match self.format {
            Format::Maildir if mailbox == "INBOX" => root,
            Format::Maildir => root.join(format!(".{}", mailbox.replace('/', "."))),
            Format::Mbox => match mailbox.rsplit_once('/') {
                Some((parent, name)) => root.join(parent).join(".imap").join(name),
                None => root.join(".imap").join(mailbox),
            },
            Format::Sdbox | Format::Mdbox => root.join("mailboxes").join(mailbox).join("dbox-Mails"),
        }
    }

    /// The directory all mailboxes are in.
    pub fn mail_root(&self) -> PathBuf {
        self.home().join(self.format.directory())
    }

    /// Copies a directory as it is now, times included, to where this Dovecot and the tests can read it.
    pub fn snapshot(&self, dir: &Path) -> PathBuf {
        self.snapshots.set(self.snapshots.get() + 1);
        let copy = self.base.path().join(format!("snapshot-{}", self.snapshots.get()));
        copy_tree(dir, &copy).expect("copy of the directory");
        self.give_away(&copy).expect("owner of the copy");
        copy
    }

    /// Puts a directory back as it was when a snapshot of it was taken.
    pub fn restore(&self, snapshot: &Path, dir: &Path) {
        fs::remove_dir_all(dir).expect("the directory can be removed");
        copy_tree(snapshot, dir).expect("copy of the snapshot");
        self.give_away(dir).expect("owner of the copy");
    }

    /// Gives the home, after a test has put files there, to the user Dovecot runs as.
    pub fn give_back(&self) {
        self.give_away(&self.home()).expect("owner of the home");
    }

    /// Where stderr of all processes goes: stand-alone processes log there whatever `log_path` says.
    fn log(&self) -> PathBuf {
        self.base.path().join("dovecot.log")
    }

    /// A path as Dovecot sees it.
    fn inside(&self, path: &Path) -> PathBuf {
        match &self.installation.root {
            Some(root) => Path::new("/").join(path.strip_prefix(root).expect("a path below the installation's root")),
            None => path.to_owned(),
        }
    }

    fn add_environment(&self, command: &mut Command) {
        command.env("USER", USER).env("HOME", self.inside(&self.home()));
    }

    fn configuration(&self, settings: &[(&str, &str)]) -> String {
        let home = self.inside(&self.home());
        let home = home.to_str().expect("a temporary directory with a UTF-8 name");
        let base = self.inside(self.base.path());
        let run = base.join("run");
        let run = run.to_str().expect("a temporary directory with a UTF-8 name");
        let (uid, gid) = self.user.unwrap_or_else(|| {
            let metadata = self.base.path().metadata().expect("metadata of the temporary directory");
            (metadata.uid(), metadata.gid())
        });
        let mut text = if self.installation.has_new_settings() {
            new_mail_settings(&self.installation.version, self.format, home)
        } else {
            old_mail_settings(self.format, home)
        };
        text += &format!(
            "base_dir = {run}\nstate_dir = {run}\nlog_path = /dev/stderr\nmail_home = {home}\nmail_uid = {uid}\n\
             mail_gid = {gid}\nfirst_valid_uid = 1\nssl = no\nmail_fsync = never\n\
             namespace inbox {{\n inbox = yes\n separator = /\n}}\n"
        );
        for (name, value) in settings {
            text += &format!("{name} = {value}\n");
        }
        text
    }

    /// Gives a tree to the user Dovecot runs as.
    fn give_away(&self, path: &Path) -> io::Result<()> {
        let Some((uid, gid)) = self.user else { return Ok(()) };
        chown(path, Some(uid), Some(gid))?;
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                self.give_away(&entry?.path())?;
            }
        }
        Ok(())
    }
}

/// Where Debian and others put libfaketime. Panics without it: a test that needs it must not pass for want of it.
fn libfaketime() -> PathBuf {
    let mut directories = vec![PathBuf::from("/usr/lib"), PathBuf::from("/usr/lib64"), PathBuf::from("/usr/local/lib")];
    directories.extend(fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path()));
    let paths = directories.into_iter().map(|directory| directory.join("faketime/libfaketime.so.1"));
    paths.into_iter().find(|path| path.exists()).expect("faketime is installed")
}

fn old_mail_settings(format: Format, home: &str) -> String {
    let inbox = if format == Format::Mbox { format!(":INBOX={home}/inbox") } else { String::new() };
    format!("mail_location = {}:{home}/{}{inbox}\n", format.name(), format.directory())
}

fn new_mail_settings(version: &str, format: Format, home: &str) -> String {
    let more = match format {
        Format::Maildir => "mailbox_list_layout = maildir++\n".to_owned(),
        Format::Mbox => format!("mail_inbox_path = {home}/inbox\n"),
        Format::Sdbox | Format::Mdbox => String::new(),
    };
    format!(
        "dovecot_config_version = {version}\ndovecot_storage_version = {version}\n\
         import_environment {{\n USER=%{{env:USER}}\n HOME=%{{env:HOME}}\n TZ=%{{env:TZ}}\n \
         LD_PRELOAD=%{{env:LD_PRELOAD}}\n FAKETIME=%{{env:FAKETIME}}\n NO_FAKE_STAT=%{{env:NO_FAKE_STAT}}\n}}\n\
         mail_driver = {}\nmail_path = {home}/{}\n{more}",
        format.name(),
        format.directory()
    )
}

/// Copies a tree of directories and regular files with modes and modification times.
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    if metadata.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy_tree(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if metadata.is_file() {
        fs::copy(from, to)?;
    } else {
        return Ok(());
    }
    fs::set_permissions(to, metadata.permissions())?;
    let times = FileTimes::new().set_modified(metadata.modified()?).set_accessed(metadata.accessed()?);
    File::open(to)?.set_times(times)
}
