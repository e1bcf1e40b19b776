//! UID sets in IMAP notation: `1:3,7`, `*` for the highest.

use std::fmt;
use std::str::FromStr;

/// A set of UIDs as sorted, disjoint, non-adjacent ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UidSet {
    ranges: Vec<(u32, u32)>,
}

impl UidSet {
    /// The empty set.
    pub fn new() -> UidSet {
        UidSet::default()
    }

    /// The set of all UIDs `first..=last`.
    pub fn range(first: u32, last: u32) -> UidSet {
        let mut set = UidSet::new();
        set.insert_range(first, last);
        set
    }

    /// The ranges in order.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    /// True when there is no UID.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Number of UIDs.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|(a, b)| u64::from(b - a) + 1).sum()
    }

    /// Adds a UID.
    pub fn insert(&mut self, uid: u32) {
        self.insert_range(uid, uid);
    }

    /// Adds `first..=last`; nothing when `first > last`.
    pub fn insert_range(&mut self, first: u32, last: u32) {
        if first > last {
            return;
        }
        // The usual case: sets are built in ascending order.
        match self.ranges.last_mut() {
            None => return self.ranges.push((first, last)),
            Some((_, end)) if first > end.saturating_add(1) => return self.ranges.push((first, last)),
            Some((start, end)) if first >= *start => {
                *end = last.max(*end);
                return;
            }
            Some(_) => {}
        }
        let from = self.ranges.partition_point(|(_, end)| end.saturating_add(1) < first);
        let to = self.ranges.partition_point(|(start, _)| *start <= last.saturating_add(1));
        let merged = match self.ranges.get(from..to) {
            Some([(start, end)]) => (first.min(*start), last.max(*end)),
            Some([(start, _), .., (_, end)]) => (first.min(*start), last.max(*end)),
            _ => (first, last),
        };
        self.ranges.splice(from..to, [merged]);
    }

    /// True when `uid` is in the set.
    #[inline]
    pub fn contains(&self, uid: u32) -> bool {
        let i = self.ranges.partition_point(|(_, end)| *end < uid);
        self.ranges.get(i).is_some_and(|(start, _)| *start <= uid)
    }

    /// True when a UID of `first..=last` is in the set.
    pub fn intersects(&self, first: u32, last: u32) -> bool {
        let i = self.ranges.partition_point(|(_, end)| *end < first);
        self.ranges.get(i).is_some_and(|(start, _)| *start <= last)
    }

    /// The UIDs in both sets.
    #[must_use]
    pub fn intersection(&self, other: &UidSet) -> UidSet {
        let mut out = UidSet::new();
        let (mut a, mut b) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        while let (Some(&&(a1, a2)), Some(&&(b1, b2))) = (a.peek(), b.peek()) {
            out.insert_range(a1.max(b1), a2.min(b2));
            if a2 < b2 {
                a.next();
            } else {
                b.next();
            }
        }
        out
    }

    /// The UIDs of this set that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &UidSet) -> UidSet {
        let mut out = UidSet::new();
        let mut others = other.ranges.iter().peekable();
        for &(mut start, end) in &self.ranges {
            while others.next_if(|(_, last)| *last < start).is_some() {}
            let mut hidden = others.clone();
            let mut whole = true;
            while let Some(&(first, last)) = hidden.next_if(|(first, _)| *first <= end) {
                if first > start {
                    out.insert_range(start, first - 1);
                }
                match last.checked_add(1).filter(|next| *next <= end) {
                    Some(next) => start = next,
                    None => {
                        whole = false;
                        break;
                    }
                }
            }
            if whole {
                out.insert_range(start, end);
            }
        }
        out
    }

    /// The UIDs in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges.iter().flat_map(|(a, b)| *a..=*b)
    }
}

impl FromIterator<(u32, u32)> for UidSet {
    /// Collects ranges that come in any order; one whose end lies before its start is left out.
    fn from_iter<I: IntoIterator<Item = (u32, u32)>>(ranges: I) -> Self {
        let mut sorted: Vec<(u32, u32)> = ranges.into_iter().collect();
        sorted.sort_unstable();
        let mut set = UidSet::new();
        sorted.into_iter().for_each(|(first, last)| set.insert_range(first, last));
        set
    }
}

impl FromIterator<u32> for UidSet {
    fn from_iter<I: IntoIterator<Item = u32>>(uids: I) -> Self {
        let mut set = UidSet::new();
        uids.into_iter().for_each(|uid| set.insert(uid));
        set
    }
}

impl fmt::Display for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (a, b)) in self.ranges.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if a == b { write!(f, "{comma}{a}")? } else { write!(f, "{comma}{a}:{b}")? }
        }
        Ok(())
    }
}

/// Why a text is not a UID set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a UID or a range of UIDs (expected an IMAP set such as 1:3,7,20:*)")]
pub struct BadUidSet(String);

impl FromStr for UidSet {
    type Err = BadUidSet;
    fn from_str(text: &str) -> Result<UidSet, BadUidSet> {
        let number = |text: &str| match text {
            "*" => Some(u32::MAX),
            digits => digits.parse().ok().filter(|n| *n > 0),
        };
        let part = |part: &str| {
            let bounds = match part.split_once(':') {
                Some((a, b)) => number(a).zip(number(b)),
                None => number(part).map(|n| (n, n)),
            };
            let (a, b) = bounds.ok_or_else(|| BadUidSet(part.to_owned()))?;
            Ok((a.min(b), a.max(b)))
        };
        // Sorted before they are joined: a client may name them in any order.
        text.split(',').map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> UidSet {
        text.parse().expect("a set")
    }

    #[test]
    fn parse_and_print() {
        assert_eq!(set("7,1:3,4,9:8").to_string(), "1:4,7:9");
        assert_eq!(set("20:*").ranges(), [(20, u32::MAX)]);
        for bad in ["", "0", "1:", "a", "1,,2", "-1"] {
            assert!(bad.parse::<UidSet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn algebra() {
        assert_eq!(set("1:10").difference(&set("2,4:5,10")).to_string(), "1,3,6:9");
        assert_eq!(set("1:4,8:9").difference(&set("1:100")).to_string(), "");
        assert_eq!(set("1:3,5:9").difference(&set("3:5")).to_string(), "1:2,6:9");
        assert_eq!(set("1:10").intersection(&set("2,4:5,10:20")).to_string(), "2,4:5,10");
        assert!(set("1:3").intersects(3, 9) && !set("1:3").intersects(4, 9));
        assert_eq!(set("1:3,7").count(), 4);
    }

    /// Against a bitmap, over every pair of a few thousand small sets.
    #[test]
    fn agrees_with_a_bitmap() {
        let of = |bits: u32| (0..8).filter(|b| bits >> b & 1 != 0).map(|b| b + 1).collect::<UidSet>();
        for a in 0..256_u32 {
            for b in (0..256_u32).step_by(3) {
                assert_eq!(of(a).difference(&of(b)), of(a & !b), "{a:b} - {b:b}");
                assert_eq!(of(a).intersection(&of(b)), of(a & b), "{a:b} & {b:b}");
            }
        }
    }

    #[test]
    fn out_of_order_inserts_merge() {
        let mut s = set("1,5,9");
        s.insert_range(2, 8);
        assert_eq!(s.to_string(), "1:9");
        let mut s = set("10:20");
        s.insert(5);
        s.insert(7);
        s.insert(6);
        assert_eq!(s.to_string(), "5:7,10:20");
        let s: UidSet = [(9, 9), (3, 5), (1, 1), (4, 8), (7, 2)].into_iter().collect();
        assert_eq!(s.to_string(), "1,3:9");
    }
}
