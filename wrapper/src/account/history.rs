//! The last accounts of sources with one name, oldest first, in one record.
//!
//! The record stands under the last two parts of the source's path, so that a checkout finds what
//! another one has left; of a crate, under the last three, since most are called `src/lib.rs`. A
//! source has no more than [`OF_ONE_MAX`] accounts in it, all have
//! [`ACCOUNTS_MAX`]; the oldest go. Two compiles of one source at once may lose an account: it is
//! no input of anything.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use larder_engine::{Entry, Key, RecordKind, Section, SectionKind, Store};

use super::Account;
use super::coding::{Reader, Writer};
use crate::fingerprint::accounts_key;

const MAGIC: &[u8; 4] = b"LAH1";
/// More would make each miss write more, and hardly be nearer.
const ACCOUNTS_MAX: usize = 12;
/// The same source with other options in turn: debug and release, two architectures.
const OF_ONE_MAX: usize = 6;
/// A command line of some hundred directories fits.
const ACCOUNT_BYTES_MAX: usize = 16 << 10;
/// The section's name, for listings of the store.
const SECTION_NAME: &[u8] = b"accounts";

/// Where the accounts of a source stand.
pub fn key_of(source: &Path) -> Key {
    accounts_key(&tail(source))
}

/// The last parts of a path.
fn tail(source: &Path) -> OsString {
    let name = source.file_name().unwrap_or_default();
    let folder = source.parent().and_then(Path::file_name).unwrap_or_default();
    let mut tail = OsString::new();
    if source.extension() == Some(OsStr::new("rs")) {
        let package = source.ancestors().nth(2).and_then(Path::file_name).unwrap_or_default();
        tail.push(package);
        tail.push("/");
    }
    tail.push(folder);
    tail.push("/");
    tail.push(name);
    tail
}

/// Every account of the record, oldest first; none if there is no record or it is damaged.
pub fn read(store: &Store, source: &Path) -> Vec<Account> {
    let bytes = read_bytes(store, &key_of(source)).unwrap_or_default();
    split(&bytes).into_iter().filter_map(Account::decode).collect()
}

fn read_bytes(store: &Store, key: &Key) -> Option<Vec<u8>> {
    let record = store.get(key).ok()??;
    let is_one = |name: &[u8]| name == SECTION_NAME;
    let at = record.sections().iter().position(|info| is_one(&info.name))?;
    record.read(at).ok()
}

/// The record with one more account, as an entry; `None` if the account does not fit.
pub fn with(store: &Store, account: &Account) -> Option<Entry<'static>> {
    let key = key_of(&account.source);
    let old = read_bytes(store, &key).unwrap_or_default();
    let new = account.encode(ACCOUNT_BYTES_MAX)?;
    let mut accounts = split(&old);
    accounts.push(&new);
    let bytes = joined(&kept(accounts, &account.source));
    let section = Section::new(SectionKind::Data, bytes).name(SECTION_NAME);
    Some(Entry::new(key, RecordKind::Blob, vec![section]))
}

/// The accounts that stay. Of one source the oldest goes that has a younger one with the same
/// arguments: who builds in two ways, as debug and release, keeps one of each.
fn kept<'a>(mut accounts: Vec<&'a [u8]>, source: &Path) -> Vec<&'a [u8]> {
    if accounts.len() > OF_ONE_MAX {
        let decoded: Vec<_> = accounts.iter().map(|bytes| Account::decode(bytes)).collect();
        let own = decoded.iter().enumerate().filter_map(|(at, account)| {
            Some((at, account.as_ref().filter(|account| account.source == source)?))
        });
        let own: Vec<(usize, &Account)> = own.collect();
        let has_younger = |(at, account): &&(usize, &Account)| {
            let row = account.row("arguments");
            own.iter().any(|(other, younger)| other > at && younger.row("arguments") == row)
        };
        if own.len() > OF_ONE_MAX
            && let Some((at, _)) = own.iter().find(has_younger).or(own.first())
        {
            accounts.remove(*at);
        }
    }
    accounts.drain(..accounts.len().saturating_sub(ACCOUNTS_MAX));
    accounts
}

fn joined(accounts: &[&[u8]]) -> Vec<u8> {
    let mut out = Writer(MAGIC.to_vec());
    out.count(accounts.len());
    accounts.iter().for_each(|account| out.text(account));
    out.0
}

fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let mut reader = Reader(bytes);
    let is_one = reader.bytes(4).is_some_and(|magic| magic == MAGIC);
    is_one.then(|| reader.list(4, Reader::text)).flatten().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::coding::tests::sample;
    use super::*;
    use crate::fingerprint::Row;
    use larder_engine::{Options, Put};

    fn of(source: &str, at_ns: u64) -> Account {
        Account { source: source.into(), ..sample(at_ns) }
    }

    #[test]
    fn the_last_accounts_of_a_source_are_there_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), Options::new()).unwrap();
        assert_eq!(read(&store, Path::new("/one/s/a.c")), []);
        let put = |source: &str, at_ns| {
            let put = store.put(&with(&store, &of(source, at_ns)).unwrap()).unwrap();
            assert_eq!(put, Put::Stored);
        };
        (0..3).for_each(|n| put("/another/s/a.c", n));
        (10..19).for_each(|n| put("/one/s/a.c", n));
        let found = read(&store, Path::new("/third/s/a.c"));
        let times: Vec<_> = found.iter().map(|account| account.at_ns).collect();
        assert_eq!(times, [0, 1, 2, 13, 14, 15, 16, 17, 18]);
        (20..40).for_each(|n| put(&format!("/{n}/s/a.c"), n));
        assert_eq!(read(&store, Path::new("/one/s/a.c")).len(), ACCOUNTS_MAX);
        assert_eq!(read(&store, Path::new("/one/t/a.c")), []);
    }

    #[test]
    fn crates_with_sources_of_one_name_have_accounts_of_their_own() {
        let key = |path: &str| key_of(Path::new(path));
        assert_ne!(key("/w/serde-1.0/src/lib.rs"), key("/w/syn-2.0/src/lib.rs"));
        assert_eq!(key("/one/serde-1.0/src/lib.rs"), key("/other/serde-1.0/src/lib.rs"));
        assert_eq!(key("/one/s/a.c"), key("/other/s/a.c"));
    }

    #[test]
    fn each_way_to_build_keeps_an_account() {
        let with = |at_ns, words: &str| {
            let fields = vec![words.as_bytes().to_vec()];
            let rows = vec![Row { name: "arguments".to_owned(), fields }];
            Account { rows, ..sample(at_ns) }.encode(ACCOUNT_BYTES_MAX).unwrap()
        };
        let mut accounts = vec![with(0, "release")];
        for n in 1..20 {
            accounts.push(with(n, "debug"));
            let slices = accounts.iter().map(Vec::as_slice).collect();
            accounts = kept(slices, &sample(0).source).into_iter().map(<[u8]>::to_vec).collect();
        }
        let times: Vec<_> = accounts.iter().map(|a| Account::decode(a).unwrap().at_ns).collect();
        assert_eq!(times, [0, 15, 16, 17, 18, 19]);
    }

    #[test]
    fn a_record_that_is_none_has_no_accounts() {
        assert!(split(b"LAH1").is_empty() && split(b"LAH1\x01\0\0\0\xff\0\0\0").is_empty());
        assert!(split(b"others").is_empty());
    }
}
