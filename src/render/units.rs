//! Times and sizes for people.

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Seconds for people: `5.3 d`, `2.0 h`, `90 s`.
pub fn span(seconds: i64) -> String {
    match seconds.abs() {
        0..120 => format!("{seconds} s"),
        s if s % DAY == 0 => format!("{} d", seconds / DAY),
        s if s % HOUR == 0 && s < 2 * DAY => format!("{} h", seconds / HOUR),
        120..7200 => format!("{:.1} min", seconds as f64 / 60.0),
        7200..172_800 => format!("{:.1} h", seconds as f64 / HOUR as f64),
        _ => format!("{:.1} d", seconds as f64 / DAY as f64),
    }
}

/// Bytes for people: `1.2 kB` stands for 1.2 times 1024, as Dovecot's `k` does.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} kB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.2} GB", bytes as f64 / 1_073_741_824.0),
    }
}
