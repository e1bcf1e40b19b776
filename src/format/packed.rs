//! The 7-bit big-endian code of log record sizes and of offsets in the cache header (`mail-index-util.c`): four bytes,
//! each with bit 7 set, carrying 28 bits of `value / 4`. It is the same in files of both byte orders.

/// Decodes a coded size or offset. `None` when a byte lacks bit 7: not written yet, or broken.
#[inline]
pub const fn decode(raw: [u8; 4]) -> Option<u32> {
    let word = u32::from_be_bytes(raw);
    // Nearly all records of a log are this short.
    if word & 0xffff_ff80 == 0x8080_8080 {
        return Some((word & 0x7f) << 2);
    }
    if word & 0x8080_8080 != 0x8080_8080 {
        return None;
    }
    Some((word >> 24 & 0x7f) << 23 | (word >> 16 & 0x7f) << 16 | (word >> 8 & 0x7f) << 9 | (word & 0x7f) << 2)
}

/// Encodes a size or offset; `None` unless it is a multiple of 4 below 0x40000000.
#[inline]
pub const fn encode(value: u32) -> Option<[u8; 4]> {
    if !value.is_multiple_of(4) || value >= 0x4000_0000 {
        return None;
    }
    let v = (value >> 2).to_be_bytes();
    let [a, b, c, d] = v;
    Some([0x80 | a << 3 | b >> 5, 0x80 | (b & 0x1f) << 2 | c >> 6, 0x80 | (c & 0x3f) << 1 | d >> 7, 0x80 | d])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of `mail-index-util.c`'s own unit test and of real files.
    const KNOWN: [(u32, [u8; 4]); 7] = [
        (12, [0x80, 0x80, 0x80, 0x83]),
        (36, [0x80, 0x80, 0x80, 0x89]),
        (508, [0x80, 0x80, 0x80, 0xff]),
        (512, [0x80, 0x80, 0x81, 0x80]),
        (8192, [0x80, 0x80, 0x90, 0x80]),
        (65536, [0x80, 0x81, 0x80, 0x80]),
        (0x3fff_fffc, [0xff, 0xff, 0xff, 0xff]),
    ];

    #[test]
    fn known_values() {
        for (value, raw) in KNOWN {
            assert_eq!(decode(raw), Some(value));
            assert_eq!(encode(value), Some(raw));
        }
    }

    #[test]
    fn refuses_what_cannot_be_coded() {
        assert_eq!(encode(2), None);
        assert_eq!(encode(0x4000_0000), None);
        assert_eq!(decode([0, 0x80, 0x80, 0x83]), None);
        assert_eq!(decode([0x80, 0x80, 0x80, 0x03]), None);
    }
}
