//! Byte order. Index files are written in the byte order of the host that made them; which one that was is known only
//! after the first header has been looked at, so the order is a run-time value, not a type parameter: one copy of every
//! decoder, and the branch is always predicted.

/// The byte order of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Endian {
    /// Least significant byte first: x86, ARM, and every current Dovecot host.
    #[default]
    Little,
    /// Most significant byte first: s390x, old SPARC and PowerPC hosts.
    Big,
}

impl Endian {
    /// The order in which this process reads native integers.
    pub const NATIVE: Endian = if cfg!(target_endian = "big") { Endian::Big } else { Endian::Little };

    /// `"little"` or `"big"`, as printed in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Endian::Little => "little",
            Endian::Big => "big",
        }
    }

    /// Reads a `u16` at byte `at`; `None` if the slice is too short.
    #[inline]
    pub fn u16_at(self, bytes: &[u8], at: usize) -> Option<u16> {
        let raw = *bytes.get(at..)?.first_chunk::<2>()?;
        Some(match self {
            Endian::Little => u16::from_le_bytes(raw),
            Endian::Big => u16::from_be_bytes(raw),
        })
    }

    /// Reads a `u32` at byte `at`; `None` if the slice is too short.
    #[inline]
    pub fn u32_at(self, bytes: &[u8], at: usize) -> Option<u32> {
        Some(self.u32_of(*bytes.get(at..)?.first_chunk::<4>()?))
    }

    /// The `u32` of four bytes in this order.
    #[inline]
    pub const fn u32_of(self, raw: [u8; 4]) -> u32 {
        match self {
            Endian::Little => u32::from_le_bytes(raw),
            Endian::Big => u32::from_be_bytes(raw),
        }
    }

    /// Reads a `u64` at byte `at`; `None` if the slice is too short.
    #[inline]
    pub fn u64_at(self, bytes: &[u8], at: usize) -> Option<u64> {
        let raw = *bytes.get(at..)?.first_chunk::<8>()?;
        Some(match self {
            Endian::Little => u64::from_le_bytes(raw),
            Endian::Big => u64::from_be_bytes(raw),
        })
    }

    /// The bytes of `value` in this order.
    #[inline]
    pub const fn u16_bytes(self, value: u16) -> [u8; 2] {
        match self {
            Endian::Little => value.to_le_bytes(),
            Endian::Big => value.to_be_bytes(),
        }
    }

    /// The bytes of `value` in this order.
    #[inline]
    pub const fn u32_bytes(self, value: u32) -> [u8; 4] {
        match self {
            Endian::Little => value.to_le_bytes(),
            Endian::Big => value.to_be_bytes(),
        }
    }

    /// The bytes of `value` in this order.
    #[inline]
    pub const fn u64_bytes(self, value: u64) -> [u8; 8] {
        match self {
            Endian::Little => value.to_le_bytes(),
            Endian::Big => value.to_be_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_orders_and_stops_at_the_end() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(Endian::Little.u16_at(&bytes, 6), Some(0x0807));
        assert_eq!(Endian::Big.u32_at(&bytes, 1), Some(0x0203_0405));
        assert_eq!(Endian::Big.u64_at(&bytes, 0), Some(0x0102_0304_0506_0708));
        assert_eq!(Endian::Little.u32_at(&bytes, 5), None);
        assert_eq!(Endian::Little.u16_at(&bytes, usize::MAX), None);
    }
}
