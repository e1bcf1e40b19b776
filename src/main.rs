//! The `idx` command: see [`idx::cli`].

fn main() -> std::process::ExitCode {
    idx::cli::main()
}
