//! What ties the files of a mailbox together.

use crate::format::Endian;
use crate::format::cache::CacheHeader;

/// The `indexid` of most files, 0 apart, which marks a corrupted log. `ids` are those of log, index, `.log.2` and
/// backup, as far as there are such files; of equally common ones the first counts, as for Dovecot, which opens the log
/// first and gives a missing one the id of the index (`mail-index.c`). A cache does not tell its byte order, so it can
/// only second what others say; `None` when no file says anything.
pub fn common_indexid(ids: [Option<u32>; 4], cache: Option<&[u8]>) -> Option<u32> {
    let told: Vec<u32> = ids.into_iter().flatten().filter(|id| *id != 0).collect();
    let of = |endian: Endian| endian.u32_at(cache?, CacheHeader::indexid.offset);
    let seconded = [of(Endian::Little), of(Endian::Big)].into_iter().flatten().find(|id| told.contains(id));
    let count = |id: u32| told.iter().chain(&seconded).filter(|other| **other == id).count();
    let most = told.iter().map(|id| count(*id)).max()?;
    told.iter().copied().find(|id| count(*id) == most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_majority_decides_and_the_log_where_there_is_none() {
        assert_eq!(common_indexid([Some(1), Some(2), None, None], None), Some(1));
        assert_eq!(common_indexid([Some(1), Some(2), Some(2), None], None), Some(2));
        assert_eq!(common_indexid([None, Some(2), Some(3), None], None), Some(2));
        assert_eq!(common_indexid([Some(0), None, None, None], None), None);
    }

    #[test]
    fn a_cache_of_either_byte_order_seconds_and_is_nobody_alone() {
        let cache = |id: u32, endian: Endian| [[0; 4], endian.u32_bytes(id)].concat();
        for endian in [Endian::Little, Endian::Big] {
            assert_eq!(common_indexid([Some(1), Some(2), None, None], Some(&cache(2, endian))), Some(2));
        }
        assert_eq!(common_indexid([Some(1), None, None, None], Some(&cache(9, Endian::Big))), Some(1));
        assert_eq!(common_indexid([None; 4], Some(&cache(9, Endian::Little))), None);
    }
}
