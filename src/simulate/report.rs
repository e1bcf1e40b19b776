//! What a simulation says.

use std::path::PathBuf;

use serde::Serialize;

use super::body::Body;
use super::engine::Course;
use super::picture::{Curve, Picture};
use super::recommended::Recommended;
use super::settings::Settings;
use super::survey::ManyAnswers;
use super::synthetic::Storage;

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

/// What the answer is about.
#[derive(Clone, Debug)]
pub enum Content {
    /// One mailbox, or traffic without one.
    One(Box<Body>),
    /// Many mailboxes.
    Many(Box<ManyAnswers>),
}

/// The whole answer.
#[derive(Clone, Debug)]
pub struct SimulationAnswer {
    /// What was simulated.
    pub settings: SettingsUsed,
    /// The answer.
    pub content: Content,
    /// The settings that are recommended, if some were looked for.
    pub recommended: Option<Recommended>,
    /// What a user should know.
    pub notes: Vec<String>,
    /// What to draw of one mailbox; `None` when no time passes.
    pub picture: Option<Picture>,
    /// Mailboxes that a table shows at most.
    pub most_rows: usize,
    /// What was named beside the one mailbox and could not be simulated: paths and reasons.
    pub errors: Vec<(PathBuf, String)>,
}

impl SimulationAnswer {
    /// The answer about one mailbox, or traffic without one.
    pub fn one(
        settings: SettingsUsed,
        mut body: Body,
        recommended: Option<Recommended>,
        mut notes: Vec<String>,
        present: Option<(Course, Option<i64>)>,
    ) -> SimulationAnswer {
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
        SimulationAnswer {
            settings,
            content,
            recommended,
            notes: Vec::new(),
            picture,
            most_rows: usize::MAX,
            errors: Vec::new(),
        }
    }

    /// The answer about many mailboxes.
    pub fn many(
        settings: SettingsUsed,
        survey: ManyAnswers,
        recommended: Option<Recommended>,
        notes: Vec<String>,
    ) -> SimulationAnswer {
        let content = Content::Many(Box::new(survey));
        SimulationAnswer {
            settings,
            content,
            recommended,
            notes,
            picture: None,
            most_rows: usize::MAX,
            errors: Vec::new(),
        }
    }

    /// Lets the table show no more than so many mailboxes.
    pub fn show_at_most(&mut self, rows: usize) {
        self.most_rows = rows;
    }

    /// The answers about many mailboxes; `None` when it was one.
    pub fn survey(&self) -> Option<&ManyAnswers> {
        match &self.content {
            Content::One(_) => None,
            Content::Many(survey) => Some(survey),
        }
    }
}
