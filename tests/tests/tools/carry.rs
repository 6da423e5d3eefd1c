//! Exports: used where they stand, taken into other stores, sent as streams, signed, and harmed.

use std::io::Write;
use std::process::Stdio;

use super::*;

const UNITS: usize = 4;

impl House {
    /// larder with another store.
    fn with(&self, store: &str) -> Command {
        let mut command = self.larder();
        command.env("LARDER_DIR", self.at(store)).env("LARDER_LOG", self.at("log"));
        command
    }

    #[track_caller]
    fn does(&self, store: &str, words: &[&str]) -> Output {
        let output = self.with(store).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}\n{}", text_of(&output));
        output
    }

    /// Compiles every unit with a store; how many came out of it, byte for byte as before.
    fn hits(&self, store: &str) -> usize {
        let is_hit = |number: usize| {
            let (source, object) = (format!("unit{number}.c"), format!("unit{number}.o"));
            fs::write(self.at(&source), format!("int unit(void) {{ return {number}; }}\n"))
                .unwrap();
            let before = fs::read(self.at(&object)).ok();
            let _ = fs::remove_file(self.at("log"));
            self.does(store, &["gcc", "-c", &source, "-o", &object]);
            let after = fs::read(self.at(&object)).unwrap();
            assert!(before.is_none_or(|before| before == after), "{object}");
            fs::read_to_string(self.at("log")).unwrap_or_default().contains("direct hit for")
        };
        (0..UNITS).filter(|number| is_hit(*number)).count()
    }

    /// An export of a store that has every unit.
    fn exported(&self) -> Value {
        assert_eq!(self.hits("made"), 0);
        let output = self.does("made", &["export", "out", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// `larder import` and its status.
    fn import(&self, store: &str, words: &[&str]) -> (Option<i32>, Value) {
        let output = self.with(store).args(["import", "--json"]).args(words).output().unwrap();
        let page =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| text_of(&output).into());
        (output.status.code(), page)
    }

    /// Gives a process these bytes; its output.
    fn fed(&self, store: &str, words: &[&str], bytes: &[u8]) -> Output {
        let mut command = self.with(store);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.env("TMPDIR", self.at("tmp")).spawn().unwrap();
        // Who does not want all of it closes the pipe.
        let _ = child.stdin.take().unwrap().write_all(bytes);
        child.wait_with_output().unwrap()
    }

    /// The paths of the pieces, the longest first.
    fn pieces(&self) -> Vec<PathBuf> {
        let names = fs::read_dir(self.at("out/pieces")).unwrap();
        let mut paths: Vec<PathBuf> = names.map(|name| name.unwrap().path()).collect();
        paths.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
        paths
    }
}

#[test]
fn an_export_is_used_where_it_stands() {
    let house = House::new();
    let page = house.exported();
    assert_eq!(page["new_pieces"], page["pieces"], "{page:#}");
    assert_eq!(house.hits("made"), UNITS);
    let before = tree(&house.at("out"));
    assert_eq!(house.hits("out"), UNITS);
    assert_eq!(tree(&house.at("out")), before);
    // What it has not is compiled, and stored nowhere.
    fs::write(house.at("other.c"), "int other;\n").unwrap();
    for _ in 0..2 {
        house.does("out", &["gcc", "-c", "other.c"]);
        let log = fs::read_to_string(house.at("log")).unwrap();
        assert!(!log.contains("direct hit for other.c"), "{log}");
    }
    assert_eq!(tree(&house.at("out")), before);
    let output = house.does("out", &["verify"]);
    assert!(text_of(&output).contains("everything is whole"), "{}", text_of(&output));
    // Other tools of larder know it, too.
    let listed = house.json(&["ls", "out", "--json"])["entries"].as_array().unwrap().len();
    assert_eq!(page["records"], listed);
    house.convert_all(&["out", "copy", "--to", "larder"]);
    assert_eq!(house.hits("copy"), UNITS);
}

#[test]
fn an_export_is_taken_into_another_store() {
    let house = House::new();
    let records = house.exported()["records"].clone();
    let (status, page) = house.import("other", &["out", "--check"]);
    assert_eq!((status, &page["stored"]), (Some(0), &0.into()), "{page:#}");
    assert!(!house.at("other").exists(), "nothing is made only to check");
    let output = house.does("other", &["import", "--check", "out"]);
    assert!(text_of(&output).contains("all of it is whole"), "{}", text_of(&output));
    let (status, page) = house.import("other", &["out"]);
    assert_eq!((status, &page["stored"]), (Some(0), &records), "{page:#}");
    fs::rename(house.at("out"), house.at("away")).unwrap();
    assert_eq!(house.hits("other"), UNITS);
    let (status, page) = house.import("other", &["away"]);
    assert_eq!((status, &page["known"]), (Some(0), &records), "{page:#}");
    // The same records are the same bytes.
    house.does("other", &["export", "out"]);
    let bytes = |top: &str| -> Vec<(String, Vec<u8>)> {
        tree(&house.at(top)).into_iter().map(|(name, kept)| (name, kept.bytes)).collect()
    };
    assert!(bytes("out") == bytes("away"));
}

/// One that has a header in one version, and one that has it in another.
#[test]
fn manifests_of_two_stores_are_put_together() {
    let house = House::new();
    fs::write(house.at("unit.c"), "#include \"unit.h\"\nint unit(void) { return VALUE; }\n")
        .unwrap();
    let compile = |store: &str, value: u32| {
        fs::write(house.at("unit.h"), format!("#define VALUE {value}\n")).unwrap();
        let _ = fs::remove_file(house.at("log"));
        house.does(store, &["gcc", "-c", "unit.c"]);
        let is_hit = fs::read_to_string(house.at("log")).unwrap().contains("direct hit for");
        (is_hit, fs::read(house.at("unit.o")).unwrap())
    };
    let (one, two) = (compile("made", 1), compile("other", 2));
    assert!(!one.0 && !two.0 && one.1 != two.1);
    house.does("made", &["export", "out"]);
    assert_eq!(house.import("other", &["out"]).0, Some(0));
    assert_eq!(compile("other", 1), (true, one.1));
    assert_eq!(compile("other", 2), (true, two.1));
}

#[test]
fn an_export_is_one_stream() {
    let house = House::new();
    house.exported();
    fs::create_dir(house.at("tmp")).unwrap();
    let stream = |house: &House| house.fed("made", &["export", "-"], b"").stdout;
    let bytes = stream(&house);
    assert!(bytes.len() > 10_000 && bytes == stream(&house), "the same bytes");
    // It is the directory, and needs no room for that.
    let mut unpack = Command::new("tar")
        .args(["-x", "-C"])
        .arg(house.at("tmp"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    unpack.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(unpack.wait().unwrap().success());
    fs::remove_file(house.at("out/lock")).unwrap();
    let files = |top: &str| -> Vec<(String, Vec<u8>)> {
        tree(&house.at(top)).into_iter().map(|(name, kept)| (name, kept.bytes)).collect()
    };
    assert!(files("tmp") == files("out"));
    fs::remove_dir_all(house.at("tmp")).unwrap();
    assert!(bytes == stream(&house), "no TMPDIR");
    fs::create_dir(house.at("tmp")).unwrap();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = house.with("made").args(["export", "-"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    assert!(text_of(&output).contains("No space left"), "{}", text_of(&output));
    let output = house.fed("other", &["import", "-"], &bytes);
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    assert_eq!(house.hits("other"), UNITS);
    // Of one that is cut short nothing is taken.
    for at in [0, 100, 600, bytes.len() / 2, bytes.len() - 3000, bytes.len() - 1500] {
        let output = house.fed("third", &["import", "-"], &bytes[..at]);
        assert_eq!(output.status.code(), Some(1), "{at} {}", text_of(&output));
    }
    assert!(!house.at("third").exists());
    let output = house.fed("third", &["import", "-"], &bytes);
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    assert_eq!(house.hits("third"), UNITS);
    assert_eq!(fs::read_dir(house.at("tmp")).unwrap().count(), 0, "nothing is left behind");
    // Names lead nowhere else.
    let name = bytes.windows(7).position(|window| window == b"pieces/").unwrap();
    let mut hostile = bytes.clone();
    hostile[name..name + 7].copy_from_slice(b"../../x");
    let sum: u32 = (0..512)
        .map(|at| name / 512 * 512 + at)
        .map(|at| match at % 512 {
            148..156 => 32,
            _ => u32::from(hostile[at]),
        })
        .sum();
    let start = name / 512 * 512;
    hostile[start + 148..start + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let output = house.fed("fourth", &["import", "-"], &hostile);
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    assert!(text_of(&output).contains("no part of an export"), "{}", text_of(&output));
    assert!(!house.at("x").exists() && !house.at("fourth").exists());
}

#[test]
fn pieces_that_are_not_what_they_are_called_are_named() {
    let house = House::new();
    house.exported();
    let [segment, ..] = &house.pieces()[..] else { panic!("no pieces") };
    let whole = fs::read(segment).unwrap();
    // A bit of a record, so that everything that leads to it is right.
    let mut bytes = whole.clone();
    let middle = bytes.len() - 3000;
    bytes[middle] ^= 4;
    fs::write(segment, &bytes).unwrap();
    for words in [&["out", "--check"][..], &["out"]] {
        let (status, page) = house.import("other", words);
        assert_eq!(status, Some(4), "{page:#}");
        let name = segment.file_name().unwrap().to_str().unwrap();
        assert_eq!(page["damaged_pieces"][0]["piece"], name, "{page:#}");
        assert_eq!(page["stored"], 0, "{page:#}");
    }
    fs::remove_file(segment).unwrap();
    assert_eq!(house.import("other", &["out"]).0, Some(4));
    fs::write(segment, &whole).unwrap();
    assert_eq!(house.import("other", &["out"]).0, Some(0));
    assert_eq!(house.hits("other"), UNITS);
    // Without the index nothing can be found.
    let manifest = fs::read_to_string(house.at("out/manifest")).unwrap();
    let index = manifest.lines().find_map(|line| line.strip_prefix("index ")).unwrap();
    fs::write(house.at("out/pieces").join(&index[..64]), b"").unwrap();
    let (status, page) = house.import("third", &["out"]);
    assert_eq!(status, Some(1));
    assert!(page.to_string().contains("transfer it again"), "{page:#}");
    fs::write(house.at("out/manifest"), manifest.replace("segment", "segmemt")).unwrap();
    let (status, page) = house.import("third", &["out"]);
    assert!(status == Some(1) && page.to_string().contains("damaged"), "{page:#}");
    let (status, page) = house.import("third", &["made"]);
    assert!(status == Some(1) && page.to_string().contains("no export"), "{page:#}");
}

#[test]
fn what_a_job_used_is_exported() {
    let house = House::new();
    assert_eq!(house.hits("made"), 0);
    let id = house.does("made", &["job", "start", "ci"]).stdout;
    let id = String::from_utf8(id).unwrap().trim().to_owned();
    let mut command = house.with("made");
    let output = command.env("LARDER_JOB", &id).args(["gcc", "-c", "unit0.c"]).output().unwrap();
    assert!(output.status.success());
    let output =
        house.with("made").args(["export", "out", "--touched-since-job"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "of which job? {}", text_of(&output));
    house.does("made", &["export", "out", &format!("--touched-since-job={id}")]);
    assert_eq!(house.import("other", &["out"]).0, Some(0));
    assert_eq!(house.hits("other"), 1);
    let output =
        house.with("made").args(["export", "out", "--touched-since-job=x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
}

#[test]
fn signatures_decide_where_they_are_wanted() {
    let house = House::new();
    let key = |name: &str| {
        let path = house.at(&format!("{name}.key"));
        let mut command = house.with("made");
        command.args(["key", "new", "--name", name]).arg(&path);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text_of(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find(|line| line.starts_with("larder-key-1")).unwrap().to_owned()
    };
    let (ci, mallory) = (key("ci"), key("mallory"));
    let trusts = |lines: &str, store: &str| {
        fs::write(house.at("trusted"), lines).unwrap();
        let mut command = house.with(store);
        let output = command
            .env("LARDER_TRUSTED_KEYS", house.at("trusted"))
            .args(["import", "out", "--json"])
            .output()
            .unwrap();
        let page: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        (output.status.code(), page, text_of(&output))
    };
    house.exported();
    let (status, _, text) = trusts(&ci, "unsigned");
    assert!(status == Some(1) && text.contains("not signed"), "{text}");
    let mut command = house.with("made");
    command.env("LARDER_SIGNING_KEY", house.at("ci.key")).args(["export", "out"]);
    let output = command.output().unwrap();
    assert!(text_of(&output).contains(", signed"), "{}", text_of(&output));
    let (status, page, text) = trusts(&format!("{mallory}\n{ci}\n"), "trusting");
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(page.unwrap()["signer"], "ci");
    assert_eq!(house.hits("trusting"), UNITS);
    let (status, _, text) = trusts(&mallory, "other");
    assert!(status == Some(1) && text.contains("not trusted"), "{text}");
    let (status, page, text) = trusts(&format!("{ci} namespace=other"), "other");
    assert_eq!(status, Some(4), "{text}");
    assert_eq!(page.unwrap()["stored"], 0, "{text}");
    // One digit less of anything that is signed, and of the signature.
    let manifest = fs::read_to_string(house.at("out/manifest")).unwrap();
    let start = manifest.find("signature ").unwrap();
    for at in [start + 50, manifest.len() - 2] {
        let mut bytes = manifest.clone().into_bytes();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        fs::write(house.at("out/manifest"), bytes).unwrap();
        let (status, _, text) = trusts(&ci, "other");
        assert!(status == Some(1) && text.contains("signature of ci is wrong"), "{text}");
    }
    assert_eq!(house.hits("other"), 0);
    // Who has no keys asks for no signatures; who cannot use his own signs nothing.
    assert_eq!(house.import("careless", &["out"]).0, Some(0));
    let mut command = house.with("made");
    let output = command
        .env("LARDER_SIGNING_KEY", house.at("missing.key"))
        .args(["export", "never"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    assert!(!house.at("never").exists());
}

#[test]
fn commands_say_that_an_export_is_only_read() {
    let house = House::new();
    house.exported();
    for words in [&["trim", "--max-size", "1M"][..], &["job", "start"], &["clear"], &["rm", "00"]] {
        let output = house.with("out").args(words).output().unwrap();
        assert!(!output.status.success(), "{words:?} {}", text_of(&output));
        assert!(text_of(&output).contains("larder import"), "{words:?} {}", text_of(&output));
    }
    let output = house.with("out").arg("doctor").output().unwrap();
    assert!(text_of(&output).contains("it is an export"), "{}", text_of(&output));
    assert!(!house.at("out/digests-0").exists() && !house.at("out/job-").exists());
}

/// As docs/ci.md has it: an export below a small store of this run.
#[test]
fn a_run_of_a_ci_uploads_what_is_new() {
    let house = House::new();
    house.exported();
    let before = tree(&house.at("out"));
    let configure = |text: &str| {
        let lower = house.at("out");
        let text = format!("lower = [\"{}\"]\n{text}", lower.display());
        fs::create_dir_all(house.at(".config/larder")).unwrap();
        fs::write(house.at(".config/larder/larder.toml"), text).unwrap();
    };
    // Without promotion nothing of it comes into the own store.
    configure("");
    assert_eq!(house.hits("run"), UNITS);
    assert_eq!(tree(&house.at("out")), before);
    let listed = |store: &str| {
        let page = house.json(&["ls", store, "--kind", "result", "--json"]);
        page["entries"].as_array().unwrap().len()
    };
    assert_eq!(listed("run"), 0);

    let id = house.does("run", &["job", "start", "ci"]).stdout;
    let id = String::from_utf8(id).unwrap().trim().to_owned();
    configure(&format!("lower_promote = true\njob = \"{id}\"\n"));
    assert_eq!(house.hits("run"), UNITS);
    fs::write(house.at("new.c"), "int new(void) { return 7; }\n").unwrap();
    house.does("run", &["gcc", "-c", "new.c"]);
    assert_eq!(listed("run"), UNITS + 1);
    let old: Vec<_> = house.pieces();
    house.does("run", &["export", "out", &format!("--touched-since-job={id}")]);
    assert!(house.pieces().iter().any(|piece| !old.contains(piece)));
    assert_eq!(house.import("third", &["out", "--check"]).0, Some(0));
    configure("");
    assert_eq!(house.hits("elsewhere"), UNITS);
    let log = house.at("log");
    fs::remove_file(&log).unwrap();
    house.does("elsewhere", &["gcc", "-c", "new.c"]);
    assert!(fs::read_to_string(&log).unwrap().contains("direct hit for"));
}
