//! A whole run: records, cuts, checks, counts.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::check::{OLDEST_LIVE, SAFE_AT_NS};
use super::disk::{Disk, Event, What};
use super::image::{Cut, Images, Kept, choose};
use super::ledger::{Line, Moment};
use super::load::Load;
use super::recording::{self, Recording, STORE_NAME};
use super::settings::{Broken, Settings};
use super::summary::Column;
use super::volume::{FileSystem, Volume, save};

/// Failed images that are kept of each file system.
const KEPT_IMAGES_MAX: u64 = 3;

/// Every so many images are cut a second time.
const AGAIN_ONE_IN: usize = 3;

/// A check that takes longer does not end.
const CHECK_MAX: Duration = Duration::from_secs(120);

/// Flushes that the disk takes for nothing, if it is to fail.
const IGNORED_FLUSHES: usize = 40;

/// Two recordings of three keep everything, one evicts: this share of the images is of the latter.
const EVICTING_ONE_IN: usize = 3;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Where a run has its things.
#[derive(Clone, Debug)]
pub struct Place {
    /// This program.
    pub program: PathBuf,
    /// For mounts and files; gone with the run.
    pub folder: PathBuf,
    /// For failed images.
    pub failed: PathBuf,
}

/// Runs all of it; one column for each file system.
///
/// # Errors
/// If a recording cannot be made. What images show is no error.
pub fn run(settings: &Settings, place: &Place) -> Outcome<Vec<Column>> {
    let mut columns = Vec::new();
    for system in &settings.systems {
        let start = Instant::now();
        let mut column = Column::new(system.name());
        let evicting = settings.images / EVICTING_ONE_IN;
        let (writers, operations) = (settings.writers, settings.operations);
        // Each file system gets segments of another size.
        let seed = settings.seed + *system as u64;
        for (load, images) in [
            (Load::keeping(seed, writers, operations), settings.images - evicting),
            (Load::evicting(seed, writers, operations), evicting),
        ] {
            let load = Load { forgets_syncs: settings.broken == Some(Broken::Sync), ..load };
            if images > 0 {
                record_and_check(settings, place, *system, load, images, &mut column)?;
            }
        }
        column.add("milliseconds", start.elapsed().as_millis() as u64);
        columns.push(column);
    }
    Ok(columns)
}

fn record_and_check(
    settings: &Settings,
    place: &Place,
    system: FileSystem,
    load: Load,
    images: usize,
    column: &mut Column,
) -> Outcome<()> {
    let progress = Progress::new(format!("{}, segments of {}", system.name(), load.segment_bytes));
    progress.say("recording");
    let start = Instant::now();
    let recording = recording::record(&place.program, system, load, &place.folder)?;
    column.add("milliseconds of recording", start.elapsed().as_millis() as u64);
    count_recording(&recording, column);
    let cuts = choose(&recording.log, recording.window.clone(), images, load.seed);
    if cuts.len() < images {
        return Err(format!("{} events are too few to cut", recording.window.len()).into());
    }
    let ignored = if settings.broken == Some(Broken::Flush) { IGNORED_FLUSHES } else { 0 };
    let mut builder = Images::new(system, recording.disk.clone(), &recording.log, ignored);
    let (jobs_in, jobs_out) = mpsc::sync_channel(1);
    let (done_in, done_out) = mpsc::channel();
    let jobs_out = Mutex::new(jobs_out);
    std::thread::scope(|scope| {
        for job in 0..settings.jobs {
            let checker = Checker { place, recording: &recording, name: format!("image-{job}") };
            let (jobs, done) = (&jobs_out, done_in.clone());
            scope.spawn(move || checker.run(jobs, &done));
        }
        drop(done_in);
        scope.spawn(move || build(&mut builder, &cuts, &jobs_in));
        for (count, outcome) in done_out.iter().enumerate() {
            outcome.add_to(column);
            let failed = column.figure("failed images");
            progress.say(&format!("{} of {images} images, {failed} failed", count + 1));
        }
    });
    progress.end();
    Ok(())
}

fn count_recording(recording: &Recording, column: &mut Column) {
    for line in &recording.lines {
        match line {
            Line::Operation(done) => {
                column.add("operations", 1);
                column.add("operations acknowledged", u64::from(done.stored));
            }
            Line::Checkpoint(..) => column.add("checkpoints", 1),
            Line::Upkeep(..) => column.add("upkeeps", 1),
            Line::Count(name, count) => column.add(name, *count),
            Line::Failure(text) => column.fail(vec![text.clone()]),
        }
    }
    for event in &recording.log[recording.window.clone()] {
        match &event.what {
            What::Write(_, bytes) => {
                column.add("writes recorded", 1);
                column.add("bytes recorded", bytes.len() as u64);
            }
            What::Flush => column.add("flushes recorded", 1),
        }
    }
}

/// An image that is to be checked.
struct Job {
    cut: Cut,
    disk: Disk,
    kept: Kept,
    /// Whether it is cut a second time, and where.
    again: Option<u64>,
}

fn build(images: &mut Images<'_>, cuts: &[Cut], jobs: &SyncSender<Job>) {
    for (index, cut) in cuts.iter().enumerate() {
        let (disk, kept) = images.make(*cut);
        let again = (index % AGAIN_ONE_IN == AGAIN_ONE_IN - 1).then_some(index as u64);
        if jobs.send(Job { cut: *cut, disk, kept, again }).is_err() {
            // All checkers are gone.
            return;
        }
    }
}

/// What was found in an image.
#[derive(Default)]
struct Checked {
    figures: Vec<(String, u64)>,
    maxima: Vec<(&'static str, u64)>,
    /// The oldest segment that the check left.
    oldest_live: u64,
    /// When the checkpoint of the check had returned.
    safe_at_ns: u64,
    failures: Vec<String>,
    kept: Kept,
    kind: &'static str,
    /// An image that failed, and the last words of its check.
    disk: Option<(Disk, String)>,
    /// Where such images are kept, and the ledger that they need.
    failed: PathBuf,
    ledger: PathBuf,
    /// What the first check had found, for that after the second cut.
    found: Vec<u8>,
}

impl Checked {
    fn add_to(self, column: &mut Column) {
        column.add("images", 1);
        column.add(&format!("images {}", self.kind), 1);
        column.add("writes behind the flush, kept", self.kept.whole);
        column.add("writes behind the flush, torn", self.kept.torn);
        column.add("writes behind the flush, lost", self.kept.lost);
        self.figures.iter().for_each(|(name, count)| column.add(name, *count));
        self.maxima.iter().for_each(|(name, count)| column.raise(name, *count));
        if self.failures.is_empty() {
            return;
        }
        column.add("failed images", 1);
        column.fail(self.failures);
        if let Some((disk, call)) = self.disk
            && column.figure("failed images") <= KEPT_IMAGES_MAX
        {
            let number = column.figure("failed images");
            let file = self.failed.join(format!("{}-{number}.disk", column.name));
            let _ = std::fs::create_dir_all(&self.failed);
            let ledger = file.with_extension("ledger");
            let found = file.with_extension("found");
            let _ = std::fs::write(&found, &self.found);
            let saved = save(&disk, &file).and_then(|()| std::fs::copy(&self.ledger, &ledger));
            let [file, ledger, found] = [&file, &ledger, &found].map(|path| path.display());
            column.failures.push(match saved {
                Ok(_) => format!(
                    "left in {file}; mounted below DIR it is checked by: \
                     powercut check DIR/{STORE_NAME} {ledger} {call} {found}"
                ),
                Err(error) => format!("cannot keep an image: {error}"),
            });
        }
    }
}

/// A thread that mounts images and has them checked.
struct Checker<'a> {
    place: &'a Place,
    recording: &'a Recording,
    name: String,
}

impl Checker<'_> {
    fn run(&self, jobs: &Mutex<Receiver<Job>>, done: &Sender<Checked>) {
        loop {
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(job) = job else { return };
            let checked = self.check(job);
            if done.send(checked).is_err() {
                return;
            }
        }
    }

    fn check(&self, job: Job) -> Checked {
        let moment = job.cut.moment(&self.recording.log);
        let _ = std::fs::remove_file(self.found());
        let mut checked = Checked {
            kept: job.kept,
            kind: job.cut.kind(),
            failed: self.place.failed.clone(),
            ledger: self.recording.ledger.clone(),
            ..Checked::default()
        };
        let place = format!("cut {} at event {}", job.cut.kind(), job.cut.position);
        let log = self.mount_and_check(&job.disk, moment, 1, &place, &mut checked);
        let Some(salt) = job.again.filter(|_| checked.failures.is_empty()) else { return checked };
        let seed = job.cut.subset.unwrap_or(0) ^ salt;
        // Every other one behind the checkpoint of the check.
        let safe = log.partition_point(|event| event.at_ns < checked.safe_at_ns);
        let from = if salt.is_multiple_of(2) { safe } else { 0 };
        let Some(cut) = choose(&log, from..log.len(), 1, seed).pop() else { return checked };
        checked.figures.push(("images cut again".into(), 1));
        if cut.moment(&log).last_ns < checked.safe_at_ns {
            // Nothing of what the first check did has to be there.
            let _ = std::fs::remove_file(self.found());
        } else {
            checked.figures.push(("images cut again behind a checkpoint".into(), 1));
        }
        checked.found = std::fs::read(self.found()).unwrap_or_default();
        let system = self.recording.system;
        let (disk, _) = Images::new(system, job.disk, &log, 0).make(cut);
        let place = format!("{place}, again at event {} of {}", cut.position, log.len());
        self.mount_and_check(&disk, moment, 2, &place, &mut checked);
        checked
    }

    /// Mounts an image, has the store on it checked, and returns what that did to the disk.
    fn mount_and_check(
        &self,
        disk: &Disk,
        moment: Moment,
        boot: u64,
        place: &str,
        checked: &mut Checked,
    ) -> Vec<Event> {
        let before = checked.failures.len();
        let start = Instant::now();
        let folder = &self.place.folder;
        let numbers = [moment.last_ns, moment.next_ns, boot, checked.oldest_live];
        let numbers = numbers.map(|number| number.to_string());
        let words = [&[self.recording.load.word()], &numbers[..]].concat();
        let log = match Volume::new(self.recording.system, disk.clone(), folder, &self.name) {
            Ok(volume) => {
                let mount_ms = start.elapsed().as_millis() as u64;
                checked.maxima.push(("milliseconds of a mount, at most", mount_ms));
                self.call(&volume.path().join(STORE_NAME), &words, checked);
                checked.figures.push(("milliseconds of checks".into(), elapsed_ms(start)));
                volume.finish()
            }
            Err(error) => {
                checked.failures.push(format!("cannot mount the image: {error}"));
                Vec::new()
            }
        };
        if checked.failures.len() > before {
            let failures = &mut checked.failures[before..];
            failures.iter_mut().for_each(|text| *text = format!("{place}: {text}"));
            checked.disk = Some((disk.clone(), words.join(" ")));
        }
        log
    }

    /// The file in which a check notes what it found.
    fn found(&self) -> PathBuf {
        self.place.folder.join(format!("{}.found", self.name))
    }

    /// Has the store checked by a process of its own.
    fn call(&self, store: &Path, words: &[String], checked: &mut Checked) {
        let mut command = Command::new(&self.place.program);
        command.arg("check").arg(store).arg(&self.recording.ledger).args(words);
        command.arg(self.found());
        command.stdin(Stdio::null());
        match output(&mut command, &self.place.folder.join(format!("{}.out", self.name))) {
            Ok(text) => read_lines(&text, checked),
            Err(error) => checked.failures.push(format!("the check: {error}")),
        }
    }
}

fn elapsed_ms(start: Instant) -> u64 {
    start.elapsed().as_millis() as u64
}

fn read_lines(text: &str, checked: &mut Checked) {
    for line in text.lines() {
        match Line::parse(line) {
            Some(Line::Count(name, count)) if name == "microseconds of opening" => {
                checked.maxima.push(("microseconds of opening a store, at most", count));
            }
            Some(Line::Count(name, count)) if name == OLDEST_LIVE => checked.oldest_live = count,
            Some(Line::Count(name, count)) if name == SAFE_AT_NS => checked.safe_at_ns = count,
            Some(Line::Count(name, count)) => checked.figures.push((name, count)),
            Some(Line::Failure(text)) => checked.failures.push(text),
            _ => checked.failures.push(format!("the check says `{line}`")),
        }
    }
}

/// What a process says; by way of a file, so that it can be waited for with a time limit.
fn output(command: &mut Command, file: &Path) -> io::Result<String> {
    let mut child = command.stdout(std::fs::File::create(file)?).spawn()?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return match status.success() {
                true => std::fs::read_to_string(file),
                false => Err(io::Error::other(format!("it ended with {status}"))),
            };
        }
        if start.elapsed() > CHECK_MAX {
            let _ = child.kill();
            let _ = child.wait();
            return Err(io::Error::other("it does not end"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A line that is written over and over, for somebody who waits.
struct Progress {
    head: String,
    is_shown: bool,
}

impl Progress {
    fn new(head: String) -> Progress {
        Progress { head, is_shown: io::stderr().is_terminal() }
    }

    fn say(&self, text: &str) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K{}: {text}", self.head);
        }
    }

    fn end(&self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
