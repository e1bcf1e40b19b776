//! `idx completions`, `idx man` and `idx help`: all made from the one definition of the command line.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use super::{Context, EXIT_STATUS, command, verbs};
use crate::render::text::shown;
use crate::store::output;

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_EXAMPLES, after_long_help = COMPLETIONS_EXAMPLES)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

const COMPLETIONS_EXAMPLES: &str = const_format::concatcp!(
    "\
Examples:
  idx completions bash > /etc/bash_completion.d/idx
  idx completions zsh > \"${fpath[1]}/_idx\"
  idx completions fish > ~/.config/fish/completions/idx.fish

",
    EXIT_STATUS
);

impl Completions {
    /// Runs the verb.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn run(&self, context: &mut Context) -> anyhow::Result<()> {
        context.out.write_all(&completion(self.shell))?;
        Ok(())
    }
}

/// The completion script for a shell.
pub fn completion(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "idx", &mut script);
    script
}

/// Write the man pages of idx and of every verb into a directory
#[derive(Debug, Args)]
#[command(after_help = MAN_EXAMPLES, after_long_help = MAN_EXAMPLES)]
pub struct Man {
    /// Where to write idx.1, idx-dump.1 and the others
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

const MAN_EXAMPLES: &str = const_format::concatcp!(
    "\
Examples:
  idx man /usr/local/share/man/man1
  idx man . && man ./idx-dump.1
  idx man \"$DESTDIR/usr/share/man/man1\"

",
    EXIT_STATUS
);

impl Man {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn run(&self, context: &mut Context) -> anyhow::Result<()> {
        // Who types a verb wants to read its page.
        if let Some(verb) =
            self.dir.to_str().filter(|name| !self.dir.is_dir() && command().find_subcommand(name).is_some())
        {
            context.failure(&format_args!("{verb} is a verb and no directory: `idx help {verb}` shows its page"));
            return Ok(());
        }
        let dir = match output::directory(&self.dir) {
            Ok(dir) => dir,
            Err(error) => {
                context.failure(&format_args!("{}: {error}", shown(&self.dir)));
                return Ok(());
            }
        };
        for (name, page) in man_pages()? {
            if let Err(error) = output::replace_in(&dir, name.as_bytes(), 0o644, &page) {
                context.failure(&error);
                return Ok(());
            }
        }
        Ok(())
    }
}

/// File name and text of every man page.
///
/// # Errors
/// Never in practice: the pages are rendered into memory.
pub fn man_pages() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut whole = command();
    whole.build();
    let mut pages = vec![("idx.1".to_owned(), page(&whole, "idx")?)];
    for verb in whole.get_subcommands() {
        let name = format!("idx-{}", verb.get_name());
        pages.push((format!("{name}.1"), page(verb, &name)?));
    }
    Ok(pages)
}

fn page(command: &Command, name: &str) -> std::io::Result<Vec<u8>> {
    let command = command.clone().name(name.to_owned()).display_name(name.to_owned());
    let mut text = Vec::new();
    clap_mangen::Man::new(command).date("").source(concat!("idx ", env!("CARGO_PKG_VERSION"))).render(&mut text)?;
    Ok(text)
}

/// Show the man page of idx or of a verb
#[derive(Debug, Args)]
#[command(after_help = HELP_EXAMPLES, after_long_help = HELP_EXAMPLES)]
pub struct Help {
    /// The verb
    #[arg(value_name = "VERB")]
    verb: Option<String>,
}

const HELP_EXAMPLES: &str = const_format::concatcp!(
    "\
Examples:
  idx help
  idx help dump
  idx help show | less

",
    EXIT_STATUS
);

impl Help {
    /// Runs the verb.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn run(&self, context: &mut Context) -> anyhow::Result<()> {
        let mut whole = command();
        whole.build();
        let text = match &self.verb {
            None => whole.render_long_help(),
            Some(name) => match whole.find_subcommand_mut(name) {
                Some(verb) => verb.render_long_help(),
                None => {
                    let meant = verbs::meant(name).unwrap_or_else(|| "`idx help` lists them".to_owned());
                    context.failure(&format_args!("there is no verb {name:?}: {meant}"));
                    return Ok(());
                }
            },
        };
        if context.style.color {
            write!(context.out, "{}", text.ansi())?
        } else {
            write!(context.out, "{text}")?
        }
        Ok(())
    }
}
