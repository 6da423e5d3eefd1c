//! Restoring by reflink: what a clone shares, that it shares nothing else, and when it is taken.
//!
//! On XFS and on btrfs, which compresses here and has to be told to keep records apart.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use larder_engine::env::{Device, Env, File, OpenMode, RealEnv, RealFile};
use larder_engine::limits::{CLONE_BYTES_MIN_FAST, CLONE_BYTES_MIN_ROTATIONAL};
use larder_engine::{
    Budget, Entry, Key, Options, Put, ReadMode, Record, RecordKind, RecordLayout, Section,
    SectionKind, Store, Uncloned,
};
use larder_tests::disk::{Disk, FileSystem, succeeds};
use larder_tests::fault::{Call, Fault, FaultEnv, Plan};
use larder_tests::sample::Random;

use larder_engine::Restored::{Cloned, Copied};

const BLOCK_BYTES: u64 = 4096;
/// Longer than a file must have rested before its check is remembered.
const REST_MS: u64 = 4_000;

/// How often a file system that frees in the background is asked, and how long it gets in between.
const SETTLE_LOOKS: u32 = 100;
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

fn options() -> Options {
    let options = Options::new().max_size_bytes(64 << 20).segment_bytes(4 << 20);
    options.layout(RecordLayout::Cloneable).read_mode(ReadMode::Pread)
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let words = (0..bytes.div_ceil(8)).flat_map(|_| random.number().to_le_bytes());
    words.take(bytes).collect()
}

fn key(number: u64) -> Key {
    Key::of(&number.to_le_bytes())
}

fn put(store: &Store, number: u64, bytes: usize) {
    let section = Section::new(SectionKind::Object, noise(number, bytes)).mode(0o644);
    let entry = Entry::new(key(number), RecordKind::Result, vec![section]);
    assert_eq!(store.put(&entry).unwrap(), Put::Stored);
}

fn get(store: &Store, number: u64) -> Record {
    store.get(&key(number)).unwrap().expect("it was put")
}

/// Each disk that clones, with the environment of its stores.
fn on_disks(test: impl Fn(&Disk, &FaultEnv)) {
    for kind in [FileSystem::Xfs, FileSystem::Btrfs] {
        if let Some(disk) = Disk::new(kind) {
            fs::create_dir(disk.path().join("out")).unwrap();
            test(&disk, &FaultEnv::new());
        }
    }
}

fn open(disk: &Disk, env: &FaultEnv, options: Options) -> Store {
    larder_tests::open_store(&env.shared(), &disk.path().join("store"), &options)
}

fn out(disk: &Disk, name: &str) -> PathBuf {
    disk.path().join("out").join(name)
}

fn segment(disk: &Disk, id: u32) -> PathBuf {
    disk.path().join(format!("store/log/{id:08}.seg"))
}

/// What the file system has given away, after everything has reached it.
fn used_bytes(disk: &Disk) -> u64 {
    // btrfs gives back in the background what a transaction has freed.
    for _ in 0..2 {
        succeeds(Command::new("sync").arg("-f").arg(disk.path())).unwrap();
    }
    let sizes = rustix::fs::statvfs(disk.path()).unwrap();
    (sizes.f_blocks - sizes.f_bfree) * sizes.f_frsize
}

/// The same as soon as it is below `most`, or after some seconds: btrfs has a thread that takes
/// apart files without names, when it gets to it.
fn settled_bytes(disk: &Disk, most: u64) -> u64 {
    for _ in 0..SETTLE_LOOKS {
        let used = used_bytes(disk);
        if used < most {
            return used;
        }
        std::thread::sleep(SETTLE_PAUSE);
    }
    used_bytes(disk)
}

/// The extents of a file: first block in the file, first block on the disk, blocks, and whether the
/// file system calls them shared (FIEMAP).
fn extents(path: &Path) -> Vec<(u64, u64, u64, bool)> {
    succeeds(Command::new("sync").arg("-f").arg(path)).unwrap();
    let output = Command::new("filefrag").arg("-v").arg("-s").arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut found = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(':').map(str::trim).collect();
        let [_, logical, physical, count, rest @ ..] = &fields[..] else { continue };
        let first = |range: &str| range.split("..").next()?.trim().parse().ok();
        let (Some(logical), Some(physical)) = (first(logical), first(physical)) else { continue };
        let count = count.parse().expect("filefrag counts blocks");
        found.push((logical, physical, count, rest.join(" ").contains("shared")));
    }
    assert!(!found.is_empty(), "{text}");
    found
}

/// On which block of the disk a block of a file stands.
fn physical(extents: &[(u64, u64, u64, bool)], block: u64) -> Option<u64> {
    let (logical, physical, ..) = extents
        .iter()
        .find(|(logical, _, count, _)| (*logical..logical + count).contains(&block))?;
    Some(physical + block - logical)
}

#[test]
fn a_clone_shares_its_blocks_with_the_log_and_ends_with_its_own_tail() {
    if larder_tests::find_or_skip("filefrag").is_none() {
        return;
    }
    let shares = |disk: &Disk, is_compressed: bool| {
        fs::create_dir(disk.path().join("out")).unwrap();
        let store = open(disk, &FaultEnv::new(), options());
        (0..3).for_each(|number| put(&store, number, 300_001));
        store.checkpoint().unwrap();
        let path = out(disk, "a.o");
        assert_eq!(store.restore(&get(&store, 1), 0, &path).unwrap(), Cloned);
        assert_eq!(fs::read(&path).unwrap(), noise(1, 300_001));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
        let (ours, theirs) = (extents(&path), extents(&segment(disk, 1)));
        let whole = 300_001 / BLOCK_BYTES;
        let first = physical(&ours, 0).unwrap();
        let (logical, ..) = theirs
            .iter()
            .find(|(_, physical, count, _)| (*physical..physical + count).contains(&first))
            .expect("its first block is one of the segment");
        let offset = logical + first - physical(&theirs, *logical).unwrap();
        for block in 0..whole {
            // Of a compressed extent btrfs names the place of its beginning only.
            if !is_compressed {
                assert_eq!(physical(&ours, block), physical(&theirs, offset + block), "{block}");
            }
        }
        let is_shared = |block| {
            let mut holding = ours.iter().filter(|(l, _, n, _)| (*l..l + n).contains(&block));
            holding.all(|(.., shared)| *shared)
        };
        assert!((0..whole).all(is_shared) && !is_shared(whole), "{ours:?}");
    };
    let disks = [
        (Disk::new(FileSystem::Xfs), false),
        (Disk::with(FileSystem::Btrfs, ",compress=no"), false),
        (Disk::new(FileSystem::Btrfs), true),
    ];
    for (disk, is_compressed) in disks {
        disk.iter().for_each(|disk| shares(disk, is_compressed));
    }
}

#[test]
fn what_is_done_to_a_clone_never_reaches_the_store() {
    on_disks(|disk, env| {
        let store = open(disk, env, options());
        put(&store, 1, 200_100);
        store.checkpoint().unwrap();
        let path = out(disk, "a.o");
        let open_file = || fs::File::options().read(true).write(true).open(&path).unwrap();
        let deeds: [&dyn Fn(); 5] = [
            &|| open_file().write_all_at(b"changed", 70_000).unwrap(),
            &|| open_file().set_len(5_000).unwrap(),
            &|| {
                // Through a shared map.
                let file = RealEnv.open(&path, OpenMode::Write).unwrap();
                file.map_words(1_000).unwrap().words()[0].store(7, Ordering::Relaxed);
            },
            &|| succeeds(Command::new("fallocate").args(["-p", "-l", "65536"]).arg(&path)).unwrap(),
            &|| fs::write(&path, b"short").unwrap(),
        ];
        for deed in deeds {
            assert_eq!(store.restore(&get(&store, 1), 0, &path).unwrap(), Cloned);
            assert_eq!(fs::read(&path).unwrap(), noise(1, 200_100));
            deed();
            succeeds(Command::new("sync").arg("-f").arg(&path)).unwrap();
            assert_ne!(fs::read(&path).unwrap(), noise(1, 200_100), "the deed was done");
            assert_eq!(get(&store, 1).read(0).unwrap(), noise(1, 200_100));
        }
        drop(store);
        disk.mount_again();
        let store = open(disk, env, options());
        assert_eq!(get(&store, 1).read(0).unwrap(), noise(1, 200_100));
        assert_eq!(store.verify(|_, _| {}).unwrap().damaged, []);
    });
}

#[test]
fn many_checkouts_cost_their_blocks_once() {
    on_disks(|disk, env| {
        let store = open(disk, env, options());
        (0..4).for_each(|number| put(&store, number, 2_000_000));
        store.checkpoint().unwrap();
        let before = used_bytes(disk);
        let mut restored_bytes = 0;
        for checkout in 0..10 {
            for number in 0..4 {
                let path = out(disk, &format!("{checkout}-{number}.o"));
                assert_eq!(store.restore(&get(&store, number), 0, &path).unwrap(), Cloned);
                restored_bytes += fs::metadata(&path).unwrap().len();
            }
        }
        let grown = used_bytes(disk) - before;
        // A tail of one block each, an inode each, and the extents of all.
        assert!(grown < 2 << 20, "{grown} of {restored_bytes} bytes");
        fs::write(out(disk, "written.o"), noise(9, 4 << 20)).unwrap();
        assert!(used_bytes(disk) - before > 4 << 20, "what is written is seen");
    });
}

#[test]
fn what_was_put_since_the_last_checkpoint_is_copied() {
    on_disks(|disk, env| {
        let store = open(disk, env, options());
        put(&store, 1, 100_000);
        let path = out(disk, "a.o");
        let why = store.can_clone(&get(&store, 1), 0).unwrap();
        assert_eq!(why, Err(Uncloned::Fresh));
        assert_eq!(store.restore(&get(&store, 1), 0, &path).unwrap(), Copied);
        assert!(!store.maintenance_due(), "a checkpoint is not due yet");
        // Who only hits gets his clones, too.
        env.pass_ms(61_000);
        assert_eq!(store.restore(&get(&store, 1), 0, &path).unwrap(), Copied);
        assert!(store.maintenance_due());
        assert!(store.maintain(Budget::full()).unwrap().checkpointed);
        assert_eq!(store.restore(&get(&store, 1), 0, &path).unwrap(), Cloned);
    });
}

/// Calls that read while a section is asked for.
fn reads(env: &FaultEnv, store: &Store) -> u64 {
    let record = get(store, 1);
    let before = env.count(Call::Read);
    assert_eq!(store.can_clone(&record, 0).unwrap(), Ok(()));
    env.count(Call::Read) - before
}

#[test]
fn a_section_is_checked_once_under_a_kernel() {
    on_disks(|disk, env| {
        let store = open(disk, env, options());
        put(&store, 1, 1 << 20);
        store.checkpoint().unwrap();
        let pieces = 4;
        // Right after a change its times prove nothing about the next one.
        assert!(reads(env, &store) > pieces && reads(env, &store) > pieces);
        env.pass_ms(REST_MS);
        assert!(reads(env, &store) > pieces);
        assert!(reads(env, &store) < pieces);
        drop(store);
        let reader = open(disk, env, options().read_only(true));
        assert!(reads(env, &reader) < pieces, "others know it, too");
        drop(reader);
        env.set_boot_id([7; 16]);
        env.pass_ms(61_000);
        let store = open(disk, env, options());
        assert!(reads(env, &store) > pieces, "another kernel does not");
        assert!(reads(env, &store) < pieces);
    });
}

#[test]
fn a_section_that_was_damaged_after_its_check_is_not_cloned() {
    on_disks(|disk, env| {
        let store = open(disk, env, options());
        put(&store, 1, 100_000);
        store.checkpoint().unwrap();
        env.pass_ms(REST_MS);
        let path = out(disk, "a.o");
        assert_eq!(store.restore(&get(&store, 1), 0, &path).unwrap(), Cloned);
        assert_eq!(store.can_clone(&get(&store, 1), 0).unwrap(), Ok(()));
        let file = fs::File::options().read(true).write(true).open(segment(disk, 1)).unwrap();
        let whole = fs::read(segment(disk, 1)).unwrap();
        let beginning = noise(1, 64);
        let place = whole.windows(64).position(|part| part == beginning).unwrap();
        file.write_all_at(&[whole[place + 50] ^ 1], place as u64 + 50).unwrap();
        drop(file);
        assert!(store.can_clone(&get(&store, 1), 0).unwrap_err().is_corrupt());
        assert!(store.restore(&get(&store, 1), 0, &path).unwrap_err().is_corrupt());
        assert_eq!(fs::read(&path).unwrap(), noise(1, 100_000), "the old file stands");
        assert_eq!(fs::read_dir(disk.path().join("out")).unwrap().count(), 1);
    });
}

/// btrfs frees an extent when nobody has any of it. Records that are written one behind the other
/// share extents, and a small clone used to keep up to a whole segment on the disk.
#[test]
fn eviction_frees_what_no_clone_holds() {
    on_disks(|disk, env| {
        let store = open(disk, env, options());
        let empty = used_bytes(disk);
        (0..60).for_each(|number| put(&store, number, 500_000));
        store.checkpoint().unwrap();
        let full = used_bytes(disk);
        assert!(full - empty > 30_000_000);
        let held: Vec<u64> = (0..60).step_by(12).collect();
        for number in &held {
            let path = out(disk, &format!("{number}.o"));
            assert_eq!(store.restore(&get(&store, *number), 0, &path).unwrap(), Cloned);
        }
        store.clear().unwrap();
        drop(store);
        let wanted = held.len() as u64 * 500_000;
        // Their heads and tails, and what the file system notes about them.
        let most = wanted + (2 << 20);
        let left = settled_bytes(disk, empty + most) - empty;
        assert!((wanted..most).contains(&left), "{left} of {}", full - empty);
        for number in held {
            let path = out(disk, &format!("{number}.o"));
            assert_eq!(fs::read(path).unwrap(), noise(number, 500_000));
        }
    });
}

/// The figures of the test above can tell: without an extent for each record they are others.
#[test]
fn a_clone_out_of_a_large_extent_keeps_all_of_it_on_btrfs() {
    let Some(disk) = Disk::with(FileSystem::Btrfs, ",compress=no") else { return };
    let empty = used_bytes(&disk);
    let path = disk.path().join("segment");
    fs::write(&path, noise(1, 16 << 20)).unwrap();
    used_bytes(&disk);
    let source = RealEnv.open(&path, OpenMode::Read).unwrap();
    let clone = RealEnv.open(&disk.path().join("clone"), OpenMode::CreateNew(0o600)).unwrap();
    (*clone).clone_from(&*source, 8 << 20, 65_536, 0).unwrap();
    drop(source);
    fs::remove_file(&path).unwrap();
    let left = used_bytes(&disk) - empty;
    assert!(left > 8 << 20, "{left}");
}

#[test]
fn without_room_a_restore_leaves_the_old_file_or_the_new_one() {
    on_disks(|disk, env| {
        let store = open(disk, env, options());
        put(&store, 1, 3_000_001);
        store.checkpoint().unwrap();
        env.pass_ms(REST_MS);
        let path = out(disk, "a.o");
        fs::write(&path, b"old").unwrap();
        disk.fill();
        let restored = store.restore(&get(&store, 1), 0, &path);
        let now = fs::read(&path).unwrap();
        match restored {
            Ok(_) => assert!(now == noise(1, 3_000_001)),
            Err(error) => {
                assert!(error.is_full(), "{error:?}");
                assert_eq!(now, b"old");
            }
        }
        assert_eq!(fs::read_dir(disk.path().join("out")).unwrap().count(), 1);
        disk.free();
        // A write of the tail that fails after the clone.
        let fault = Fault::Errno(rustix::io::Errno::NOSPC.raw_os_error());
        let plan = Plan { call: Call::Write, number: 1, fault };
        fs::write(&path, b"old").unwrap();
        let record = get(&store, 1);
        assert_eq!(store.can_clone(&record, 0).unwrap(), Ok(()));
        env.arm(Some(plan));
        assert!(store.restore(&record, 0, &path).unwrap_err().is_full());
        env.arm(None);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(disk.path().join("out")).unwrap().count(), 1);
        assert_eq!(store.restore(&record, 0, &path).unwrap(), Cloned);
    });
}

#[test]
fn a_hard_link_to_the_old_file_keeps_it() {
    on_disks(|disk, env| {
        let store = open(disk, env, options());
        put(&store, 1, 100_000);
        store.checkpoint().unwrap();
        let (path, link) = (out(disk, "a.o"), out(disk, "link.o"));
        fs::write(&path, b"old").unwrap();
        fs::hard_link(&path, &link).unwrap();
        assert_eq!(store.restore(&get(&store, 1), 0, &path).unwrap(), Cloned);
        assert_eq!(fs::read(&link).unwrap(), b"old");
        assert_ne!(fs::metadata(&path).unwrap().ino(), fs::metadata(&link).unwrap().ino());
    });
}

#[test]
fn another_file_system_and_small_and_compressed_sections_are_told() {
    on_disks(|disk, env| {
        let elsewhere = larder_tests::temp_dir();
        let store = open(disk, env, options());
        put(&store, 1, 100_000);
        put(&store, 2, 10_000);
        store.checkpoint().unwrap();
        let path = elsewhere.path().join("a.o");
        assert_eq!(store.restore(&get(&store, 1), 0, &path).unwrap(), Copied);
        assert_eq!(fs::read(&path).unwrap(), noise(1, 100_000));
        let file = RealFile::adopt(fs::File::create(&path).unwrap(), &path);
        let why = store.clone_into(&get(&store, 1), 0, &file).unwrap();
        assert_eq!(why, Err(Uncloned::OtherFileSystem));
        assert_eq!(file.sizes().unwrap().len_bytes, 0);
        assert_eq!(store.can_clone(&get(&store, 2), 0).unwrap(), Err(Uncloned::Small));
        let store = open(disk, env, options().layout(RecordLayout::Compressed));
        put(&store, 3, 100_000);
        store.checkpoint().unwrap();
        assert_eq!(store.can_clone(&get(&store, 3), 0).unwrap(), Err(Uncloned::Compressed));
    });
}

/// btrfs keeps no checksums of a file that it changes in place, and clones none into it.
#[test]
fn a_clone_that_the_kernel_refuses_is_a_copy() {
    let Some(disk) = Disk::with(FileSystem::Btrfs, ",compress=no") else { return };
    let in_place = disk.path().join("in-place");
    fs::create_dir(&in_place).unwrap();
    if let Err(why) = succeeds(Command::new("chattr").arg("+C").arg(&in_place)) {
        eprintln!("skipped, nothing can be changed in place: {why}");
        return;
    }
    let store = open(&disk, &FaultEnv::new(), options());
    put(&store, 1, 100_000);
    store.checkpoint().unwrap();
    let record = get(&store, 1);
    let path = in_place.join("a.o");
    let file = RealFile::adopt(fs::File::create(&path).unwrap(), &path);
    assert_eq!(store.clone_into(&record, 0, &file).unwrap(), Err(Uncloned::Refused));
    assert_eq!(store.restore(&record, 0, &path).unwrap(), Copied);
    assert_eq!(fs::read(&path).unwrap(), noise(1, 100_000));
}

#[test]
fn where_nothing_can_be_cloned_nothing_is_stored_raw_for_it() {
    for kind in [FileSystem::Ext4, FileSystem::Tmpfs] {
        let Some(disk) = Disk::new(kind) else { continue };
        assert_eq!(Device::of(&disk.path()), Device::NoClones);
        let path = disk.path().join("store");
        let by_device = options().segment_bytes(1 << 20).clone_bytes_min(None);
        let store = Store::open(&path, by_device).unwrap();
        put(&store, 1, 200_000);
        store.checkpoint().unwrap();
        assert!(!get(&store, 1).head().cloneable);
        assert_eq!(store.can_clone(&get(&store, 1), 0).unwrap(), Err(Uncloned::FileSystem));
        assert!(!path.join("clones").exists());
        // Who insists gets copies.
        let store = Store::open(&path, options().clone_bytes_min(Some(0))).unwrap();
        put(&store, 2, 200_000);
        store.checkpoint().unwrap();
        assert!(get(&store, 2).head().cloneable);
        let out = disk.path().join("a.o");
        assert_eq!(store.restore(&get(&store, 2), 0, &out).unwrap(), Copied);
        assert_eq!(fs::read(&out).unwrap(), noise(2, 200_000));
    }
}

/// The block device of a disk, under /sys.
fn queue_of(disk: &Disk) -> PathBuf {
    let mut findmnt = Command::new("findmnt");
    findmnt.args(["-n", "-o", "SOURCE", "--mountpoint"]).arg(disk.path());
    let source = String::from_utf8(findmnt.output().unwrap().stdout).unwrap();
    Path::new("/sys/block").join(source.trim().trim_start_matches("/dev/")).join("queue/rotational")
}

#[test]
fn the_least_clone_follows_the_kind_of_the_disk() {
    on_disks(|disk, env| {
        for (text, device, least) in [
            ("1", Device::Rotational, CLONE_BYTES_MIN_ROTATIONAL),
            ("0", Device::Fast, CLONE_BYTES_MIN_FAST),
        ] {
            if fs::write(queue_of(disk), text).is_err() {
                eprintln!("skipped: this kernel does not let the kind of a disk be set");
                return;
            }
            assert_eq!(Device::of(&disk.path().join("out")), device);
            let path = disk.path().join(format!("store-{text}"));
            let by_device = options().clone_bytes_min(None);
            let store = Store::open_with(env.shared(), &path, by_device.clone()).unwrap();
            put(&store, 1, least as usize);
            put(&store, 2, least as usize - 1);
            assert!(get(&store, 1).head().cloneable && !get(&store, 2).head().cloneable);
            store.checkpoint().unwrap();
            assert_eq!(store.can_clone(&get(&store, 1), 0).unwrap(), Ok(()));
            assert_eq!(store.can_clone(&get(&store, 2), 0).unwrap(), Err(Uncloned::Small));
        }
    });
}
