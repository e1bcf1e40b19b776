//! Judges every mailbox below a directory: `cargo run --example judge -- /var/vmail`.

use std::ops::ControlFlow;
use std::path::PathBuf;

use idx::ops::inspect;
use idx::source::walk;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: judge DIRECTORY")?);
    let options = inspect::options();
    let (mut indexes, mut count) = (0, 0);
    walk::walk(
        &[root],
        2,
        |found| {
            found.units.iter().map(|unit| (unit.clone(), inspect::mailbox(&unit.files, &options))).collect::<Vec<_>>()
        },
        |judged| {
            for (unit, findings) in judged.into_iter().flatten() {
                indexes += 1;
                match findings {
                    Ok(findings) => {
                        count += findings.len();
                        for finding in findings {
                            println!("{} {}: {}", finding.code, finding.file.display(), finding.message);
                        }
                    }
                    Err(error) => println!("{}: {error}", unit.files.index.display()),
                }
            }
            ControlFlow::Continue(())
        },
    );
    println!("{indexes} indexes, {count} findings");
    Ok(())
}
