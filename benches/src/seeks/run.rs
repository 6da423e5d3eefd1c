//! One run: for each contestant a disk, filling, and the phases that are measured.
//!
//! A phase begins with cold caches and ends when everything that it made dirty has been written
//! back and no request is under way.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use larder_engine::checksum::xxh3_64;

use super::build::{Cache, Call, LEFT_BYTES_MIN, Project};
use super::disk::{self, Disk};
use super::iolog;
use super::model::{Figures, figures};
use super::orders;
use super::places;
use super::settings::{Contestant, Settings};
use super::trace::Recorder;
use super::worker::{BUILD_FROM, Outcome, value};

/// Room for the filled store, by entry: the largest mean of any contestant, with its slack.
const BYTES_PER_ENTRY: u64 = 40_000;
/// Of that, what is evicted: 2.5 GB of 100,000 entries.
const EVICTED_PER_ENTRY: u64 = 25_000;

/// The phase that the plots and targets are about.
pub const IN_ORDER: &str = "hits in build order";
const AS_OF_EIGHT: &str = "hits as of make -j8";
const SHUFFLED: &str = "hits, build shuffled";
const HALF_CHANGED: &str = "hits, half of the build changed";

/// What was measured.
#[derive(Clone, Debug)]
pub struct Phase {
    /// Who.
    pub contestant: String,
    /// What.
    pub name: &'static str,
    /// How many hits, puts, ...
    pub operations: u64,
    /// What the disk was asked for.
    pub figures: Figures,
}

/// All of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the order of their measuring.
    pub phases: Vec<Phase>,
    /// What else is to be said: settings that the kernel refused, contestants that were left out.
    pub notes: Vec<String>,
}

/// Measures everything that the settings ask for.
///
/// # Errors
/// If a contestant does not do what it must, or something cannot be measured.
pub fn run(settings: &Settings, folder: &Path) -> Outcome<Report> {
    disk::ensure_tracing()?;
    let mut report = Report::default();
    if let Some(out) = &settings.out {
        fs::create_dir_all(out)?;
    }
    let mut project = None;
    for who in &settings.contestants {
        let program = match program_of(*who, settings) {
            Ok(program) => program,
            Err(reason) => {
                report.notes.push(format!("{} was left out: {reason}", who.name()));
                continue;
            }
        };
        eprintln!("{}: a disk with {} entries", who.name(), settings.entries);
        let disk = Disk::new(folder, settings.entries * BYTES_PER_ENTRY)?;
        report.notes.extend(disk.refused.iter().map(|set| format!("the queue refused {set}")));
        let (major, minor) = disk.numbers()?;
        let recorder = Recorder::new(major, minor)?;
        let empty_bytes = disk.used_bytes()?;
        let (report, label) = (&mut report, String::new());
        let mut bench = Bench { settings, disk: &disk, recorder, report, label, empty_bytes };
        match who {
            Contestant::Larder | Contestant::Files | Contestant::Lmdb => {
                engine(&mut bench, *who, &program)?;
            }
            _ => {
                if project.is_none() {
                    eprintln!("{} units are compiled without a cache", settings.units);
                    project = Some(Project::new(settings, folder)?);
                }
                let home = folder.join("home");
                fs::create_dir_all(&home)?;
                let cache = Cache::new(*who, program, disk.path().join("store"), home);
                wrapper(&mut bench, cache, project.as_ref().ok_or("there is a project")?)?;
            }
        }
    }
    report.notes.dedup();
    Ok(report)
}

/// The program of a contestant, or why there is none.
fn program_of(who: Contestant, settings: &Settings) -> Result<PathBuf, String> {
    let (given, name) = match who {
        Contestant::Larder | Contestant::Files => {
            return std::env::current_exe().map_err(|error| error.to_string());
        }
        Contestant::Lmdb => (&settings.lmdb, ""),
        Contestant::Wrapper => (&settings.larder, ""),
        Contestant::Ccache => (&settings.ccache, "ccache"),
        Contestant::Sccache => (&settings.sccache, "sccache"),
    };
    let found = given.clone().or_else(|| crate::powercut::volume::find(name));
    match found {
        Some(program) if program.is_file() => Ok(program),
        Some(program) => Err(format!("{} is no program", program.display())),
        None => Err("its program is not there".into()),
    }
}

/// A disk and those who look at it.
struct Bench<'a> {
    settings: &'a Settings,
    disk: &'a Disk,
    recorder: Recorder,
    report: &'a mut Report,
    /// The contestant as the tables name it.
    label: String,
    /// What the file system takes without a store.
    empty_bytes: u64,
}

impl Bench<'_> {
    /// Measures a phase from cold caches on.
    fn cold(
        &mut self,
        name: &'static str,
        operations: u64,
        what: impl FnOnce() -> Outcome<()>,
    ) -> Outcome<()> {
        eprintln!("  {}: {name}", self.label);
        self.disk.cool()?;
        self.recorder.start()?;
        let outcome = what();
        // A janitor that the last process started, too.
        self.disk.wait_until_left()?;
        self.disk.sync()?;
        self.wait_until_idle()?;
        let recording = self.recorder.stop()?;
        outcome.map_err(|error| format!("{}: {name}: {error}", self.label))?;
        let figures = figures(&recording.requests);
        if figures.reads == 0 {
            return Err(format!("{}: {name}: the caches are not cold", self.label).into());
        }
        if let Some(out) = &self.settings.out {
            let file = format!("{}-{name}", self.label).replace([' ', ',', '@'], "-");
            fs::write(out.join(format!("{file}.trace")), &recording.text)?;
            fs::write(out.join(format!("{file}.iolog")), iolog::text(&recording.requests))?;
            if let Some(table) = places::table(self.disk.device(), &recording.requests)? {
                fs::write(out.join(format!("{file}.files")), table)?;
            }
        }
        let contestant = self.label.clone();
        self.report.phases.push(Phase { contestant, name, operations, figures });
        Ok(())
    }

    /// Whether the last phase read so much: noise cannot come from anywhere else, so less means
    /// that something was in memory.
    fn expect_read(&self, bytes: u64) -> Outcome<()> {
        let Some(phase) = self.report.phases.last() else { return Err("nothing was read".into()) };
        let read = phase.figures.read_bytes;
        match read >= bytes {
            true => Ok(()),
            false => Err(format!(
                "{}: {}: {read} bytes were read, {bytes} were given: the caches are not cold",
                phase.contestant, phase.name
            )
            .into()),
        }
    }

    /// What an eviction is to leave.
    fn left_bytes(&self) -> Outcome<u64> {
        let wanted = self.settings.entries * EVICTED_PER_ENTRY;
        Ok(self.disk.used_bytes()?.saturating_sub(self.empty_bytes + wanted))
    }

    /// Measures an eviction, and checks that most of what was to go is gone.
    fn evict(&mut self, what: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
        let wanted = self.settings.entries * EVICTED_PER_ENTRY;
        let before = self.disk.used_bytes()?;
        self.cold("eviction", 1, what)?;
        let freed = before.saturating_sub(self.disk.used_bytes()?);
        // LMDB keeps freed pages for what is put next.
        match freed >= wanted / 10 * 8 || self.label == Contestant::Lmdb.name() {
            true => Ok(()),
            false => Err(format!("{}: {freed} of {wanted} bytes were freed", self.label).into()),
        }
    }

    /// Waits for what was read ahead.
    fn wait_until_idle(&self) -> Outcome<()> {
        let (major, minor) = self.disk.numbers()?;
        let path = format!("/sys/dev/block/{major}:{minor}/inflight");
        for _ in 0..3000 {
            let counts = fs::read_to_string(&path)?;
            if counts.split_whitespace().all(|count| count == "0") {
                // What a completed request still has to tell the tracer.
                std::thread::sleep(std::time::Duration::from_millis(20));
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Err("the disk has been busy for half a minute".into())
    }
}

/// A store that is used by calls.
struct Calls<'a> {
    who: Contestant,
    program: &'a Path,
    store: PathBuf,
    seed: u64,
}

impl Calls<'_> {
    /// Has a process of its own do something, as the named subject.
    fn work(&self, subject: &str, action: &str, words: &[String]) -> Outcome<()> {
        let mut command = Command::new(self.program);
        let place = if self.who == Contestant::Lmdb { "disk" } else { "work" };
        command.args([place, subject, action]).arg(&self.store);
        command.arg(self.seed.to_string()).args(words);
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("`{action}` failed").into()),
        }
    }

    /// Gets these entries, whose bytes have to come from the disk.
    fn get(
        &self,
        bench: &mut Bench<'_>,
        subject: &str,
        name: &'static str,
        numbers: &[u64],
    ) -> Outcome<()> {
        bench.cold(name, numbers.len() as u64, || self.work(subject, "get", &[list(numbers)]))?;
        let distinct: BTreeSet<u64> = numbers.iter().copied().collect();
        let bytes = distinct.into_iter().map(|number| value(self.seed, number).len() as u64).sum();
        bench.expect_read(bytes)
    }
}

fn list(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

fn engine(bench: &mut Bench<'_>, who: Contestant, program: &Path) -> Outcome<()> {
    let settings = bench.settings;
    let (entries, units, seed) = (settings.entries, settings.units, settings.seed);
    let calls = Calls { who, program, store: bench.disk.path().join("store"), seed };
    let name = who.name();
    let of_build = |order: Vec<u64>| order.into_iter().map(|n| BUILD_FROM + n).collect::<Vec<_>>();
    let build = of_build((0..units).collect());
    let random: Vec<u64> =
        (0..settings.random).map(|n| xxh3_64(&n.to_le_bytes(), seed) % entries).collect();
    bench.label = name.into();
    calls.work(name, "fill", &[entries.to_string()])?;
    bench.cold("puts", units, || calls.work(name, "put", &[list(&build)]))?;
    for subject in subjects(who, settings) {
        bench.label = subject.clone();
        calls.get(bench, &subject, "first answer", &build[..1])?;
        calls.get(bench, &subject, IN_ORDER, &build)?;
        calls.get(bench, &subject, AS_OF_EIGHT, &of_build(orders::of_eight(units, seed)))?;
        calls.get(bench, &subject, SHUFFLED, &of_build(orders::shuffled(units, seed)))?;
        calls.get(bench, &subject, "hits at random", &random)?;
        let misses = [settings.random.to_string()];
        bench.cold("misses", settings.random, || calls.work(&subject, "miss", &misses))?;
    }
    bench.label = name.into();
    if who == Contestant::Larder {
        calls.work(name, "settle", &[])?;
        calls.get(bench, name, "hits in build order, merged", &build)?;
    }
    let changed = |n: &u64| if n.is_multiple_of(2) { n + units } else { *n };
    let tree: Vec<u64> = build.iter().map(changed).collect();
    let new: Vec<u64> = tree.iter().copied().filter(|n| *n >= BUILD_FROM + units).collect();
    calls.work(name, "put", &[list(&new)])?;
    calls.get(bench, name, HALF_CHANGED, &tree)?;
    let all = entries + units + new.len() as u64;
    bench.cold("verify", 1, || calls.work(name, "verify", &[all.to_string()]))?;
    bench.expect_read((0..entries).map(|number| value(seed, number).len() as u64).sum())?;
    let evicted = [entries.to_string(), (entries * EVICTED_PER_ENTRY).to_string()];
    bench.evict(|| calls.work(name, "evict", &evicted))
}

/// The ways in which a store is read.
fn subjects(who: Contestant, settings: &Settings) -> Vec<String> {
    let of_window = |window: &Option<u64>| match window {
        Some(kib) => format!("larder@{kib}"),
        None => "larder".to_string(),
    };
    match who {
        Contestant::Larder => settings.windows.iter().map(of_window).collect(),
        Contestant::Lmdb => vec!["lmdb".into(), "lmdb@no-readahead".into()],
        _ => vec![who.name().into()],
    }
}

/// A compiler cache that is used by compiles.
fn wrapper(bench: &mut Bench<'_>, mut cache: Cache, project: &Project) -> Outcome<()> {
    let settings = bench.settings;
    let (seed, units) = (settings.seed, project.len());
    bench.label = cache.name().into();
    cache.fill(seed, settings.entries)?;
    let calls = |units: Vec<u64>| -> Vec<Call> {
        units.into_iter().map(|unit| Call { unit: unit as usize, is_changed: false }).collect()
    };
    let order = calls((0..units).collect());
    let shuffled = calls(orders::shuffled(units, seed));
    serve(bench, &mut cache, "misses and puts", project, &order, 0)?;
    serve(bench, &mut cache, "first answer", project, &order[..1], 1)?;
    serve(bench, &mut cache, IN_ORDER, project, &order, units)?;
    let as_of_eight = calls(orders::of_eight(units, seed));
    serve(bench, &mut cache, AS_OF_EIGHT, project, &as_of_eight, units)?;
    serve(bench, &mut cache, SHUFFLED, project, &shuffled, units)?;
    let ten = &shuffled[..shuffled.len().min(10)];
    serve(bench, &mut cache, "ten hits at random", project, ten, ten.len() as u64)?;
    if cache.who() == Contestant::Ccache {
        cache.keep_temporary_inside(true);
        serve(bench, &mut cache, "hits in build order, all inside", project, &order, units)?;
        cache.keep_temporary_inside(false);
    }
    let changed = |call: &Call| Call { is_changed: call.unit.is_multiple_of(2), ..*call };
    let tree: Vec<Call> = order.iter().map(changed).collect();
    let new: Vec<Call> = tree.iter().copied().filter(|call| call.is_changed).collect();
    serve(bench, &mut cache, "misses and puts of changes", project, &new, 0)?;
    serve(bench, &mut cache, HALF_CHANGED, project, &tree, units)?;
    if cache.who() == Contestant::Wrapper {
        bench.cold("verify", 1, || cache.verify())?;
        let used = bench.disk.used_bytes()?.saturating_sub(bench.empty_bytes);
        bench.cold("trim to nine tenths", 1, || cache.trim(used / 10 * 9))?;
    }
    let left = bench.left_bytes()?;
    if cache.who() == Contestant::Wrapper && left < LEFT_BYTES_MIN {
        bench.report.notes.push("the store is too small for larder-wrapper's eviction".into());
        return Ok(());
    }
    bench.evict(|| cache.evict(left, project, &order[0]))
}

/// Compiles units from cold caches on; so many of them have to be hits. A server's start belongs to
/// the first answer, and is left out of all others.
fn serve(
    bench: &mut Bench<'_>,
    cache: &mut Cache,
    name: &'static str,
    project: &Project,
    calls: &[Call],
    hits: u64,
) -> Outcome<()> {
    let has_server = cache.who() == Contestant::Sccache;
    let before = if has_server { 0 } else { cache.hits()? };
    bench.cold(name, calls.len() as u64, || {
        cache.start()?;
        cache.compile(project, calls)?;
        cache.wait_for_writes(calls.len() as u64 - hits)
    })?;
    let after = cache.hits();
    cache.stop();
    let found = after? - before;
    if found != hits {
        let text = format!("{}: {name}: {found} hits, {hits} were expected", bench.label);
        return Err(text.into());
    }
    if has_server && calls.len() > 1 {
        subtract_first(bench, cache, project, calls, hits > 0)?;
    }
    Ok(())
}

/// Measures the start of a server with its first hit, which is when it looks at its directory, and
/// takes that off the phase before. Of misses the hit is a small part, and all of them still count.
fn subtract_first(
    bench: &mut Bench<'_>,
    cache: &mut Cache,
    project: &Project,
    calls: &[Call],
    were_hits: bool,
) -> Outcome<()> {
    bench.cold("start and one hit", 1, || {
        cache.start()?;
        cache.compile(project, &calls[..1])
    })?;
    cache.stop();
    let (Some(start), Some(phase)) = (bench.report.phases.pop(), bench.report.phases.last_mut())
    else {
        return Err("two phases were measured".into());
    };
    phase.figures = phase.figures.less(&start.figures);
    phase.operations -= u64::from(were_hits);
    Ok(())
}
