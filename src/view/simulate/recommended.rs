//! The settings that a simulation recommends, for people.

use std::io::{self, Write};

use super::one::population;
use crate::render::Style;
use crate::render::units::{bytes, span};
use crate::simulate::recommended::Recommended;
use crate::simulate::settings::interval_text;

/// What is recommended, for people.
pub(super) fn table(r: &Recommended, out: &mut dyn Write, style: &Style) -> io::Result<()> {
    let head = if r.reached { "recommended" } else { "nearest" };
    writeln!(
        out,
        "\n{} for {} in {} % of the time ({} settings tried): exact {:.2} % (now {:.2} %), logs take {} (now {})",
        style.heading(head),
        interval_text(r.want_seconds),
        r.want_share * 100.0,
        r.tried,
        r.exact_share * 100.0,
        r.exact_share_present * 100.0,
        bytes(r.disk_bytes_mean),
        bytes(r.disk_bytes_mean_present),
    )?;
    if let Some(many) = &r.of_many {
        writeln!(
            out,
            "  one set for all: {} of {} mailboxes miss the window (now {}); wanted for {} % of the mailboxes",
            many.missing,
            many.mailboxes,
            many.missing_present,
            many.want_mailboxes * 100.0,
        )?;
    }
    if let Some(retention) = r.retention.filter(|retention| !retention.complete) {
        let (min, median, max) = (retention.min_seconds, retention.median_seconds, retention.max_seconds);
        writeln!(out, "  window min {}, median {}, max {}", span(min), span(median), span(max))?;
    }
    if let Some(cost) = &r.population {
        write!(out, "  ")?;
        population(cost, out, style)?;
    }
    writeln!(out, "  {}", style.dim("# dovecot.conf, 2.2.34 to 2.4"))?;
    if r.dovecot_conf.old.is_empty() {
        writeln!(out, "  {}", style.dim("# nothing: Dovecot's defaults do"))?;
    }
    for line in &r.dovecot_conf.old {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}
