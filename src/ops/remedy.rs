//! What a rebuild would do about findings, tried in memory: it is offered as the fix of those that it mends without a
//! loss, and with its price where it has one. The same plan is what `idx rebuild` carries out.

use super::{inspect, rebuild};
use crate::check::deep::judge;
use crate::check::{self, Finding, Remedy, Severity, quote};
use crate::repair::{Base, Loss};
use crate::source::{Family, MailboxFiles, MmapPolicy};
use crate::storage::{Depth, KnownBefore, Witnesses};

/// Losses that are named before the others are only counted.
const NAMED: usize = 2;

/// Tries what can be done about findings in the index files of one mailbox and its storage, as far as that was looked
/// at, and gives each the remedy that it has.
pub fn try_all(findings: &mut [Finding], files: &MailboxFiles, depth: Option<Depth>, mmap: MmapPolicy) {
    if !findings.iter().any(Finding::may_be_rebuilt) {
        return;
    }
    let mut failed = None;
    for base in [None, Some(Base::Storage)] {
        let trial = Trial::of(files, base, depth, mmap);
        if let Some(why) = &trial.refused {
            failed.get_or_insert_with(|| why.clone());
            continue;
        }
        for finding in findings.iter_mut().filter(|one| one.may_be_rebuilt() && trial.mends(one)) {
            *finding = finding.clone().remedy(trial.remedy(files));
        }
        if !findings.iter().any(Finding::may_be_rebuilt) {
            return;
        }
    }
    let text = match failed {
        Some(why) => format!("nothing in these files proves what it should be; idx rebuild refuses: {why}"),
        None => "idx rebuild does not change it: no other file proves what it should be".to_owned(),
    };
    for finding in findings.iter_mut().filter(|one| one.may_be_rebuilt()) {
        *finding = finding.clone().remedy(Remedy::Advice(text.clone().into()));
    }
}

/// A rebuild that was tried.
struct Trial {
    base: Option<Base>,
    /// Why it cannot be done at any price.
    refused: Option<String>,
    losses: Vec<Loss>,
    /// What would still be wrong.
    left: Vec<Finding>,
}

impl Trial {
    fn of(files: &MailboxFiles, base: Option<Base>, depth: Option<Depth>, mmap: MmapPolicy) -> Trial {
        let (report, after) = match rebuild::preview(files, base, mmap) {
            Ok(done) => done,
            Err(error) => {
                return Trial { base, refused: Some(error.to_string()), losses: Vec::new(), left: Vec::new() };
            }
        };
        let refused = match report.status {
            rebuild::Status::Refused => Some(report.reason.unwrap_or_default()),
            rebuild::Status::Unchanged => Some("there is nothing that it would change".to_owned()),
            rebuild::Status::Rebuilt => None,
        };
        let mut left = match refused {
            None => check::snapshot(files, &after, &inspect::options()),
            Some(_) => Vec::new(),
        };
        if let Some(depth) = depth.filter(|_| refused.is_none()) {
            let seen = Witnesses::of(files, &after, KnownBefore::default(), depth, mmap);
            left.extend(seen.map(|seen| judge(files, &seen).findings).into_iter().flatten());
        }
        left.retain(|one| one.severity > Severity::Info);
        Trial { base, refused, losses: report.losses, left }
    }

    /// True when a finding is gone afterwards.
    fn mends(&self, finding: &Finding) -> bool {
        !self.left.iter().any(|one| one.code == finding.code && one.file == finding.file)
    }

    fn remedy(&self, files: &MailboxFiles) -> Remedy {
        // A directory means its mailbox, not the list or the map in it.
        let path = if files.family() == Family::Mailbox { "{mailbox}".to_owned() } else { quote(&files.index) };
        let base = rebuild::base_option(self.base);
        if self.losses.is_empty() {
            return Remedy::Fix(format!("idx rebuild{base} {path}").into());
        }
        let named: Vec<String> = self.losses.iter().take(NAMED).map(ToString::to_string).collect();
        let more = match self.losses.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!("; and {more} more that it names"),
        };
        let accept = rebuild::accept_option(self.losses.iter().map(Loss::grade));
        let text = format!("idx rebuild{base}{accept} {path}, which loses: {}{more}", named.join("; "));
        Remedy::Advice(text.into())
    }
}
