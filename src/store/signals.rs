//! Signals that ask idx to end are held while files change their names. What was begun is ended, and said; whoever
//! works on more than one mailbox begins no other ([`Graceful`]).

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;

const HELD: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
/// The line of `/proc/self/status` with the signals that the caller had ignored, as `nohup` and the shell's `&` do.
const IGNORED: &str = "SigIgn:";

struct Handlers {
    /// True while nothing is held: the signal ends the process as ever.
    free: Arc<AtomicBool>,
    /// The signal that came meanwhile, or 0.
    came: Arc<AtomicUsize>,
    /// How many hold.
    holders: AtomicUsize,
}

static HANDLERS: OnceLock<Handlers> = OnceLock::new();
/// True when what was done is said before the process ends.
static REPORTS: AtomicBool = AtomicBool::new(false);

/// From now on a signal that comes while files change their names, or after that, ends the process only when it ends by
/// itself: what was done is said first. For a process that does nothing but that.
pub fn report_first() {
    REPORTS.store(true, Ordering::SeqCst);
}

/// A file that grows beyond the limit of the process makes write(2) fail, which is reported, instead of ending the
/// process.
pub fn ignore_file_size_limit() {
    // A handler that does nothing; where there is none, the default action stays.
    let _ = flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
}

/// The signals that are ignored already, as bits from signal 1 on: they must not begin to end the process.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(IGNORED));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// While it lives, signals wait.
#[derive(Debug)]
pub struct Hold(());

impl Hold {
    /// Holds SIGINT, SIGTERM and SIGHUP. A handler that cannot be installed leaves that signal as it is.
    pub fn signals() -> Hold {
        let handlers = HANDLERS.get_or_init(|| {
            let free = Arc::new(AtomicBool::new(true));
            let came = Arc::new(AtomicUsize::new(0));
            let ignored = ignored();
            for signal in HELD {
                let number = usize::try_from(signal).unwrap_or(0);
                if number == 0 || ignored >> (number - 1) & 1 == 1 {
                    continue;
                }
                if flag::register_usize(signal, Arc::clone(&came), number).is_ok() {
                    let _ = flag::register_conditional_default(signal, Arc::clone(&free));
                }
            }
            Handlers { free, came, holders: AtomicUsize::new(0) }
        });
        handlers.holders.fetch_add(1, Ordering::SeqCst);
        handlers.free.store(false, Ordering::SeqCst);
        Hold(())
    }
}

impl Hold {
    /// All is done that signals were held for.
    pub fn done(self) {
        if REPORTS.load(Ordering::SeqCst)
            && let Some(handlers) = HANDLERS.get()
        {
            handlers.holders.fetch_sub(1, Ordering::SeqCst);
            std::mem::forget(self);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(handlers) = HANDLERS.get() else { return };
        if handlers.holders.fetch_sub(1, Ordering::SeqCst) > 1 {
            return;
        }
        // The next one ends the process as ever; the one that came is for whoever asks for it.
        handlers.free.store(true, Ordering::SeqCst);
    }
}

/// The signal that came while signals were held, and that nobody has asked for yet; `None`: none did.
pub fn came() -> Option<i32> {
    let came = HANDLERS.get()?.came.swap(0, Ordering::SeqCst);
    i32::try_from(came).ok().filter(|signal| *signal > 0)
}

/// A run over many mailboxes, which a signal ends between two of them. Only the first one: once that was asked for, the
/// next ends the process as ever, though not while files change their names.
#[derive(Debug)]
pub struct Graceful {
    hold: Mutex<Option<Hold>>,
    came: AtomicI32,
}

impl Graceful {
    /// From now on signals are asked for.
    pub fn begin() -> Graceful {
        Graceful { hold: Mutex::new(Some(Hold::signals())), came: AtomicI32::new(0) }
    }

    /// The signal that asked for an end.
    pub fn asked(&self) -> Option<i32> {
        let known = self.came.load(Ordering::SeqCst);
        if known != 0 {
            return Some(known);
        }
        let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        if hold.is_none() {
            return Some(self.came.load(Ordering::SeqCst));
        }
        let signal = came()?;
        self.came.store(signal, Ordering::SeqCst);
        *hold = None;
        Some(signal)
    }
}

/// What a signal is called.
pub const fn name(signal: i32) -> &'static str {
    match signal {
        SIGINT => "SIGINT",
        SIGTERM => "SIGTERM",
        SIGHUP => "SIGHUP",
        _ => "a signal",
    }
}
