//! Exit codes: one table for every verb.

/// The same for every verb.
pub const EXIT_STATUS: &str = "\
Exit status:
  0  sound, done, or equal
  1  findings, differences, or done with loss; a damaged file whose readable part was shown
  2  could not be done (usage, I/O, lock held, not an index file, refused); nothing changed";

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
