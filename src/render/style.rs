//! Colours, and how wide a line may be.

/// What a piece of text is, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// A heading.
    Heading,
    /// Something wrong.
    Error,
    /// Something doubtful.
    Warning,
    /// Something of lesser weight.
    Dim,
}

impl Paint {
    const ALL: [Paint; 4] = [Paint::Heading, Paint::Error, Paint::Warning, Paint::Dim];

    const fn code(self) -> &'static str {
        match self {
            Paint::Heading => "1",
            Paint::Error => "1;31",
            Paint::Warning => "33",
            Paint::Dim => "2",
        }
    }

    /// Stands for the colour in the cell of a table until its lines are laid out: a tag character, which takes no room.
    /// No text that is shown has one, for [`printable`](super::text::printable) escapes them.
    const fn mark(self) -> char {
        match self {
            Paint::Heading => '\u{e0031}',
            Paint::Error => '\u{e0032}',
            Paint::Warning => '\u{e0033}',
            Paint::Dim => '\u{e0034}',
        }
    }
}

/// Ends what a mark has begun.
const END: char = '\u{e007f}';

/// How text for people is printed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Use ANSI colours.
    pub color: bool,
    /// Columns of the terminal; `None` when standard output is none, so that lines may be as long as they are.
    pub width: Option<u16>,
}

impl Style {
    fn paint(&self, paint: Paint, text: &str) -> String {
        if self.color { format!("\x1b[{}m{text}\x1b[0m", paint.code()) } else { text.to_owned() }
    }

    /// A heading.
    pub fn heading(&self, text: &str) -> String {
        self.paint(Paint::Heading, text)
    }

    /// Something wrong.
    pub fn error(&self, text: &str) -> String {
        self.paint(Paint::Error, text)
    }

    /// Something doubtful.
    pub fn warning(&self, text: &str) -> String {
        self.paint(Paint::Warning, text)
    }

    /// Something of lesser weight.
    pub fn dim(&self, text: &str) -> String {
        self.paint(Paint::Dim, text)
    }

    /// Coloured text in the cell of a [`Table`](super::table::Table), where escape sequences would count as columns.
    pub fn cell(&self, paint: Paint, text: &str) -> String {
        if self.color { format!("{}{text}{END}", paint.mark()) } else { text.to_owned() }
    }

    /// Turns the marks of [`cell`](Self::cell) in a line into colours, or out of it.
    pub(super) fn coloured(&self, line: String) -> String {
        if !line.contains(|c| c == END || Paint::ALL.iter().any(|paint| paint.mark() == c)) {
            return line;
        }
        let mut out = String::with_capacity(line.len() + 16);
        let mut open = false;
        for c in line.chars() {
            match Paint::ALL.iter().find(|paint| paint.mark() == c) {
                Some(paint) => {
                    out.push_str(&format!("\x1b[{}m", paint.code()));
                    open = true;
                }
                None if c == END => {
                    out.push_str("\x1b[0m");
                    open = false;
                }
                None => out.push(c),
            }
        }
        // Its end is in a line that was cut.
        if open {
            out.push_str("\x1b[0m");
        }
        out
    }
}
