//! The engine on file systems that are full, over a quota, read-only or broken.
//!
//! Always: a put is stored or dropped with its reason, upkeep says what hinders it, reading goes
//! on, no signal. When the cause is gone a fresh handle works, and everything that was acknowledged
//! is there, also after the file system was unmounted in between.

mod clone;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use larder_engine::{Budget, DropReason, ErrorKind, Key, Options, Put, ReadMode, Store};
use larder_tests::disk::{Disk, FileSystem, succeeds};
use larder_tests::fault::FaultEnv;
use larder_tests::sample::{Random, Value};

/// Segments that are small enough to be made while the disk is full.
const SEGMENT_BYTES: u64 = 64 << 10;

fn options() -> Options {
    Options::new().max_size_bytes(1 << 30).segment_bytes(SEGMENT_BYTES)
}

/// A store on a disk, and what it must hold.
struct Tenant {
    path: PathBuf,
    env: FaultEnv,
    reference: BTreeMap<Key, Value>,
    random: Random,
}

impl Tenant {
    /// A store with some records, in the index and outside of it.
    fn new(disk: &Disk) -> Tenant {
        let path = disk.path().join("store");
        let (env, reference) = (FaultEnv::new(), BTreeMap::new());
        let mut tenant = Tenant { path, env, reference, random: Random::new(3) };
        let store = tenant.open();
        for number in 0..40 {
            assert_eq!(tenant.put(&store, number, 9_000).unwrap(), Put::Stored);
            if number == 25 {
                store.maintain(Budget::full()).unwrap();
            }
        }
        tenant
    }

    fn open(&self) -> Store {
        larder_tests::open_store(&self.env.shared(), &self.path, &options())
    }

    /// Everybody from now on is of another boot.
    fn next_boot(&self) {
        self.env.set_boot_id([1; 16]);
        self.env.pass_ms(61_000);
    }

    /// Puts a value that does not compress, and notes it if it was stored.
    fn put(&mut self, store: &Store, number: u64, bytes: usize) -> larder_engine::Result<Put> {
        let key = Key::of(&number.to_le_bytes());
        let words = (0..bytes.div_ceil(8)).flat_map(|_| self.random.number().to_le_bytes());
        let value = Value::of(words.collect::<Vec<_>>());
        let outcome = store.put(&value.entry(key));
        if let Ok(Put::Stored) = outcome {
            self.reference.insert(key, value);
        }
        outcome
    }

    /// Everything that was acknowledged is there.
    fn check(&self, store: &Store) {
        for (key, value) in &self.reference {
            let record = store.get(key).expect("a look-up succeeds");
            let record = record.unwrap_or_else(|| panic!("{key} is lost"));
            assert!(Value::read(&record).expect("it can be read") == *value, "{key} is wrong");
        }
    }

    /// Puts until some were dropped; each must have this reason.
    fn put_until_dropped(&mut self, store: &Store, reason: DropReason) {
        let mut dropped = 0;
        for number in 1_000..1_400 {
            let bytes = [300, 9_000, 30_000, 150_000][number as usize % 4];
            match self.put(store, number, bytes) {
                Ok(Put::Stored) => {}
                Ok(Put::Dropped(why)) => {
                    assert_eq!(why, reason);
                    dropped += 1;
                }
                Err(error) => panic!("put {number}: {error}"),
            }
            if dropped == 20 {
                return;
            }
        }
        panic!("{dropped} puts were dropped");
    }

    /// Everything works as if nothing had been.
    fn goes_on(&mut self, disk: &Disk) {
        let store = self.open();
        self.check(&store);
        for number in 2_000..2_020 {
            assert_eq!(self.put(&store, number, 20_000).unwrap(), Put::Stored);
        }
        store.maintain(Budget::full()).unwrap();
        store.checkpoint().unwrap();
        self.check(&store);
        assert_eq!(store.verify(|_, _| {}).unwrap().damaged, []);
        drop(store);
        if disk.is_lasting() {
            disk.mount_again();
            self.check(&self.open());
        }
    }
}

/// Whether something went well or met a full disk.
fn worked_or_full<T>(outcome: larder_engine::Result<T>) {
    if let Err(error) = outcome {
        assert!(error.is_full(), "{error:?}");
    }
}

fn on_a_full_disk(kind: FileSystem) {
    let Some(disk) = Disk::new(kind) else { return };
    let mut tenant = Tenant::new(&disk);
    let early = tenant.open();
    tenant.check(&early);
    let unused = tenant.open();
    // A hole under a map: to write there needs a block that the full disk does not have.
    early.counters().add(1, 1);
    let counters = tenant.path.join("counters");
    let mut punch = Command::new("fallocate");
    succeeds(punch.args(["--punch-hole", "--length", "8192"]).arg(counters)).unwrap();
    disk.fill();
    early.counters().add(1, 1);
    tenant.put_until_dropped(&early, DropReason::Full);
    tenant.check(&early);
    // One that was opened before, and one that finds the disk full.
    for store in [unused, tenant.open()] {
        tenant.put_until_dropped(&store, DropReason::Full);
        store.counters().add(1, 1);
        store.stats().unwrap();
        worked_or_full(store.maintain(Budget::inline()));
        tenant.check(&store);
        worked_or_full(store.maintain(Budget::full()));
        worked_or_full(store.checkpoint());
        tenant.check(&store);
        store.verify(|_, _| {}).unwrap();
        store.snapshot().unwrap();
    }
    let other = Store::open(&disk.path().join("other"), options());
    worked_or_full(other.map(drop));
    disk.free();
    // A full disk poisons nobody.
    assert_eq!(tenant.put(&early, 3_000, 9_000).unwrap(), Put::Stored);
    drop(early);
    Store::open(&disk.path().join("other"), options()).expect("its maker can go on now");
    tenant.goes_on(&disk);
}

#[test]
fn a_full_ext4_drops_puts_and_loses_nothing() {
    on_a_full_disk(FileSystem::Ext4);
}

#[test]
fn a_full_xfs_drops_puts_and_loses_nothing() {
    on_a_full_disk(FileSystem::Xfs);
}

#[test]
fn a_full_btrfs_that_compresses_drops_puts_and_loses_nothing() {
    on_a_full_disk(FileSystem::Btrfs);
}

#[test]
fn a_full_tmpfs_drops_puts_and_loses_nothing() {
    on_a_full_disk(FileSystem::Tmpfs);
}

/// To make room is what clearing is for, so it needs none.
#[test]
fn a_store_on_a_full_disk_can_be_cleared() {
    for kind in [FileSystem::Ext4, FileSystem::Xfs, FileSystem::Tmpfs] {
        let Some(disk) = Disk::new(kind) else { continue };
        let mut tenant = Tenant::new(&disk);
        disk.fill();
        let store = tenant.open();
        store.clear().unwrap();
        tenant.reference.clear();
        assert!(store.snapshot().unwrap().is_empty());
        assert_eq!(store.verify(|_, _| {}).unwrap().damaged, []);
        assert_eq!(tenant.put(&store, 1, 9_000).unwrap(), Put::Stored);
        drop(store);
        disk.free();
        tenant.goes_on(&disk);
    }
}

/// btrfs answers `EDQUOT` where a group of extents is over its limit, to root as well.
#[test]
fn a_quota_that_is_used_up_drops_puts_and_loses_nothing() {
    let Some(disk) = Disk::new(FileSystem::Btrfs) else { return };
    if let Err(why) = disk.count_for_limits() {
        eprintln!("skipped, btrfs has no quotas here: {why}");
        return;
    }
    let mut tenant = Tenant::new(&disk);
    let store = tenant.open();
    disk.limit(Some(1_000_000)).unwrap();
    tenant.put_until_dropped(&store, DropReason::Full);
    tenant.check(&store);
    worked_or_full(store.maintain(Budget::full()));
    tenant.check(&store);
    drop(store);
    disk.limit(None).unwrap();
    tenant.goes_on(&disk);
}

/// A kernel refuses to make a file system read-only while somebody has a file of it open for
/// writing; a reader may have.
#[test]
fn a_disk_that_is_mounted_read_only_under_a_reader_is_read_on() {
    for kind in FileSystem::ALL {
        let Some(disk) = Disk::new(kind) else { continue };
        let mut tenant = Tenant::new(&disk);
        for mode in [ReadMode::Pread, ReadMode::Map] {
            let reading = options().read_only(true).read_mode(mode);
            let reader = Store::open(&tenant.path, reading).unwrap();
            disk.remount("ro").unwrap();
            tenant.check(&reader);
            let fresh = Store::open(&tenant.path, options().read_mode(mode)).unwrap();
            assert!(fresh.is_read_only());
            tenant.check(&fresh);
            for store in [&reader, &fresh] {
                let dropped = tenant.put(store, 50, 100).unwrap();
                assert_eq!(dropped, Put::Dropped(DropReason::ReadOnly));
                store.maintain(Budget::full()).unwrap();
                store.counters().add(1, 1);
            }
            disk.remount("rw").unwrap();
            tenant.check(&reader);
        }
        let missing = {
            disk.remount("ro").unwrap();
            let missing = Store::open(&disk.path().join("missing"), options());
            disk.remount("rw").unwrap();
            missing.unwrap_err()
        };
        assert_eq!(missing.kind(), ErrorKind::ReadOnly);
        tenant.goes_on(&disk);
    }
}

/// ext4 goes read-only under its writers when it finds an error in itself.
#[test]
fn a_disk_that_goes_read_only_under_a_writer_drops_its_puts() {
    let Some(disk) = Disk::with(FileSystem::Ext4, ",errors=remount-ro") else { return };
    let mut tenant = Tenant::new(&disk);
    let writer = tenant.open();
    let unused = tenant.open();
    assert_eq!(tenant.put(&writer, 60, 9_000).unwrap(), Put::Stored);
    writer.checkpoint().unwrap();
    if !disk.break_down() {
        eprintln!("skipped: this kernel has no switch that breaks ext4");
        return;
    }
    let before = tenant.reference.len();
    for store in [&writer, &unused] {
        // The first one may hear of it as an error, the others are dropped.
        let mut errors = 0;
        for number in 100..110 {
            match tenant.put(store, number, 30_000) {
                Ok(Put::Dropped(DropReason::Poisoned | DropReason::ReadOnly)) => {}
                Err(error) if error.kind() == ErrorKind::ReadOnly => errors += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(errors <= 1, "{errors} errors");
        // One has looked something up before, the other one has opened nothing yet.
        tenant.check(store);
        assert!(store.checkpoint().is_err());
        let _ = store.maintain(Budget::full());
    }
    assert_eq!(tenant.reference.len(), before);
    let fresh = tenant.open();
    assert!(fresh.is_read_only());
    tenant.check(&fresh);
    drop((writer, unused, fresh));
    disk.mount_again();
    // What was not synced is lost, and the boot id is the same.
    tenant.goes_on(&disk);
    tenant.next_boot();
    tenant.goes_on(&disk);
}
