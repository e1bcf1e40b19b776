//! Modified UTF-7, the encoding of mailbox names in IMAP and on disk (RFC 3501 section 5.1.3, `imap-utf7.c`). The
//! crates that decode it replace what is malformed; here a malformed name must be told apart from a good one.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// Decodes a name; `None` when it is not in the form that Dovecot writes: bytes outside printable ASCII, an `&` without
/// its `-`, an encoding of what needs none, two shifts in a row, or broken UTF-16.
pub fn decode(name: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    let mut after_shift = false;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'&' {
            if !(0x20..0x7f).contains(&byte) {
                return None;
            }
            out.push(char::from(byte));
            after_shift = false;
            continue;
        }
        let end = rest.iter().position(|byte| *byte == b'-')?;
        let (shifted, tail) = rest.split_at_checked(end)?;
        rest = tail.get(1..)?;
        if shifted.is_empty() {
            out.push('&');
            after_shift = false;
            continue;
        }
        if after_shift {
            return None;
        }
        let units = units_of(shifted)?;
        if units.iter().any(|unit| (0x20..0x7f).contains(unit)) {
            return None;
        }
        for unit in char::decode_utf16(units) {
            out.push(unit.ok()?);
        }
        after_shift = true;
    }
    Some(out)
}

/// The UTF-16 units of one shifted part; `None` when it does not end where it should.
fn units_of(shifted: &[u8]) -> Option<Vec<u16>> {
    let mut units = Vec::with_capacity(shifted.len());
    let (mut bits, mut count) = (0_u32, 0_u32);
    for byte in shifted {
        let value = ALPHABET.iter().position(|known| known == byte)?;
        bits = (bits << 6 | u32::try_from(value).ok()?) & 0x003f_ffff;
        count = count.checked_add(6)?;
        if let Some(left) = count.checked_sub(16) {
            units.push(u16::try_from(bits >> left & 0xffff).ok()?);
            count = left;
        }
    }
    let padding = 1_u32.checked_shl(count)?.checked_sub(1)?;
    (count < 6 && bits & padding == 0).then_some(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_rfc() {
        // RFC 3501 section 5.1.3, and RFC 2152's examples in the modified alphabet.
        assert_eq!(
            decode(b"~peter/mail/&U,BTFw-/&ZeVnLIqe-").as_deref(),
            Some("~peter/mail/\u{53f0}\u{5317}/\u{65e5}\u{672c}\u{8a9e}")
        );
        assert_eq!(decode(b"Hi Mom -&Jjo--!").as_deref(), Some("Hi Mom -\u{263a}-!"));
        assert_eq!(decode(b"&AOQ-iti").as_deref(), Some("\u{e4}iti"));
        assert_eq!(decode(b"R&-D &-").as_deref(), Some("R&D &"));
        assert_eq!(decode(b"&2D3eAA-").as_deref(), Some("\u{1f600}"));
    }

    #[test]
    fn what_no_server_writes() {
        for bad in [
            &b"R&D"[..],
            b"&",
            b"&AOQ",
            b"&Jjo!",
            b"&U,BTFw-&ZeVnLIqe-",
            b"&AGE-",
            b"&2D0-",
            b"\xc3\xa4",
            b"a\x01",
            b"&AOR-",
            b"&A-",
        ] {
            assert_eq!(decode(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }
}
