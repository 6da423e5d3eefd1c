//! What a call does beside compiling where larder is called `sccache`: it tells, once, which
//! settings are not applied.

use super::Session;
use crate::outcome::UNAPPLIED_TOLD;

/// What is kept of a list fits into the counters' highest sensible number.
const MARK_BITS: u32 = 48;

/// Tells the log of settings that are not applied, if the last call that told it of some did not
/// tell of these.
pub(super) fn tell_unapplied(session: &Session<'_>) {
    let Some(sccache) = session.call.config.sccache.as_deref() else { return };
    if sccache.unapplied.is_empty() || !session.call.log.is_heard() {
        return;
    }
    let list = sccache.unapplied.join(", ");
    let mark = larder_engine::checksum::xxh3_64(list.as_bytes(), 0) >> (u64::BITS - MARK_BITS);
    let counters = session.store.counters();
    if counters.get(UNAPPLIED_TOLD) != mark {
        counters.set(UNAPPLIED_TOLD, mark);
        session.log(format_args!(
            "configuration: not applied, because larder has no such place for results: {list}"
        ));
    }
}
