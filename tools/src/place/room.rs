//! What each layout has room for: one table, so that a dry run says what the work would say.
//!
//! ```text
//!                      larder  ccache  ccache   sccache  memcached  redis  http  s3   lmdb  tar
//!                              dir     storage  dir
//! ccache               yes     yes     alone    -        -          alone  alone -    yes   yes
//! ccache-4.0           yes     yes     alone    -        -          alone  alone -    yes   yes
//! ccache-3             yes     yes     -        -        CCH1       -      -     -    yes   yes
//! sccache              yes     -       -        yes      yes        yes    yes   yes  yes   yes
//! sccache-preprocessor yes     -       -        yes      -          -      -     -    yes   yes
//! larder, ccache-key   yes     -       -        -        -          -      -     -    -     yes
//! file                 yes     yes     -        -        -          -      -     -    -     yes
//! ```
//!
//! *alone*: if no raw file stands beside it. *CCH1*: object, stderr, diagnostics and dependencies;
//! coverage notes, stack usage and split DWARF have no place there.

use super::open::Layout;
use super::{Outgoing, Trouble};
use crate::entry::Family;
use crate::layout::cch1;

/// Why a layout has no place for an entry, if it has none.
pub fn refuses(layout: Layout, outgoing: &Outgoing) -> Option<Trouble> {
    use Layout::*;
    let no_place = |what| Some(Trouble::NoPlace(what));
    let needs_others = outgoing.said.needs_others || outgoing.entry.parts.len() > 1;
    match (outgoing.entry.name.family, layout) {
        (_, Larder | Tar) => None,
        (Family::Larder, _) => no_place("larder's own results, which no other tool can read"),
        (Family::CcacheKey, _) => no_place("what has no name of ccache's, of its storage helper"),
        (Family::File, Ccache) => None,
        (Family::File, _) => no_place("statistics, settings and tags of a ccache directory"),
        (_, Lmdb) => None,
        (Family::Ccache | Family::Ccache40 | Family::Ccache3, Ccache) => None,
        (Family::Ccache | Family::Ccache40, CcacheStorage | CcacheStorageFlat | Http | Redis) => {
            match needs_others {
                true => no_place("results with raw files beside them"),
                false => None,
            }
        }
        (Family::Ccache3, Memcached) => cch1::refuses(&outgoing.entry).and_then(no_place),
        (Family::Ccache3, _) => no_place("entries of ccache 3, which only its directory takes"),
        (Family::Ccache | Family::Ccache40, _) => no_place("entries of ccache"),
        (Family::Sccache, Sccache | Redis | Memcached | Http | S3) => None,
        (Family::SccachePreprocessor, Sccache) => None,
        (Family::SccachePreprocessor, _) => {
            no_place("entries of sccache's preprocessor cache, which is never remote")
        }
        (Family::Sccache, _) => no_place("entries of sccache"),
    }
}
