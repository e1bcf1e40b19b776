//! What a single flipped bit or byte makes of a value.

/// A modseq of which this or a higher bit is set, and no other of them, was damaged: counting changes does not get so
/// far, and a position of the scheme of 2008 has more of them.
const LONE_BIT: u64 = 1 << 32;

/// A modseq of which one bit stands far above what counting reaches.
pub fn without_lone_bit(modseq: u64) -> Option<u64> {
    let high = modseq / LONE_BIT * LONE_BIT;
    high.is_power_of_two().then_some(modseq ^ high)
}

/// In how many bits two names of the same length differ.
pub fn bits_apart(one: &[u8], other: &[u8]) -> Option<u32> {
    (one.len() == other.len()).then(|| one.iter().zip(other).map(|(a, b)| (a ^ b).count_ones()).sum())
}

/// Whether two texts differ in one byte alone.
pub fn is_one_byte_apart(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).filter(|(a, b)| a != b).count() == 1
}

/// Whether a client can have set a keyword of that name (`mailbox_keyword_is_valid`).
pub fn is_keyword(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(byte))
}
