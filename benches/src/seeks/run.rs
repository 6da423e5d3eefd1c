//! One run: for each contestant a disk, filling, and the phases that are measured.
//!
//! A phase begins with cold caches and ends when everything that it made dirty has been written
//! back and no request is under way.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use larder_engine::checksum::xxh3_64;

use super::build::{Cache, Project};
use super::disk::{self, Disk};
use super::iolog;
use super::model::{Figures, figures};
use super::settings::{Contestant, Settings};
use super::trace::Recorder;
use super::worker::{BUILD_FROM, Outcome};

/// Room for the filled store, by entry: the largest mean of any contestant, with its slack.
const BYTES_PER_ENTRY: u64 = 40_000;
/// Of that, what is evicted: 2.5 GB of 100,000 entries.
const EVICTED_PER_ENTRY: u64 = 25_000;

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
        let mut bench =
            Bench { settings, disk: &disk, recorder, report: &mut report, label: String::new() };
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
        }
        let contestant = self.label.clone();
        self.report.phases.push(Phase { contestant, name, operations, figures });
        Ok(())
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
fn engine(bench: &mut Bench<'_>, who: Contestant, program: &Path) -> Outcome<()> {
    let settings = bench.settings;
    let (entries, units, seed) = (settings.entries, settings.units, settings.seed);
    let store = bench.disk.path().join("store");
    let work = |subject: &str, action: &str, words: &[String]| {
        let mut command = Command::new(program);
        command.args([if who == Contestant::Lmdb { "disk" } else { "work" }, subject, action]);
        command.arg(&store).arg(seed.to_string()).args(words);
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("`{action}` failed").into()),
        }
    };
    let number = |number: u64| [number.to_string()];
    let list =
        |numbers: Vec<u64>| [numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(",")];
    let build = || (BUILD_FROM..BUILD_FROM + units).collect::<Vec<_>>();
    let random: Vec<u64> =
        (0..settings.random).map(|n| xxh3_64(&n.to_le_bytes(), seed) % entries).collect();
    let name = who.name();
    bench.label = name.into();
    work(name, "fill", &number(entries))?;
    bench.cold("puts", units, || work(name, "build", &number(units)))?;
    let windows = if who == Contestant::Larder { &settings.windows[..] } else { &[None] };
    for window in windows {
        let subject = match window {
            Some(kib) => format!("{name}@{kib}"),
            None => name.to_string(),
        };
        bench.label = subject.clone();
        bench.cold("first answer", 1, || work(&subject, "get", &number(BUILD_FROM)))?;
        bench.cold("hits in build order", units, || work(&subject, "get", &list(build())))?;
        bench.cold("hits at random", settings.random, || {
            work(&subject, "get", &list(random.clone()))
        })?;
        bench
            .cold("misses", settings.random, || work(&subject, "miss", &number(settings.random)))?;
    }
    bench.label = name.into();
    if who == Contestant::Larder {
        work(name, "settle", &[])?;
        bench.cold("hits in build order, merged", units, || work(name, "get", &list(build())))?;
    }
    bench.cold("verify", 1, || work(name, "verify", &number(entries + units)))?;
    let evicted = [entries.to_string(), (entries * EVICTED_PER_ENTRY).to_string()];
    bench.cold("eviction", 1, || work(name, "evict", &evicted))
}

/// A compiler cache that is used by compiles.
fn wrapper(bench: &mut Bench<'_>, mut cache: Cache, project: &Project) -> Outcome<()> {
    let settings = bench.settings;
    bench.label = cache.name().into();
    cache.fill(settings.seed, settings.entries)?;
    let order: Vec<usize> = (0..project.len() as usize).collect();
    serve(bench, &mut cache, "misses and puts", project, &order, 0)?;
    let mut shuffled = order.clone();
    shuffled.sort_by_key(|unit| xxh3_64(&unit.to_le_bytes(), settings.seed));
    shuffled.truncate(10);
    serve(bench, &mut cache, "first answer", project, &order[..1], 1)?;
    serve(bench, &mut cache, "hits in build order", project, &order, project.len())?;
    serve(bench, &mut cache, "ten hits at random", project, &shuffled, shuffled.len() as u64)?;
    if cache.name() == Contestant::Ccache.name() {
        let left = settings.entries * (BYTES_PER_ENTRY - EVICTED_PER_ENTRY) / 10;
        bench.cold("eviction", 1, || cache.evict(left))?;
    }
    Ok(())
}

/// Compiles units from cold caches on; so many of them have to be hits. A server's start belongs to
/// the first answer, and is left out of the other hits.
fn serve(
    bench: &mut Bench<'_>,
    cache: &mut Cache,
    name: &'static str,
    project: &Project,
    units: &[usize],
    hits: u64,
) -> Outcome<()> {
    let has_server = cache.name() == Contestant::Sccache.name();
    let before = if has_server { 0 } else { cache.hits()? };
    bench.cold(name, units.len() as u64, || {
        cache.start()?;
        cache.compile(project, units)
    })?;
    let after = cache.hits();
    cache.stop();
    let found = after? - before;
    if found != hits {
        let text = format!("{}: {name}: {found} hits, {hits} were expected", bench.label);
        return Err(text.into());
    }
    if has_server && hits > 1 {
        subtract_first(bench, cache, project, units)?;
    }
    Ok(())
}

/// Measures the start of a server with its first hit, which is when it looks at its directory, and
/// takes that off the phase before.
fn subtract_first(
    bench: &mut Bench<'_>,
    cache: &mut Cache,
    project: &Project,
    units: &[usize],
) -> Outcome<()> {
    bench.cold("start and one hit", 1, || {
        cache.start()?;
        cache.compile(project, &units[..1])
    })?;
    cache.stop();
    let (Some(start), Some(phase)) = (bench.report.phases.pop(), bench.report.phases.last_mut())
    else {
        return Err("two phases were measured".into());
    };
    phase.figures = phase.figures.less(&start.figures);
    phase.operations -= 1;
    Ok(())
}
