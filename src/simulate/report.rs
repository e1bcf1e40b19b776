//! What a simulation says, as JSON and for people.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::body::Body;
use super::engine::Outcome;
use super::picture::{Curve, Picture};
use super::recommended::{self, Recommended};
use super::settings::{Settings, interval_text, size_text};
use super::survey::{Distribution, Row, Survey};
use super::synthetic::Storage;
use super::{many, one};
use crate::render::{self, Style};

/// The settings that were simulated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingsUsed {
    /// Whose rules.
    pub dovecot: String,
    /// The storage format of made-up traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// The settings, bytes and seconds.
    #[serde(flatten)]
    pub settings: Settings,
}

#[derive(Clone, Debug)]
enum Content {
    One(Box<Body>),
    Many(Box<Survey>),
}

/// The whole answer.
#[derive(Clone, Debug)]
pub struct Report {
    settings: SettingsUsed,
    content: Content,
    recommended: Option<Recommended>,
    notes: Vec<String>,
    picture: Option<Picture>,
    most_rows: usize,
}

#[derive(Serialize)]
struct One<'a> {
    settings: &'a SettingsUsed,
    #[serde(flatten)]
    body: &'a Body,
    recommended: &'a Option<Recommended>,
}

#[derive(Serialize)]
struct Many<'a> {
    settings: &'a SettingsUsed,
    distribution: &'a Distribution,
    mailboxes: Mailboxes<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Failure<'a>>,
    recommended: &'a Option<Recommended>,
    notes: &'a [String],
}

#[derive(Serialize)]
#[serde(untagged)]
enum Mailboxes<'a> {
    InFull(&'a [Body]),
    Rows(&'a [Row]),
}

#[derive(Serialize)]
struct Failure<'a> {
    path: &'a Path,
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

impl Report {
    /// The answer about one mailbox, or traffic without one.
    pub fn one(
        settings: SettingsUsed,
        mut body: Body,
        recommended: Option<Recommended>,
        mut notes: Vec<String>,
        present: Option<(Outcome, Option<i64>)>,
    ) -> Report {
        let picture =
            present.filter(|(outcome, _)| !outcome.segments.is_empty()).map(|(outcome, known_from)| Picture {
                from: outcome.segments.first().map_or(0, |segment| segment.from),
                to: outcome.segments.last().map_or(0, |segment| segment.to),
                present: Curve::of(&outcome, known_from),
                recommended: recommended
                    .as_ref()
                    .and_then(|recommended| recommended.picture.as_ref())
                    .map(|(outcome, known_from)| Curve::of(outcome, *known_from)),
            });
        notes.append(&mut body.notes);
        body.notes = notes;
        let content = Content::One(Box::new(body));
        Report { settings, content, recommended, notes: Vec::new(), picture, most_rows: usize::MAX }
    }

    /// The answer about many mailboxes.
    pub fn many(
        settings: SettingsUsed,
        survey: Survey,
        recommended: Option<Recommended>,
        notes: Vec<String>,
    ) -> Report {
        let content = Content::Many(Box::new(survey));
        Report { settings, content, recommended, notes, picture: None, most_rows: usize::MAX }
    }

    /// Lets the table show no more than so many mailboxes.
    pub fn show_at_most(&mut self, rows: usize) {
        self.most_rows = rows;
    }

    /// What to draw of one mailbox; `None` when no time passes.
    pub fn picture(&self) -> Option<&Picture> {
        self.picture.as_ref()
    }

    /// The answers about many mailboxes; `None` when it was one.
    pub fn survey(&self) -> Option<&Survey> {
        match &self.content {
            Content::One(_) => None,
            Content::Many(survey) => Some(survey),
        }
    }

    /// What is recommended.
    pub fn recommended(&self) -> Option<&Recommended> {
        self.recommended.as_ref()
    }
}

impl Survey {
    fn failures(&self) -> impl Iterator<Item = Failure<'_>> {
        self.errors.iter().map(|(path, error)| Failure { path, error })
    }
}

impl Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (settings, recommended) = (&self.settings, &self.recommended);
        match &self.content {
            Content::One(body) => One { settings, body, recommended }.serialize(serializer),
            Content::Many(survey) => Many {
                settings,
                distribution: &survey.distribution,
                mailboxes: match &survey.bodies {
                    Some(bodies) => Mailboxes::InFull(bodies),
                    None => Mailboxes::Rows(&survey.rows),
                },
                errors: survey.failures().collect(),
                recommended,
                notes: &self.notes,
            }
            .serialize(serializer),
        }
    }
}

impl render::Report for Report {
    const SCHEMA: &'static str = super::SCHEMA;

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
            Content::One(body) => return render::line(out, Self::SCHEMA, &One { settings, body, recommended }),
            Content::Many(survey) => survey,
        };
        if let Some(bodies) = &survey.bodies {
            return bodies
                .iter()
                .try_for_each(|body| render::line(out, Self::SCHEMA, &One { settings, body, recommended }));
        }
        for row in &survey.rows {
            render::line(out, Self::SCHEMA, &Section { section: "mailboxes", item: row })?;
        }
        for failure in survey.failures() {
            render::line(out, Self::SCHEMA, &Section { section: "errors", item: &failure })?;
        }
        let summary = Summary { settings, distribution: &survey.distribution, recommended, notes: &self.notes };
        render::line(out, Self::SCHEMA, &Section { section: "summary", item: &summary })
    }
}
