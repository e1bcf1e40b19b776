//! What a simulation says, as JSON and for people.

mod many;
mod one;
mod picture;
mod recommended;

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use crate::render::{self, PathText, Style};
use crate::simulate::SCHEMA;
use crate::simulate::body::Body;
use crate::simulate::recommended::Recommended;
use crate::simulate::report::{Content, SettingsUsed, SimulationAnswer};
use crate::simulate::settings::{interval_text, size_text};
use crate::simulate::survey::{Distribution, MailboxAnswer};

#[derive(Serialize)]
struct One<'a> {
    settings: &'a SettingsUsed,
    #[serde(flatten)]
    body: &'a Body,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Failure<'a>>,
    recommended: &'a Option<Recommended>,
}

#[derive(Serialize)]
struct Many<'a> {
    settings: &'a SettingsUsed,
    distribution: &'a Distribution,
    mailboxes: Mailboxes<'a>,
    errors: Vec<Failure<'a>>,
    recommended: &'a Option<Recommended>,
    notes: &'a [String],
}

#[derive(Serialize)]
#[serde(untagged)]
enum Mailboxes<'a> {
    InFull(&'a [Body]),
    Rows(&'a [MailboxAnswer]),
}

#[derive(Serialize)]
struct Failure<'a> {
    path: PathText<'a>,
    error: &'a str,
}

/// A line of a list.
#[derive(Serialize)]
struct Section<'a, T: Serialize> {
    section: &'static str,
    #[serde(flatten)]
    item: &'a T,
}

/// The line after the lists.
#[derive(Serialize)]
struct Summary<'a> {
    settings: &'a SettingsUsed,
    distribution: &'a Distribution,
    recommended: &'a Option<Recommended>,
    notes: &'a [String],
}

fn failures(errors: &[(PathBuf, String)]) -> impl Iterator<Item = Failure<'_>> {
    errors.iter().map(|(path, error)| Failure { path: PathText(path), error })
}

impl Serialize for SimulationAnswer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (settings, recommended) = (&self.settings, &self.recommended);
        match &self.content {
            Content::One(body) => {
                let errors = failures(&self.errors).collect();
                One { settings, body, errors, recommended }.serialize(serializer)
            }
            Content::Many(survey) => Many {
                settings,
                distribution: &survey.distribution,
                mailboxes: match &survey.bodies {
                    Some(bodies) => Mailboxes::InFull(bodies),
                    None => Mailboxes::Rows(&survey.rows),
                },
                errors: failures(&survey.errors).collect(),
                recommended,
                notes: &self.notes,
            }
            .serialize(serializer),
        }
    }
}

impl render::Report for SimulationAnswer {
    const SCHEMA: &'static str = SCHEMA;

    fn table(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let used = &self.settings;
        let s = &used.settings;
        writeln!(
            out,
            "{} Dovecot {}{}: log_rotate_min_size {}, max_size {}, min_age {}, log2_max_age {}",
            style.heading("settings"),
            used.dovecot,
            used.storage.map(|storage| format!(", {}", storage.name())).unwrap_or_default(),
            size_text(s.min_size),
            size_text(s.max_size),
            interval_text(s.min_age),
            interval_text(s.log2_max_age),
        )?;
        let notes = match &self.content {
            Content::One(body) => {
                one::table(body, self.picture.as_ref(), out, style)?;
                &body.notes
            }
            Content::Many(survey) => {
                many::table(survey, self.most_rows, out, style)?;
                &self.notes
            }
        };
        if let Some(recommended) = &self.recommended {
            recommended::table(recommended, out, style)?;
        }
        for note in notes {
            writeln!(out, "{} {note}", style.warning("note"))?;
        }
        Ok(())
    }

    fn lines(&self, out: &mut dyn Write) -> io::Result<()> {
        let (settings, recommended) = (&self.settings, &self.recommended);
        let survey = match &self.content {
            Content::One(body) => {
                let errors = failures(&self.errors).collect();
                return render::line(out, Self::SCHEMA, &One { settings, body, errors, recommended });
            }
            Content::Many(survey) => survey,
        };
        if let Some(bodies) = &survey.bodies {
            return bodies.iter().try_for_each(|body| {
                render::line(out, Self::SCHEMA, &One { settings, body, errors: Vec::new(), recommended })
            });
        }
        for row in &survey.rows {
            render::line(out, Self::SCHEMA, &Section { section: "mailboxes", item: row })?;
        }
        for failure in failures(&survey.errors) {
            render::line(out, Self::SCHEMA, &Section { section: "errors", item: &failure })?;
        }
        let summary = Summary { settings, distribution: &survey.distribution, recommended, notes: &self.notes };
        render::line(out, Self::SCHEMA, &Section { section: "summary", item: &summary })
    }
}
