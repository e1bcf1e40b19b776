//! Exit codes: one table for every verb.

/// The same for every verb.
pub const EXIT_STATUS: &str = "\
Exit status:
  0  sound, done, or equal
  1  findings, differences, or done with loss; a damaged file whose readable part was shown
  2  could not be done (usage, I/O, lock held, not an index file, refused); nothing changed";

/// How root runs a verb that writes, and why.
pub const ROOT_WRITES: &str = "

As root:
  The work is done with the rights of the owner of the mailbox's directory, so nothing is read or
  written that he could not read or write himself, whatever he has put there. What belongs to
  neither him nor root is refused.";

/// How root runs a verb that reads trees, and why.
pub const ROOT_READS: &str = "

As root:
  Nothing needs it. The nightly check of virtual users runs as their user, that of system users as
  a user with CAP_DAC_READ_SEARCH alone: there are units for both in contrib/. Whoever runs it as
  root is led out of no directory by what its owner has put there: no link is followed below the
  named paths, and nothing but regular files is opened.";

/// How a verb ended. Of several outcomes the last in this order counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Sound, done, equal.
    #[default]
    Sound,
    /// Findings, differences, loss.
    Findings,
    /// Something could not be done.
    Failed,
    /// A Nagios plugin's UNKNOWN.
    Unknown,
}

impl Status {
    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Status::Sound => 0,
            Status::Findings => 1,
            Status::Failed => 2,
            Status::Unknown => 3,
        }
    }
}
