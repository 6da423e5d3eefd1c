//! A build through a compiler cache: its sources, the caches that can take part, and what fills
//! their directories before.
//!
//! 1. Sources and objects stand on another file system than the cache, so that only the cache's
//!    requests are counted.
//! 2. A cache's directory is filled with files of its own layout that hold noise; then the build
//!    goes through the cache itself.
//! 3. Whether a compile was a hit is asked of the cache's own statistics, outside of what is
//!    measured, and each object is compared with the compiler's.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use larder_engine::{Budget, Key, Options, Put, Store};

use super::disk::run;
use super::settings::{Contestant, Settings};
use super::worker::{BUILD_FROM, Outcome, value};
use crate::entries;

/// Headers of the generated project.
const HEADERS: u64 = 20;
/// Of a cache before it is to evict: none of them is near it.
const SIZE_BYTES: u64 = 20 << 30;
/// Less than larder can be bound to leave: 80 % of 64 MiB.
pub const LEFT_BYTES_MIN: u64 = 52 << 20;
/// Lines of ccache's statistics file, and the places of counts in it.
const STATS_LINES: usize = 85;
const STATS_FILES: usize = 11;
const STATS_KIB: usize = 12;
const STATS_SUBDIR_FILES: usize = 49;
const STATS_SUBDIR_KIB: usize = 65;

/// What a changed unit includes besides: other text, another entry.
const CHANGE: &str = "extern int changed_by_larder_seeks;\n";

/// One compile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// Which unit.
    pub unit: usize,
    /// Whether it is the changed one.
    pub is_changed: bool,
}

impl Call {
    fn object(self) -> String {
        format!("{}{}.o", self.unit, if self.is_changed { "-changed" } else { "" })
    }
}

/// What is compiled.
#[derive(Debug)]
pub struct Project {
    units: Vec<PathBuf>,
    flags: Vec<String>,
    objects: PathBuf,
    reference: PathBuf,
    change: PathBuf,
}

impl Project {
    /// The project of the settings, with every unit compiled once without a cache.
    ///
    /// # Errors
    /// If there is no C compiler, or nothing that it compiles.
    pub fn new(settings: &Settings, folder: &Path) -> Outcome<Project> {
        let mut project = Project {
            units: Vec::new(),
            flags: settings.cflags.clone(),
            objects: folder.join("objects"),
            reference: folder.join("reference"),
            change: folder.join("change.h"),
        };
        fs::write(&project.change, CHANGE)?;
        fs::create_dir_all(&project.objects)?;
        fs::create_dir_all(&project.reference)?;
        let sources = match &settings.sources {
            Some(sources) => {
                project.flags.push(format!("-I{}", sources.display()));
                c_files(sources)?
            }
            None => generate(&folder.join("sources"), settings)?,
        };
        for source in sources {
            if project.units.len() as u64 == settings.units {
                break;
            }
            let unit = project.units.len();
            project.units.push(source);
            let is_whole = |is_changed| {
                let call = Call { unit, is_changed };
                run(&mut project.command(Command::new("gcc"), call, &project.reference)).is_ok()
            };
            // Some files of a project are parts of others, or for other systems.
            if !is_whole(false) || !is_whole(true) {
                project.units.pop();
            }
        }
        if project.units.len() < 2 {
            return Err("there are no two C files that gcc compiles".into());
        }
        Ok(project)
    }

    /// The number of units.
    pub fn len(&self) -> u64 {
        self.units.len() as u64
    }

    /// Whether there are none, which a project never has.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    fn command(&self, mut command: Command, call: Call, folder: &Path) -> Command {
        command.args(&self.flags);
        if call.is_changed {
            command.arg("-include").arg(&self.change);
        }
        command.arg("-c").arg(&self.units[call.unit]).arg("-o").arg(folder.join(call.object()));
        command.current_dir(&self.objects);
        command
    }

    /// Compiles a unit through a cache and compares the object.
    fn compile(&self, cache: &Cache, call: Call) -> Outcome<()> {
        let object = self.objects.join(call.object());
        let _ = fs::remove_file(&object);
        let mut command = cache.command();
        command.arg("gcc");
        run(&mut self.command(command, call, &self.objects))?;
        match fs::read(&object)? == fs::read(self.reference.join(call.object()))? {
            true => Ok(()),
            false => Err(format!("{} gives another {}", cache.name(), call.object()).into()),
        }
    }
}

fn c_files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Units of which each has a table of noise as large as an object is.
fn generate(folder: &Path, settings: &Settings) -> Outcome<Vec<PathBuf>> {
    fs::create_dir_all(folder)?;
    let mut includes = String::new();
    for header in 0..HEADERS {
        let text = format!("static inline int header_{header}(int x) {{ return x + {header}; }}\n");
        fs::write(folder.join(format!("h{header}.h")), text)?;
        let _ = writeln!(includes, "#include \"h{header}.h\"");
    }
    let mut units = Vec::new();
    for unit in 0..settings.units {
        let mut text = includes.clone();
        let _ = writeln!(text, "const unsigned char table_{unit}[] = {{");
        for line in value(settings.seed, BUILD_FROM + unit).chunks(32) {
            line.iter().for_each(|byte| {
                let _ = write!(text, "{byte},");
            });
            text.push('\n');
        }
        let _ = writeln!(text, "}};\nint unit_{unit}(int x) {{ return header_{}(x); }}", unit % 20);
        let path = folder.join(format!("unit{unit:04}.c"));
        fs::write(&path, text)?;
        units.push(path);
    }
    Ok(units)
}

/// A compiler cache with its directory.
#[derive(Debug)]
pub struct Cache {
    who: Contestant,
    program: PathBuf,
    store: PathBuf,
    /// Its own folder for everything that is no part of the cache.
    home: PathBuf,
    /// Whether what ccache keeps for a login session is in its directory.
    is_temporary_inside: bool,
    /// Of sccache, which is told at its start.
    size_bytes: u64,
    server: Option<Child>,
}

impl Cache {
    /// One with its directory at `store`.
    pub fn new(who: Contestant, program: PathBuf, store: PathBuf, home: PathBuf) -> Cache {
        let (is_temporary_inside, size_bytes) = (false, SIZE_BYTES);
        Cache { who, program, store, home, is_temporary_inside, size_bytes, server: None }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.who.name()
    }

    /// Who it is.
    pub fn who(&self) -> Contestant {
        self.who
    }

    /// Where ccache has its temporary files and its cache of inodes: without a login session in
    /// its directory, with one in memory.
    pub fn keep_temporary_inside(&mut self, is_inside: bool) {
        self.is_temporary_inside = is_inside;
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let own = ["LARDER_", "CCACHE_", "SCCACHE_", "XDG_"];
        for (name, _) in std::env::vars() {
            if own.iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.env("HOME", &self.home);
        match self.who {
            Contestant::Ccache => {
                if !self.is_temporary_inside {
                    command.env("CCACHE_TEMPDIR", self.home.join("temporary"));
                }
                command.env("CCACHE_DIR", &self.store)
            }
            Contestant::Sccache => {
                let port = 20_000 + std::process::id() % 20_000;
                command.env("SCCACHE_SERVER_PORT", port.to_string());
                command.env("SCCACHE_CACHE_SIZE", self.size_bytes.to_string());
                command.env("SCCACHE_DIR", &self.store)
            }
            _ => {
                command.env("LARDER_CONFIG", self.home.join("none"));
                command.env("LARDER_DIR", &self.store)
            }
        };
        command
    }

    /// Fills the directory with `entries` files or records of noise.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn fill(&self, seed: u64, entries: u64) -> Outcome<()> {
        match self.who {
            Contestant::Ccache => self.fill_ccache(seed, entries),
            Contestant::Sccache => self.fill_sccache(seed, entries),
            _ => self.fill_larder(seed, entries),
        }
    }

    fn fill_larder(&self, seed: u64, entries: u64) -> Outcome<()> {
        let store = Store::open(&self.store, Options::new())?;
        for number in 0..entries {
            let (_, put) = entries::put_pair(&store, seed, number)?;
            if put != Put::Stored {
                return Err(format!("a put was not stored: {put:?}").into());
            }
            if store.maintenance_due() {
                store.maintain(Budget::inline())?;
            }
        }
        store.maintain(Budget::full())?;
        Ok(())
    }

    /// Two levels of one digit, then 38 digits; counts in the statistics of each first level.
    fn fill_ccache(&self, seed: u64, entries: u64) -> Outcome<()> {
        let mut counts = vec![[(0u64, 0u64); 16]; 16];
        for number in 0..entries {
            let name = &Key::of(&[seed.to_le_bytes(), number.to_le_bytes()].concat()).to_string();
            let bytes = value(seed, number);
            let folder = self.store.join(&name[..1]).join(&name[1..2]);
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(&name[2..40]), &bytes)?;
            let digit = |at: usize| usize::from_str_radix(&name[at..=at], 16);
            let count = &mut counts[digit(0)?][digit(1)?];
            count.0 += 1;
            count.1 += (bytes.len() as u64).next_multiple_of(4096) / 1024;
        }
        for (first, below) in counts.iter().enumerate() {
            let mut lines = [0; STATS_LINES];
            for (second, (files, kib)) in below.iter().enumerate() {
                lines[STATS_FILES] += files;
                lines[STATS_KIB] += kib;
                lines[STATS_SUBDIR_FILES + second] = *files;
                lines[STATS_SUBDIR_KIB + second] = *kib;
            }
            let text: String = lines.iter().map(|count| format!("{count}\n")).collect();
            let folder = self.store.join(format!("{first:x}"));
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("stats"), text)?;
        }
        Ok(())
    }

    /// Two levels of one digit, then the whole name.
    fn fill_sccache(&self, seed: u64, entries: u64) -> Outcome<()> {
        for number in 0..entries {
            let name = &Key::of(&[seed.to_le_bytes(), number.to_le_bytes()].concat()).to_string();
            let folder = self.store.join(&name[..1]).join(&name[1..2]);
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(name), value(seed, number))?;
        }
        Ok(())
    }

    /// Starts what has to run before the first compile: sccache's server.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn start(&mut self) -> Outcome<()> {
        if self.who != Contestant::Sccache {
            return Ok(());
        }
        let mut command = self.command();
        command.env("SCCACHE_START_SERVER", "1").env("SCCACHE_NO_DAEMON", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.server = Some(command.spawn()?);
        let port = 20_000 + std::process::id() % 20_000;
        for _ in 0..1200 {
            if std::net::TcpStream::connect(("127.0.0.1", port as u16)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("sccache's server does not answer".into())
    }

    /// Ends it, so that the disk can be unmounted.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Compiles these units.
    ///
    /// # Errors
    /// If one fails or gives another object.
    pub fn compile(&self, project: &Project, calls: &[Call]) -> Outcome<()> {
        calls.iter().try_for_each(|call| project.compile(self, *call))
    }

    /// Waits until so many results are written, where that goes on when the compile has ended.
    ///
    /// # Errors
    /// If they are not.
    pub fn wait_for_writes(&self, count: u64) -> Outcome<()> {
        if self.who != Contestant::Sccache {
            return Ok(());
        }
        for _ in 0..200 {
            if self.count(&["cache_writes\""])? == count {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(format!("sccache did not write {count} results").into())
    }

    /// The hits that its statistics have.
    ///
    /// # Errors
    /// If they cannot be had.
    pub fn hits(&self) -> Outcome<u64> {
        match self.who {
            Contestant::Sccache => self.count(&["cache_hits\":{\"counts\":{\"C/C++"]),
            _ => self.count(&["direct_cache_hit", "preprocessed_cache_hit"]),
        }
    }

    /// The sum of these counters.
    fn count(&self, names: &[&str]) -> Outcome<u64> {
        let arguments: &[&str] = match self.who {
            Contestant::Ccache => &["--print-stats"],
            Contestant::Sccache => &["--show-stats", "--stats-format", "json"],
            _ => &["stats", "--json"],
        };
        let text = run(self.command().args(arguments))?;
        let text: String = text.chars().filter(|c| *c != ' ').collect();
        Ok(names.iter().map(|name| number_behind(&text, name)).sum())
    }

    /// Reads and checks everything, by larder's command.
    ///
    /// # Errors
    /// If it fails.
    pub fn verify(&self) -> Outcome<()> {
        run(self.command().arg("verify")).map(drop).map_err(Into::into)
    }

    /// Lets it evict down to a size. sccache does that when its server first looks at its
    /// directory, so it starts one and has a unit compiled.
    ///
    /// # Errors
    /// If it fails.
    pub fn evict(&mut self, left_bytes: u64, project: &Project, call: &Call) -> Outcome<()> {
        match self.who {
            Contestant::Ccache => {
                let mut command = self.command();
                command.env("CCACHE_MAXSIZE", format!("{}k", left_bytes / 1000)).arg("--cleanup");
                run(&mut command)?;
            }
            Contestant::Sccache => {
                self.size_bytes = left_bytes;
                self.start()?;
                self.compile(project, &[*call])?;
                self.stop();
            }
            _ => {
                // Eviction leaves 80 % of the bound.
                let bound = (left_bytes / 8 * 10).to_string();
                run(self.command().env("LARDER_MAX_SIZE", bound).arg("janitor"))?;
            }
        }
        Ok(())
    }

    /// Lets larder trim itself to a size.
    ///
    /// # Errors
    /// If it fails.
    pub fn trim(&self, left_bytes: u64) -> Outcome<()> {
        let size = left_bytes.to_string();
        run(self.command().args(["trim", "--max-size", &size])).map(drop).map_err(Into::into)
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The first number behind a name.
fn number_behind(text: &str, name: &str) -> u64 {
    let Some((_, rest)) = text.split_once(name) else { return 0 };
    let digits = rest.trim_start_matches(|c: char| !c.is_ascii_digit() && c != '\n' && c != '}');
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_behind_names() {
        assert_eq!(number_behind("a\t1\ndirect_cache_hit\t98\nb\t2\n", "direct_cache_hit"), 98);
        assert_eq!(number_behind("{\"direct_cache_hit\":7,\"x\":1}", "direct_cache_hit"), 7);
        assert_eq!(number_behind("{\"cache_hits\":{\"counts\":{}},\"x\":3", "counts\":{"), 0);
        assert_eq!(number_behind("nothing", "direct_cache_hit"), 0);
    }

    #[test]
    fn a_filled_ccache_directory_has_its_layout_and_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let home = folder.path().to_path_buf();
        let cache = Cache::new(Contestant::Ccache, "ccache".into(), path.clone(), home);
        cache.fill(1, 40).unwrap();
        let (mut files, mut counted) = (0, 0);
        for digit in 0..16 {
            let first = path.join(format!("{digit:x}"));
            let stats = fs::read_to_string(first.join("stats")).unwrap();
            counted += stats.lines().nth(STATS_FILES).unwrap().parse::<u64>().unwrap();
            for second in fs::read_dir(&first).unwrap().flatten().filter(|e| e.path().is_dir()) {
                for entry in fs::read_dir(second.path()).unwrap().flatten() {
                    assert_eq!(entry.file_name().len(), 38);
                    files += 1;
                }
            }
        }
        assert_eq!((files, counted), (40, 40));
    }
}
