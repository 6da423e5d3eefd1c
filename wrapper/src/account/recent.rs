//! The last calls of one user that were no hits: a small file in the store's directory.
//!
//! The file `calls-UID` (0600) has [`SLOTS`] slots of [`SLOT_BYTES`]; a call takes the slot behind
//! that of the last one:
//!
//! ```text
//! slot = "LRC1" length:u32 check:16 account      `check` is the XXH3-128 of the account
//! ```
//!
//! 1. A slot is written by one `pwrite`, and read only if its check is right. Of two calls that
//!    take the same slot at once one is lost.
//! 2. The times in the accounts say which is the last.
//! 3. The file is made when the store has room for it. Where it cannot be, nothing is kept.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use larder_engine::Store;
use larder_engine::checksum::xxh3_128;

use super::Account;
use crate::outcome::Counter;

/// Enough for the calls of one minute of work at a desk, and for whoever asks about one of several
/// that ran at once.
const SLOTS: u64 = 64;
const SLOT_BYTES: usize = 4096;
const HEAD_BYTES: usize = 4 + 4 + 16;
const MAGIC: &[u8; 4] = b"LRC1";

fn path(store: &Store) -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    store.path().join(format!("calls-{user}"))
}

/// Keeps an account. What fails is no error: it is only not kept.
pub fn write(store: &Store, account: &Account) {
    let Some(bytes) = account.encode(SLOT_BYTES - HEAD_BYTES) else { return };
    let Some(file) = open(store) else { return };
    let id = Counter::CallsKept as usize;
    let slot = store.counters().get(id) % SLOTS;
    store.counters().add(id, 1);
    let mut image = Vec::with_capacity(HEAD_BYTES + bytes.len());
    image.extend_from_slice(MAGIC);
    image.extend((bytes.len() as u32).to_le_bytes());
    image.extend(xxh3_128(&bytes).to_le_bytes());
    image.extend_from_slice(&bytes);
    let _ = file.write_at(&image, slot * SLOT_BYTES as u64);
}

/// The file, made if there is room.
fn open(store: &Store) -> Option<File> {
    let path = path(store);
    let open = |create: bool| {
        let mut options = File::options();
        options.write(true).create(create).mode(0o600);
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path)
    };
    open(false).ok().or_else(|| {
        let has_room = store.take_room(SLOTS * SLOT_BYTES as u64).unwrap_or(false);
        has_room.then(|| open(true).ok()).flatten()
    })
}

/// Every account that is there, newest first.
pub fn read(store: &Store) -> Vec<Account> {
    let mut accounts = read_file(&path(store)).unwrap_or_default();
    accounts.sort_by_key(|account| std::cmp::Reverse(account.at_ns));
    accounts
}

fn read_file(path: &Path) -> Option<Vec<Account>> {
    let mut options = File::options();
    let file = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = file.open(path).ok()?;
    let slot = |number: u64| {
        let mut bytes = [0; SLOT_BYTES];
        let mut count = 0;
        while count < SLOT_BYTES {
            let offset = number * SLOT_BYTES as u64 + count as u64;
            match file.read_at(&mut bytes[count..], offset).ok()? {
                0 => break,
                more => count += more,
            }
        }
        decode(&bytes[..count])
    };
    Some((0..SLOTS).filter_map(slot).collect())
}

fn decode(slot: &[u8]) -> Option<Account> {
    let rest = slot.strip_prefix(MAGIC)?;
    let (length, rest) = rest.split_at_checked(4)?;
    let (check, rest) = rest.split_at_checked(16)?;
    let bytes = rest.get(..u32::from_le_bytes(length.try_into().ok()?) as usize)?;
    (xxh3_128(bytes) == u128::from_le_bytes(check.try_into().ok()?)).then_some(())?;
    Account::decode(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::coding::tests::sample;
    use super::*;
    use larder_engine::Options;

    #[test]
    fn the_last_calls_are_kept_newest_first_and_a_torn_slot_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), Options::new()).unwrap();
        assert_eq!(read(&store), []);
        (0..SLOTS + 6).for_each(|n| write(&store, &sample(n)));
        let times: Vec<_> = read(&store).iter().map(|account| account.at_ns).collect();
        assert_eq!(times.len() as u64, SLOTS);
        assert_eq!((times[0], times[times.len() - 1]), (SLOTS + 5, 6));
        let file = path(&store);
        let mut bytes = fs::read(&file).unwrap();
        bytes[HEAD_BYTES + 5] ^= 1;
        fs::write(&file, &bytes).unwrap();
        assert_eq!(read(&store).len() as u64, SLOTS - 1);
        fs::write(&file, &bytes[..SLOT_BYTES + 9]).unwrap();
        assert_eq!(read(&store), []);
    }
}
