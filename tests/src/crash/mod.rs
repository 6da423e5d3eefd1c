//! Simulated power cuts: a store is used on a recorded disk, the power goes at any moment of the
//! recording, again during the recovery, and what is found is compared with what may be.
//!
//! 1. A run is one seed: one recording, and several chains of cuts from it. A chain cuts the
//!    recording somewhere, works on what is left, cuts that, works, cuts again, and then looks at
//!    everything. Some cuts are kills: the same machine goes on.
//! 2. After each cut: the store opens; every key has a state that the ledger allows, and keeps it;
//!    snapshots agree; puts, upkeep and checkpoints succeed; in the end nothing is damaged, and a
//!    last cut that takes all that is not synced takes nothing.

pub mod disk;
pub mod image;
pub mod ledger;
pub mod session;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use larder_engine::format::index::Meta;
use larder_engine::format::superblock::Superblock;

use crate::sample::Random;
use disk::{Disk, Lie};
use image::{Harm, Loss};
use ledger::Ledger;
use session::{Plan, STORE, Session};

/// Chains of cuts in each run.
const CHAINS: u64 = 4;

/// Boots of a chain between the recording and the last look.
const RECOVERIES: u64 = 2;

macro_rules! tally {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// What happened in runs, in numbers: whether they came to what they are about.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Tally { $($(#[$doc])* pub $name: u64,)* }

        impl Tally {
            /// Every number with its name.
            pub fn numbers(&self) -> Vec<(&'static str, u64)> {
                vec![$(($text, self.$name),)*]
            }

            /// Adds that of other runs.
            pub fn add(&mut self, other: &Tally) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

tally! {
    /// Runs that were begun.
    runs = "runs";
    /// Times that the power went, each an image that was checked.
    power_cuts = "power cuts";
    /// Of these, in a boot that followed another cut.
    cuts_of_recoveries = "of them in a recovery";
    /// Times that one process did something in the midst of another's writes.
    interrupts = "interrupts by another process";
    /// Times that every process was killed.
    kills = "kills";
    /// See [`Loss`].
    torn_writes = "torn writes";
    /// See [`Loss`].
    reordered_writes = "reordered writes";
    /// See [`Loss`].
    lost_lengths = "lost lengths";
    /// See [`Loss`].
    lost_names = "lost names";
    /// See [`Loss`].
    returned_names = "returned names";
    /// See [`Loss`].
    stale_units = "stale units";
    /// Superblocks of which no copy was left.
    lost_superblocks = "lost superblocks";
    /// Indexes of which no tree was left.
    lost_indexes = "lost indexes";
    /// Times that a process opened the store while another one recovered it.
    openings_in_recoveries = "openings in the midst of a recovery";
    /// Stores that were taken over from another boot.
    recoveries = "recoveries";
    /// Merges into the index.
    merges = "merges";
    /// Merges that built it from nothing.
    rebuilds = "rebuilds of the index";
    /// Segments evicted.
    evicted_segments = "evicted segments";
    /// Records that were appended again because their segment was to go.
    reinserted_records = "reinserted records";
    /// Stores that were trimmed.
    trims = "trims";
    /// Records that were appended again for that.
    trimmed_moves = "records moved by trims";
    /// Stores that were cleared.
    clears = "clearings";
    /// Checkpoints that were asked for.
    checkpoints = "checkpoints";
    /// Checkpoints that were due.
    due_checkpoints = "checkpoints that upkeep made";
    /// Look-ups that chose the last of several states.
    newest_found = "newest of several states found";
    /// Look-ups that chose an earlier one.
    older_found = "older states found";
    /// Misses that only eviction explains.
    evicted_found = "evicted states missed";
}

impl Tally {
    fn lose(&mut self, loss: &Loss) {
        self.power_cuts += 1;
        self.torn_writes += loss.torn_writes;
        self.reordered_writes += loss.reordered_writes;
        self.lost_lengths += loss.lost_lengths;
        self.lost_names += loss.lost_names;
        self.returned_names += loss.returned_names;
        self.stale_units += loss.stale_units;
    }
}

/// What a store did that it may not do.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed of the run.
    pub seed: u64,
    /// What it did.
    pub what: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.what)
    }
}

/// On what kind of machine a run happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Machine {
    /// The promise that its disk breaks.
    pub lie: Lie,
    /// Whether processes are killed and the power never goes.
    pub only_kills: bool,
}

/// What happened: of all runs in numbers, of the last one in words.
#[derive(Clone, Debug, Default)]
pub struct Diary {
    /// The numbers.
    pub tally: Tally,
    /// The words.
    pub journal: Vec<String>,
    /// Whether they tell every write of a boot that was cut.
    pub is_detailed: bool,
}

/// One run; what it adds to the diary counts also if it fails.
///
/// # Errors
/// If the store does something that it may not, or panics.
pub fn run(seed: u64, machine: Machine, diary: &mut Diary) -> Result<(), Failure> {
    diary.journal.clear();
    let outcome = catch_unwind(AssertUnwindSafe(|| chains(seed, machine, diary)));
    let what = match outcome {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(what)) => what,
        Err(panic) => match panic.downcast_ref::<String>() {
            Some(text) => format!("a panic: {text}"),
            None => format!("a panic: {:?}", panic.downcast_ref::<&str>()),
        },
    };
    Err(Failure { seed, what })
}

fn chains(seed: u64, machine: Machine, diary: &mut Diary) -> Result<(), String> {
    diary.tally.runs += 1;
    let mut random = Random::new(seed);
    let plan = Plan::random(&mut random);
    diary.journal.push(format!("{plan:?}"));
    let directory = Path::new(STORE).parent().expect("the store is in a directory");
    let disk = Disk::new(directory, random.number(), machine.lie);
    let ledger = Ledger::new(&plan.all_keys(), plan.evicts);
    let seed = Random::new(random.number());
    let mut session = Session::new(&plan, disk, ledger, seed, diary);
    if plan.evicts {
        session.fill()?;
    }
    session.work(30 + random.below(50))?;
    let recorded = session.end();
    let begun = diary.journal.len();
    for chain in 0..CHAINS {
        diary.journal.truncate(begun);
        diary.journal.push(format!("chain {chain}"));
        let (disk, ledger) = recorded.clone();
        let random = Random::new(random.number());
        let only_kills = machine.only_kills;
        let mut chain = Chain { plan: &plan, disk, ledger, random, only_kills };
        chain.run(diary)?;
    }
    Ok(())
}

/// Cuts, one after the other.
struct Chain<'a> {
    plan: &'a Plan,
    disk: Disk,
    ledger: Ledger,
    random: Random,
    only_kills: bool,
}

impl Chain<'_> {
    fn run(&mut self, diary: &mut Diary) -> Result<(), String> {
        let mut first = 0;
        for recovery in 0..RECOVERIES {
            first = self.cut(first, recovery > 0, diary);
            let seed = Random::new(self.random.number());
            let count = 1 + self.random.below(24);
            self.boot(seed, diary, |session| {
                session.begin_again()?;
                session.work(count)
            })?;
        }
        self.cut(first, true, diary);
        let seed = Random::new(self.random.number());
        self.boot(seed, diary, |session| session.finish())?;
        if self.only_kills {
            return Ok(());
        }
        // All of that is durable by now.
        let end = self.disk.position();
        if diary.is_detailed {
            diary.journal.extend(self.disk.describe(0, end));
        }
        self.power_cut(end, &Harm::worst(), diary);
        let seed = Random::new(self.random.number());
        self.boot(seed, diary, |session| session.finish())
    }

    fn boot(
        &mut self,
        seed: Random,
        diary: &mut Diary,
        work: impl FnOnce(&mut Session<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let (disk, ledger) = (self.disk.clone(), self.ledger.clone());
        let mut session = Session::new(self.plan, disk, ledger, seed, diary);
        if let Err(what) = work(&mut session) {
            if diary.is_detailed {
                diary.journal.extend(self.disk.describe(0, self.disk.position()));
            }
            return Err(what);
        }
        (self.disk, self.ledger) = session.end();
        Ok(())
    }

    /// Cuts what was recorded since `first`; returns where the next boot begins.
    fn cut(&mut self, first: usize, is_recovery: bool, diary: &mut Diary) -> usize {
        let cut = self.moment(first, is_recovery);
        if diary.is_detailed {
            diary.journal.extend(self.disk.describe(first, cut));
        }
        if self.only_kills || self.random.below(5) == 0 {
            diary.journal.push(format!("killed at {cut}"));
            self.disk = self.disk.kill(cut);
            self.ledger.kill(cut);
            diary.tally.kills += 1;
            return cut;
        }
        let harm = Harm::random(&mut self.random);
        self.power_cut(cut, &harm, diary);
        diary.tally.cuts_of_recoveries += u64::from(is_recovery);
        0
    }

    fn power_cut(&mut self, cut: usize, harm: &Harm, diary: &mut Diary) {
        let (disk, loss) = self.disk.power_cut(cut, harm, &mut self.random);
        let contents = |name| disk.contents(&Path::new(STORE).join(name)).unwrap_or_default();
        let superblock = Superblock::decode(&contents("superblock"));
        diary.tally.lost_superblocks += u64::from(superblock.is_err());
        if let Ok(block) = superblock {
            let meta = Meta::decode(&contents("index"), &block.uuid);
            diary.tally.lost_indexes += u64::from(meta.is_none());
        }
        diary.journal.push(format!("the power goes at {cut}: {harm:?}, {loss:?}"));
        self.disk = disk;
        self.ledger.power_cut(cut);
        diary.tally.lose(&loss);
    }

    /// A moment to cut at: often beside a sync or an unlinking, and early in a recovery.
    fn moment(&mut self, first: usize, is_recovery: bool) -> usize {
        let last = self.disk.position();
        let random = &mut self.random;
        let count = (last - first) as u64;
        let since = |mut moments: Vec<usize>| {
            moments.retain(|moment| *moment > first);
            moments
        };
        let (syncs, unlinks) = (since(self.disk.syncs()), since(self.disk.unlinks()));
        match random.below(8) {
            0 | 1 if !syncs.is_empty() => random.choose(&syncs) - random.below(2) as usize,
            2 if !unlinks.is_empty() => {
                last.min(random.choose(&unlinks) + random.below(4) as usize)
            }
            3 | 4 if is_recovery => first + random.below(count.min(40) + 1) as usize,
            5 => last,
            _ => first + random.below(count + 1) as usize,
        }
    }
}
