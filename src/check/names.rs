//! Names that Dovecot knows, to tell a damaged one from one that somebody else may have chosen.

/// Header fields of RFC 5322, and others that clients ask for, as the cache names them.
pub(super) const HEADER_FIELDS: &[&str] = &[
    "hdr.bcc",
    "hdr.cc",
    "hdr.content-type",
    "hdr.date",
    "hdr.from",
    "hdr.in-reply-to",
    "hdr.list-id",
    "hdr.list-post",
    "hdr.list-unsubscribe",
    "hdr.message-id",
    "hdr.received",
    "hdr.references",
    "hdr.reply-to",
    "hdr.return-path",
    "hdr.sender",
    "hdr.subject",
    "hdr.to",
    "hdr.x-priority",
    "hdr.importance",
    "hdr.priority",
    "hdr.delivered-to",
    "hdr.newsgroups",
    "hdr.content-transfer-encoding",
    "hdr.content-disposition",
    "hdr.content-description",
    "hdr.disposition-notification-to",
    "hdr.mime-version",
    "hdr.content-id",
    "hdr.content-md5",
    "hdr.content-language",
    "hdr.content-location",
    "hdr.resent-message-id",
    "hdr.x-open-xchange-share-url",
];

/// Keywords that have been registered, or that many clients set.
pub(super) const KEYWORDS: &[&str] =
    &["$Forwarded", "$MDNSent", "$Junk", "$NotJunk", "$Phishing", "NonJunk", "NotJunk", "$SubmitPending", "$Submitted"];

/// The known name that this one is but for a single bit. Nobody chooses a name so.
pub(super) fn one_bit_off(name: &[u8], known: impl Iterator<Item = &'static str> + Clone) -> Option<&'static str> {
    nearest(name, known, |a, b| (a ^ b).count_ones())
}

/// The same for names in whatever case.
pub(super) fn misspelt(name: &[u8], known: impl Iterator<Item = &'static str> + Clone) -> Option<&'static str> {
    nearest(name, known, |a, b| match a.eq_ignore_ascii_case(&b) {
        true => 0,
        false => (a ^ b).count_ones().min((a.to_ascii_uppercase() ^ b).count_ones()),
    })
}

/// The known name at distance 1, unless there is one at distance 0.
fn nearest(
    name: &[u8],
    mut known: impl Iterator<Item = &'static str> + Clone,
    bits: impl Fn(u8, u8) -> u32,
) -> Option<&'static str> {
    let is_at = |one: &str, distance: u32| {
        one.len() == name.len() && one.bytes().zip(name).map(|(a, b)| bits(a, *b)).sum::<u32>() == distance
    };
    if known.clone().any(|one| is_at(one, 0)) {
        return None;
    }
    known.find(|one| is_at(one, 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::cache;
    use crate::format::ext::KnownExt;

    #[test]
    fn no_known_name_is_another_misspelt() {
        let lists: [Vec<&str>; 4] = [
            KnownExt::names().collect(),
            cache::registered_names().collect(),
            HEADER_FIELDS.to_vec(),
            KEYWORDS.to_vec(),
        ];
        for list in lists {
            for name in &list {
                assert_eq!(misspelt(name.as_bytes(), list.iter().copied()), None, "{name}");
            }
        }
        let one_bit_off = |name: &str| one_bit_off(name.as_bytes(), KnownExt::names());
        for name in KnownExt::names() {
            assert_eq!(one_bit_off(name), None, "{name}");
        }
        assert_eq!(one_bit_off("cacie"), Some("cache"));
        assert_eq!(one_bit_off("Cache"), Some("cache"));
        // Those of old list indexes, and a name that Dovecot Pro alone has where others have mbox.
        assert_eq!(one_bit_off("unseel"), Some("unseen"));
        assert_eq!(one_bit_off("obox"), Some("mbox"));
        assert_eq!(misspelt(b"HDR.SUBJEBT", HEADER_FIELDS.iter().copied()), Some("hdr.subject"));
        assert_eq!(misspelt(b"hdr.x-mine", HEADER_FIELDS.iter().copied()), None);
    }
}
