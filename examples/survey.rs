//! temporary
use idx::check::{self, Options};
use idx::source::{Family, MailboxFiles};
use std::path::{Path, PathBuf};
fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
    let mut list: Vec<_> = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    list.sort();
    for family in Family::ALL {
        let files = MailboxFiles { index: dir.join(family.prefix()), cache: None };
        if !files.present().is_empty() {
            out.push(files.index.clone());
        }
    }
    for p in list {
        if p.is_dir() && !p.is_symlink() {
            walk(&p, out);
        }
    }
}
fn main() {
    let opts = Options::default();
    let (mut n, mut bad) = (0, 0);
    for root in std::env::args().skip(1) {
        let mut units = Vec::new();
        walk(Path::new(&root), &mut units);
        for index in units {
            n += 1;
            match check::mailbox(&MailboxFiles { index: index.clone(), cache: None }, &opts) {
                Ok(list) => {
                    if !list.is_empty() {
                        bad += 1;
                    }
                    for f in list {
                        println!(
                            "{} {} {} {:?} {:?} {}",
                            f.code,
                            f.severity,
                            f.file.display(),
                            f.offset,
                            f.uid,
                            f.message
                        );
                    }
                }
                Err(e) => println!("ERR {e}"),
            }
        }
    }
    println!("{n} units, {bad} with findings");
}
