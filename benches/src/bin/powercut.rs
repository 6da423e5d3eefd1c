//! Power cuts on real file systems; see `larder_benches::powercut`.
//!
//! Its exit status is 0 if and only if every image was mounted and the store on it had what it must
//! have and nothing wrong; 3 if something is missing to do it at all.

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use larder_benches::powercut::check::Check;
use larder_benches::powercut::ledger::{Ledger, Moment};
use larder_benches::powercut::load::Load;
use larder_benches::powercut::recording::write_and_sync;
use larder_benches::powercut::run::{self, Place};
use larder_benches::powercut::settings::{Settings, USAGE};
use larder_benches::powercut::{summary, worker};
use rustix::mount::{MountFlags, mount};

/// Something is missing.
const MISSING: u8 = 3;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = words.split_first().map_or(("", &[][..]), |(c, r)| (c.as_str(), r));
    let result = match command {
        "work" => work(rest).map(|()| ExitCode::SUCCESS),
        "check" => check(rest).map(|()| ExitCode::SUCCESS),
        "try" => try_disk(rest).map(|()| ExitCode::SUCCESS),
        "inside" => inside(rest),
        "--help" | "-h" | "help" => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => outside(&words),
    };
    result.unwrap_or_else(|error| {
        eprintln!("powercut: {error}");
        ExitCode::from(2)
    })
}

/// `work ROLE ID STORE LEDGER LOAD`
fn work(words: &[String]) -> Result<(), Box<dyn Error>> {
    let [role, id, store, ledger, load] = words else { return Err("a worker is told".into()) };
    let load = Load::parse(load).ok_or("the load is not understood")?;
    worker::run(role, id.parse()?, Path::new(store), Path::new(ledger), load)
}

/// `check STORE LEDGER LOAD LAST NEXT BOOT OLDEST FOUND`
fn check(words: &[String]) -> Result<(), Box<dyn Error>> {
    let [store, ledger, load, last, next, boot, oldest, found] = words else {
        return Err("who calls?".into());
    };
    let load = Load::parse(load).ok_or("the load is not understood")?;
    let check = Check {
        path: Path::new(store),
        load,
        ledger: &Ledger::load(Path::new(ledger), &load)?,
        moment: Moment { last_ns: last.parse()?, next_ns: next.parse()? },
        boot: boot.parse()?,
        oldest_live: oldest.parse()?,
        found: Path::new(found),
        lines: Vec::new(),
    };
    check.say()
}

/// `try FILE`
fn try_disk(words: &[String]) -> Result<(), Box<dyn Error>> {
    let [file] = words else { return Err("who calls?".into()) };
    Ok(write_and_sync(Path::new(file))?)
}

/// Goes on in a mount namespace of its own.
fn outside(words: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    let settings = Settings::parse(words.iter().cloned())?;
    let missing = missing(&settings);
    if !missing.is_empty() {
        eprintln!("powercut: missing: {}", missing.join(", "));
        return Ok(ExitCode::from(MISSING));
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe()?);
    Err(command.arg("inside").args(words).exec().into())
}

/// What a run needs and does not have here.
fn missing(settings: &Settings) -> Vec<String> {
    let mut missing: Vec<String> = settings.systems.iter().filter_map(|s| s.missing()).collect();
    if !rustix::process::geteuid().is_root() {
        missing.push("the rights of root, to mount file systems".into());
    }
    let devices = ["/dev/fuse", "/dev/loop-control"].into_iter();
    missing.extend(devices.filter(|path| !Path::new(path).exists()).map(str::to_string));
    if missing.is_empty() {
        // A container may have root, and not let it mount.
        let mut unshare = Command::new("unshare");
        let status = unshare.args(["--mount", "true"]).stderr(Stdio::null()).status();
        if !status.is_ok_and(|status| status.success()) {
            missing.push("the permission to make a mount namespace".into());
        }
    }
    missing.sort();
    missing.dedup();
    missing
}

fn inside(words: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    let settings = Settings::parse(words.iter().cloned())?;
    let _guard = guard()?;
    let folder = settings.directory.join("mounts");
    std::fs::create_dir_all(&folder)?;
    // Gone with the namespace, whatever happens to this process.
    mount("tmpfs", &folder, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=0700")?;
    let place = Place {
        program: std::env::current_exe()?,
        folder: folder.canonicalize()?,
        failed: settings.directory.join("failed"),
    };
    let columns = run::run(&settings, &place)?;
    let text = if settings.json { summary::json(&columns) } else { summary::text(&columns) };
    print!("{text}");
    let is_good = columns.iter().all(|column| column.figure("failures") == 0);
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A process that lives until this one is dead. The last one of a namespace unmounts what is left
/// of it, and that must not be the one that serves the disks: it would wait for itself.
fn guard() -> std::io::Result<Child> {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP INT TERM; read end_of_file"]).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}
