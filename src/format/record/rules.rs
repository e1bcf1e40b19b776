//! Dovecot's rules for a record, and those that a decoder must add.

use super::super::disk::Disk;
use super::super::{FileKind, Flaw, FlawKind, align4};
use super::payload::{
    Append, AtomicInc, Elements, ExpungeGuid, ExtIntro, FlagUpdate, KeywordUpdate, ModseqUpdate, Record, UidRange,
};
use super::types::{EXPUNGE_PROT, RecordType, TYPE_MASK};

impl Record<'_> {
    fn error(&self, at: usize, kind: FlawKind, need: String, have: String) -> Flaw {
        Flaw::new(FileKind::Log, self.payload_at(at), kind, need, have)
    }

    fn ranges_error<T: Disk>(&self, bytes: &[u8], base: usize, ends: fn(&T) -> (u32, u32)) -> Option<Flaw> {
        let elements = Elements::<T>::new(bytes, self.endian);
        if elements.rest() != 0 {
            return Some(self.error(
                base,
                FlawKind::RangesSize,
                format!("a multiple of {}", T::SIZE),
                bytes.len().to_string(),
            ));
        }
        if bytes.is_empty() {
            return Some(self.error(base, FlawKind::RangesNone, "at least one".into(), "none".into()));
        }
        let mut last = 0;
        for (i, one) in elements.enumerate() {
            let at = base.saturating_add(i.saturating_mul(T::SIZE));
            let (uid1, uid2) = ends(&one);
            if uid1 == 0 || uid1 > uid2 {
                return Some(self.error(
                    at,
                    FlawKind::RangeInvalid,
                    "1 <= uid1 <= uid2".into(),
                    format!("{uid1} .. {uid2}"),
                ));
            }
            if uid1 <= last {
                return Some(self.error(at, FlawKind::RangesOrder, format!("uid1 > {last}"), uid1.to_string()));
            }
            last = uid2;
        }
        None
    }

    fn array_error(&self, element: usize, kind: FlawKind) -> Option<Flaw> {
        let rest = self.payload.len().checked_rem(element)?;
        (rest != 0)
            .then(|| self.error(0, kind, format!("a multiple of {element} bytes"), self.payload.len().to_string()))
    }

    /// Dovecot's own rules (`log_view_is_record_valid`): a record that breaks one makes a released Dovecot mark the
    /// whole log corrupted and stop reading.
    pub fn fatal_error(&self) -> Option<Flaw> {
        let masked = self.type_raw & TYPE_MASK;
        let type_error = |need: &str| {
            Some(Flaw::new(
                FileKind::Log,
                self.offset.saturating_add(4),
                FlawKind::ExpungeMask,
                need.to_owned(),
                format!("0x{masked:x}"),
            ))
        };
        if masked & 0x1 != 0 && masked != (EXPUNGE_PROT | 0x1) {
            return type_error("0xcd91");
        }
        if masked & 0x2000 != 0 && masked != (EXPUNGE_PROT | 0x2000) {
            return type_error("0xed90");
        }
        if self.payload.is_empty() {
            return Some(self.error(0, FlawKind::RecordEmpty, "a payload".into(), "0 bytes".into()));
        }
        match self.kind()? {
            RecordType::Append => self.array_error(Append::SIZE, FlawKind::AppendSize),
            RecordType::Expunge | RecordType::KeywordReset => {
                self.ranges_error::<UidRange>(self.payload, 0, |r| (r.uid1, r.uid2))
            }
            RecordType::ExpungeGuid => self.array_error(ExpungeGuid::SIZE, FlawKind::ExpungeGuidSize).or_else(|| {
                let i = self.elements::<ExpungeGuid>().position(|e| e.uid == 0)?;
                Some(self.error(
                    i.saturating_mul(ExpungeGuid::SIZE),
                    FlawKind::ExpungeGuidUid,
                    "uid > 0".into(),
                    "0".into(),
                ))
            }),
            RecordType::FlagUpdate => self.ranges_error::<FlagUpdate>(self.payload, 0, |u| (u.uid1, u.uid2)),
            RecordType::KeywordUpdate => {
                let fixed = KeywordUpdate::read(self.payload, self.endian);
                if fixed.name_size == 0 {
                    return Some(self.error(2, FlawKind::KeywordEmpty, "name_size > 0".into(), "0".into()));
                }
                let start = align4(KeywordUpdate::SIZE.saturating_add(usize::from(fixed.name_size)));
                match self.payload.get(start..) {
                    None => Some(self.error(
                        2,
                        FlawKind::KeywordUpdateSize,
                        format!("name_size <= {}", self.payload.len().saturating_sub(KeywordUpdate::SIZE)),
                        fixed.name_size.to_string(),
                    )),
                    Some(ranges) => self.ranges_error::<UidRange>(ranges, start, |r| (r.uid1, r.uid2)),
                }
            }
            RecordType::ExtIntro => {
                let mut at = 0_usize;
                while let Some(fixed) = self
                    .payload
                    .get(at..)
                    .and_then(|rest| rest.get(..ExtIntro::SIZE))
                    .map(|b| ExtIntro::read(b, self.endian))
                {
                    let end = at.saturating_add(ExtIntro::SIZE).saturating_add(usize::from(fixed.name_size));
                    if end > self.payload.len() {
                        return Some(self.error(
                            at.saturating_add(18),
                            FlawKind::IntroNameSize,
                            format!("at most {}", self.payload.len().saturating_sub(at).saturating_sub(ExtIntro::SIZE)),
                            fixed.name_size.to_string(),
                        ));
                    }
                    at = align4(end);
                }
                None
            }
            RecordType::HeaderUpdate if self.external() => {
                let mut chunks = self.header_chunks();
                let first = chunks.next();
                (first.is_none()).then(|| {
                    self.error(0, FlawKind::HeaderUpdateSize, "4 + size bytes".into(), self.payload.len().to_string())
                })
            }
            RecordType::AttributeUpdate => self.attribute_error(),
            _ => None,
        }
    }

    fn attribute_error(&self) -> Option<Flaw> {
        let byte = |at: usize| self.payload.get(at).copied().unwrap_or(0);
        let hex = |at: usize| format!("0x{:02x}", byte(at));
        let mut i = 0_usize;
        while i.saturating_add(2) < self.payload.len() && byte(i) != 0 {
            if !matches!(byte(i), b'+' | b'-') {
                return Some(self.error(i, FlawKind::AttributePrefix, "+ or -".into(), hex(i)));
            }
            i = i.saturating_add(1);
            if !matches!(byte(i), b'p' | b's') {
                return Some(self.error(i, FlawKind::AttributeScope, "p or s".into(), hex(i)));
            }
            i = i.saturating_add(1);
            let len = self.payload.get(i..).unwrap_or_default().iter().take_while(|b| **b != 0).count();
            if len == 0 {
                return Some(self.error(i, FlawKind::AttributeKey, "a key".into(), "NUL".into()));
            }
            i = i.saturating_add(len).saturating_add(1);
        }
        (i == 0 || (i < self.payload.len() && byte(i) != 0))
            .then(|| self.error(i, FlawKind::AttributeEnd, "NUL".into(), hex(i)))
    }

    /// What is wrong with the record's bytes: what a Dovecot stops at, else what it goes on behind.
    pub fn flaw(&self) -> Option<Flaw> {
        self.fatal_error().or_else(|| self.payload_error())
    }

    /// Rules that Dovecot does not check, or only complains about while it goes on (log.md, "Bounds a decoder must
    /// check itself"). The record is still framed correctly.
    pub fn payload_error(&self) -> Option<Flaw> {
        match self.kind() {
            None => Some(Flaw::new(
                FileKind::Log,
                self.offset.saturating_add(4),
                FlawKind::RecordTypeUnknown,
                "a type of mail-transaction-log.h",
                format!("0x{:x}", self.type_raw & TYPE_MASK),
            )),
            Some(RecordType::HeaderUpdate | RecordType::ExtHdr | RecordType::ExtHdr32) => {
                let mut chunks = self.header_chunks();
                chunks.by_ref().for_each(drop);
                let at = chunks.truncated?;
                Some(self.error(
                    at,
                    FlawKind::HeaderUpdateElement,
                    "an element inside the record".into(),
                    format!("{} bytes left", self.payload.len().saturating_sub(at)),
                ))
            }
            Some(RecordType::ModseqUpdate) => self.array_error(ModseqUpdate::SIZE, FlawKind::ModseqUpdateSize),
            Some(RecordType::ExtAtomicInc) => self.array_error(AtomicInc::SIZE, FlawKind::AtomicIncSize),
            Some(RecordType::ExtReset) if self.payload.len() < 4 => {
                Some(self.error(0, FlawKind::ExtResetSize, "at least 4 bytes".into(), self.payload.len().to_string()))
            }
            Some(RecordType::KeywordUpdate) => {
                let fixed = KeywordUpdate::read(self.payload, self.endian);
                (fixed.modify_type > 1).then(|| {
                    self.error(
                        0,
                        FlawKind::KeywordModifyType,
                        "0 (add) or 1 (remove)".into(),
                        fixed.modify_type.to_string(),
                    )
                })
            }
            Some(RecordType::Boundary) => {
                let size = self.boundary_size().unwrap_or(0);
                (size < 12).then(|| self.error(0, FlawKind::BoundarySize, "at least 12".into(), size.to_string()))
            }
            Some(RecordType::AttributeUpdate) => {
                let cut = self.attributes().any(|a| a.timestamp.is_none() || (a.set && a.value_len.is_none()));
                cut.then(|| {
                    self.error(
                        0,
                        FlawKind::AttributeNumbers,
                        "a timestamp for each key".into(),
                        format!("{} bytes", self.payload.len()),
                    )
                })
            }
            _ => None,
        }
    }
}
