# What there is to do here. `just` alone lists it.
default:
    @just --list

# The binary, optimised.
build:
    cargo build --locked --release

# Everything that has to pass.
test:
    tests/run

# Speed beside doveadm and cat.
bench:
    cargo bench --locked --bench ratios

# Speed beside that of another revision, both built here and run in turns.
bench-against REV:
    tools/bench-against {{REV}}

# Mutations of real files through every fuzz target, on any toolchain.
fuzz SECONDS="60":
    cargo run --locked --release --example fuzz -- {{SECONDS}}

# The same with the address sanitizer, which needs a nightly toolchain.
fuzz-asan SECONDS="600" SEED="1":
    RUSTFLAGS="-Zsanitizer=address" cargo +nightly build --locked --target x86_64-unknown-linux-gnu --example fuzz
    ASAN_OPTIONS=detect_leaks=0 nice -n 19 target/x86_64-unknown-linux-gnu/debug/examples/fuzz {{SECONDS}} {{SEED}}

# Mailboxes written by real Dovecots, made anew.
fixtures *ARGS:
    fixtures/make.py {{ARGS}}

# The graph of the modules: which room uses which.
house:
    tools/house

# Small judged mailboxes; `just cases --class loop --show`.
cases *ARGS:
    cargo build --locked
    IDX="$PWD/target/debug/idx" PYTHONDONTWRITEBYTECODE=1 fixtures/cases/run.py {{ARGS}}

# Random damage on recorded mailboxes: what a rebuild cannot keep it has to name.
chaos SEED="1" N="1000":
    IDX_CHAOS_SEED={{SEED}} IDX_CHAOS_CASES={{N}} cargo test --locked --test chaos -- --nocapture what_a_rebuild

# The same on mailboxes that real Dovecots are driven through several states with, and beside what they make of them.
chaos-live SEED="1" N="300":
    IDX_CHAOS_STATES="$PWD/target/chaos-states" IDX_CHAOS_SEED={{SEED}} IDX_CHAOS_CASES={{N}} \
        cargo test --locked --test chaos -- --ignored --nocapture no_rebuild_is

# Takes each piece of evidence away from every mailbox of fixtures and corpus (IDX_CORPUS): docs/evidence/claims.md.
claims:
    IDX_PART=1 IDX_BLESS=1 cargo test --locked --test claims -- --include-ignored --nocapture anywhere

# Fifteen bad nights on a real Dovecot 2.3, as docs/evidence/nights.md; `just nights --only 9 --show`.
nights *ARGS:
    cargo build --locked
    tools/nights --out docs/evidence/nights.md {{ARGS}}

# The same on the Dovecot 2.4 that IDX_DOVECOT_24 names.
nights-24 *ARGS:
    tools/nights --new --out docs/evidence/nights-2.4.1.md {{ARGS}}

# Random damages to all files of an mdbox, as docs/evidence/mdbox.md.
mdbox *ARGS:
    tools/mdbox --out docs/evidence/mdbox.md {{ARGS}}

# Every system call of a commit met by a second idx, by signals, by death and by errors: docs/evidence/races.md.
gaps:
    IDX_EACH_GAP=1 cargo test --locked --test gaps -- --include-ignored --nocapture

# Hostile owners, with their directories on a tmpfs.
hostile-tmpfs:
    mkdir -p /dev/shm/idx-hostile
    TMPDIR=/dev/shm/idx-hostile cargo test --locked --test hostile -- --include-ignored
    rmdir /dev/shm/idx-hostile

# Completions and man pages, written anew.
bless:
    IDX_BLESS=1 cargo test --locked --test generated
