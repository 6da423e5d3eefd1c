//! Signed results: who is believed, and what is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use larder_engine::format::body::Head;
use larder_engine::format::signed::{signed, unsigned};
use larder_engine::{Key, RecordKind};
use larder_tests::{TempDir, temp_dir};

use super::machine::{Left, Machine, Sources, file_tier, files_of};

/// Keys, and a tier that machines share.
struct Team {
    dir: TempDir,
    sources: Sources,
}

impl Team {
    fn new() -> Team {
        Team { dir: temp_dir(), sources: Sources::new() }
    }

    fn tier(&self) -> PathBuf {
        self.dir.path().join("tier")
    }

    fn key(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a key; the words that others trust.
    fn make_key(&self, name: &str) -> String {
        let machine = Machine::new("");
        let path = self.key(name);
        let made = machine.larder(&["key", "new", path.to_str().unwrap(), "--name", name]);
        assert!(made.status.success(), "{made:?}");
        String::from_utf8(made.stdout).unwrap().lines().next().unwrap().to_owned()
    }

    fn machine(&self, more: &str) -> Machine {
        Machine::new(&format!("{}{more}", file_tier(&self.tier())))
    }

    /// One that signs.
    fn signer(&self, name: &str) -> Machine {
        let mut machine = self.machine("");
        machine.set("LARDER_SIGNING_KEY", self.key(name).to_str().unwrap());
        machine
    }

    /// One that trusts these.
    fn reader(&self, lines: &[&str], more: &str) -> Machine {
        let machine = self.machine(more);
        for line in lines {
            let words: Vec<&str> = ["key", "trust"].into_iter().chain(line.split(' ')).collect();
            let noted = machine.larder(&words);
            assert!(noted.status.success(), "{noted:?}");
        }
        machine
    }

    /// Compiles a unit on a machine and waits until the tier has it.
    fn make(&self, machine: &Machine) -> Left {
        let made = machine.compile(&self.sources, "a");
        assert_eq!(made.status, Some(0), "{made:?}");
        machine.flush();
        made
    }

    /// Hits and misses of a machine that compiles the same, and values that it refused.
    #[track_caller]
    fn seen_by(&self, machine: &Machine, expected: &Left) -> (u64, u64, u64) {
        let left = machine.compile(&self.sources, "a");
        assert_eq!(&left, expected, "{}", machine.log());
        let (hits, misses) = machine.counts();
        (hits, misses, machine.of_tier(0, "refused"))
    }
}

const HIT: (u64, u64, u64) = (1, 0, 0);

fn bodies(tier: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files_of(tier).into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

#[test]
fn what_a_trusted_key_has_signed_is_a_hit() {
    let team = Team::new();
    let public = team.make_key("ci");
    let made = team.make(&team.signer("ci"));
    assert!(bodies(&team.tier()).iter().all(|(_, body)| unsigned(body).unwrap().is_some()));
    let reader = team.reader(&[&public], "|read-only");
    assert_eq!(team.seen_by(&reader, &made), HIT, "{}", reader.log());
    // It is in the local store, whoever is trusted then.
    assert_eq!(reader.compile(&team.sources, "a"), made);
    assert_eq!(reader.counts(), (2, 0));
    // Who trusts nobody in particular takes it, too; so does the signer itself.
    assert_eq!(team.seen_by(&team.machine(""), &made), HIT);
    assert_eq!(team.seen_by(&team.signer("ci"), &made), HIT);
}

#[test]
fn what_is_not_signed_or_by_others_is_refused_and_counted() {
    let team = Team::new();
    let (trusted, _) = (team.make_key("ci"), team.make_key("other"));
    for makes in [team.machine(""), team.signer("other")] {
        let made = team.make(&makes);
        let reader = team.reader(&[&trusted], "|read-only");
        let (hits, misses, refused) = team.seen_by(&reader, &made);
        assert_eq!((hits, misses), (0, 1), "{}", reader.log());
        assert!(refused >= 1, "{}", reader.log());
        assert!(reader.log().contains("is refused: it is "), "{}", reader.log());
        // It says nothing of the tier's health, and nothing is damaged.
        assert_eq!(reader.of_tier(0, "damaged"), 0);
        // Where signatures are optional it is taken.
        let reader = team.reader(&[&trusted], "|read-only|signatures=optional");
        assert_eq!(team.seen_by(&reader, &made), HIT, "{}", reader.log());
        fs::remove_dir_all(team.tier()).unwrap();
    }
    // Required, and nobody is trusted.
    let made = team.make(&team.signer("ci"));
    let reader = team.machine("|read-only|signatures=required");
    let (hits, misses, refused) = team.seen_by(&reader, &made);
    assert!((hits, misses) == (0, 1) && refused >= 1, "{}", reader.log());
}

#[test]
fn a_signature_holds_for_one_body_one_key_and_one_namespace() {
    let team = Team::new();
    let public = team.make_key("ci");
    let signer = team.signer("ci");
    let made = team.make(&signer);
    signer.compile(&team.sources, "b");
    signer.flush();
    let originals = bodies(&team.tier());
    let head = |body: &[u8]| Head::decode(body).unwrap();
    let other_of = |body: &[u8]| {
        let (key, kind) = (head(body).key, head(body).kind);
        let is_other =
            |(_, other): &&(PathBuf, Vec<u8>)| head(other).key != key && head(other).kind == kind;
        originals.iter().find(is_other).unwrap().1.clone()
    };
    type Forge<'a> = Box<dyn Fn(&[u8]) -> Vec<u8> + 'a>;
    let forgeries: Vec<(&str, Forge<'_>)> = vec![
        ("replayed under another key", Box::new(|body| other_of(body))),
        (
            "a signature of another body",
            Box::new(|body| {
                let own = unsigned(body).unwrap().unwrap();
                let other = other_of(body);
                signed(&own.body, unsigned(&other).unwrap().unwrap().signature).unwrap()
            }),
        ),
        (
            "another time",
            Box::new(|body| {
                let own = unsigned(body).unwrap().unwrap();
                signed(&remade(&own.body, None), own.signature).unwrap()
            }),
        ),
        (
            "another namespace",
            Box::new(|body| {
                let own = unsigned(body).unwrap().unwrap();
                signed(&remade(&own.body, Some("main")), own.signature).unwrap()
            }),
        ),
        (
            "a bit of the signature",
            Box::new(|body| {
                let own = unsigned(body).unwrap().unwrap();
                let mut bytes = own.signature.to_vec();
                *bytes.last_mut().unwrap() ^= 1;
                signed(&own.body, &bytes).unwrap()
            }),
        ),
        ("no signature", Box::new(|body| unsigned(body).unwrap().unwrap().body)),
    ];
    for (what, forge) in &forgeries {
        for (file, body) in &originals {
            fs::write(file, forge(body)).unwrap();
        }
        for rule in ["", "|signatures=optional"] {
            let reader = team.reader(&[&public], &format!("|read-only{rule}"));
            let (hits, misses, refused) = team.seen_by(&reader, &made);
            let is_taken = *what == "no signature" && !rule.is_empty();
            let expected = if is_taken { (1, 0) } else { (0, 1) };
            assert_eq!((hits, misses), expected, "{what} {rule}: {}", reader.log());
            let is_damage = what.starts_with("replayed") && reader.of_tier(0, "damaged") > 0;
            assert_eq!(refused > 0 || is_damage, !is_taken, "{what} {rule}: {}", reader.log());
        }
    }
}

/// The same body, made at another time or in another namespace.
fn remade(body: &[u8], namespace: Option<&str>) -> Vec<u8> {
    use larder_engine::format::body::encode_from;
    use larder_engine::{Entry, Section};
    let head = Head::decode(body).unwrap();
    let sections = head.sections.iter().map(|info| {
        let (start, bytes) = head.stored_range(info);
        let stored = &body[start as usize..(start + bytes) as usize];
        let data = head.section_bytes(info, stored.into()).unwrap().into_owned();
        Section::new(info.kind.unwrap(), data).mode(info.mode).name(info.name.clone())
    });
    let kind = RecordKind::from_number(head.kind).unwrap();
    let mut entry = Entry::new(head.key, kind, sections.collect());
    entry.namespace = namespace.unwrap_or(&head.namespace).to_owned().into();
    let later = u64::from(namespace.is_none());
    encode_from(&entry, head.created_secs - later, None, Some(1)).unwrap()
}

#[test]
fn a_key_is_trusted_for_its_namespaces_only() {
    let team = Team::new();
    let public = team.make_key("ci");
    for (made_in, trusted_for, expected) in [
        ("main", " namespace=main", (1, 0)),
        ("main", " namespace=other namespace=main", (1, 0)),
        ("main", " namespace=other", (0, 1)),
        ("main", " namespace=", (0, 1)),
        ("", " namespace=", (1, 0)),
        ("", " namespace=main", (0, 1)),
    ] {
        let mut signer = team.signer("ci");
        signer.set("LARDER_NAMESPACE", made_in);
        let made = team.make(&signer);
        let mut reader = team.reader(&[&format!("{public}{trusted_for}")], "|read-only");
        reader.set("LARDER_NAMESPACE", made_in);
        let (hits, misses, refused) = team.seen_by(&reader, &made);
        assert_eq!((hits, misses), expected, "{made_in}{trusted_for}: {}", reader.log());
        assert_eq!(refused > 0, expected == (0, 1));
        fs::remove_dir_all(team.tier()).unwrap();
    }
}

/// A manifest that anybody can write must not come back with a signature.
#[test]
fn who_signs_adds_nothing_of_strangers() {
    let team = Team::new();
    let public = team.make_key("ci");
    let stranger = team.machine("");
    team.make(&stranger);
    let strange = bodies(&team.tier());
    let is_manifest = |body: &[u8]| Head::decode(body).unwrap().kind == RecordKind::Manifest as u8;
    let of_manifests = |all: &[(PathBuf, Vec<u8>)]| -> Vec<Key> {
        all.iter()
            .filter(|(_, body)| is_manifest(body))
            .map(|(_, b)| Head::decode(b).unwrap().key)
            .collect()
    };
    // The same unit, with another header: the manifest's key is the same, the results are two.
    team.sources.write("shared.h", "#define NUMBER 2\n");
    let signer = team.signer("ci");
    let made = team.make(&signer);
    assert_eq!(signer.counts(), (0, 1), "{}", signer.log());
    let now = bodies(&team.tier());
    assert_eq!(of_manifests(&strange), of_manifests(&now));
    let reader = team.reader(&[&public], "|read-only");
    assert_eq!(team.seen_by(&reader, &made), HIT, "{}", reader.log());
    // What the stranger's manifest led to is known to nobody who takes signed ones only.
    team.sources.write("shared.h", "#define NUMBER 1\n");
    let hits = reader.count("remote_storage_hit");
    reader.compile(&team.sources, "a");
    assert_eq!(reader.counts(), (1, 1), "{}", reader.log());
    assert_eq!(reader.count("remote_storage_hit"), hits);
    // Not even the key of the stranger's result was asked for.
    assert_eq!(reader.of_tier(0, "refused"), 0, "{}", reader.log());
}

/// Backfill carries signatures on, also by a machine that has no key.
#[test]
fn a_signature_outlives_the_store_of_a_reader() {
    let team = Team::new();
    let public = team.make_key("ci");
    let made = team.make(&team.signer("ci"));
    let near = team.dir.path().join("near");
    let tiers = format!("{} {}", file_tier(&near), file_tier(&team.tier()));
    let mut passing = Machine::new(&tiers);
    passing.set("LARDER_TRUSTED_KEYS", team.key("trusted").to_str().unwrap());
    fs::write(team.key("trusted"), format!("{public}\n")).unwrap();
    assert_eq!(team.seen_by(&passing, &made), HIT, "{}", passing.log());
    passing.flush();
    assert!(!bodies(&near).is_empty());
    let mut reader = Machine::new(&file_tier(&near));
    reader.set("LARDER_TRUSTED_KEYS", team.key("trusted").to_str().unwrap());
    assert_eq!(team.seen_by(&reader, &made), HIT, "{}", reader.log());
}

#[test]
fn keys_that_cannot_be_used_make_nothing_pass() {
    let team = Team::new();
    let public = team.make_key("ci");
    // A secret that others can read: nothing is written, and builds go on.
    let secret = team.key("ci");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let signer = team.signer("ci");
    let made = signer.compile(&team.sources, "a");
    assert_eq!(made.status, Some(0));
    signer.flush();
    assert!(files_of(&team.tier()).is_empty());
    assert!(signer.log().contains("nothing is written to tiers"), "{}", signer.log());
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    // Another agent answers: what was not written by then is written, signed, by the next one.
    team.make(&signer);
    let all = bodies(&team.tier());
    assert!(!all.is_empty() && all.iter().all(|(_, body)| unsigned(body).unwrap().is_some()));
    // A list of keys with a line that is none trusts nobody.
    let mut reader = team.machine("|read-only");
    let list = team.key("list");
    fs::write(&list, format!("{public}\n{public} namspace=x\n")).unwrap();
    reader.set("LARDER_TRUSTED_KEYS", list.to_str().unwrap());
    let (hits, misses, refused) = team.seen_by(&reader, &made);
    assert!((hits, misses) == (0, 1) && refused > 0, "{}", reader.log());
    assert!(reader.log().contains("nobody is trusted: "), "{}", reader.log());
    // One that is named and missing, too.
    let mut reader = team.machine("|read-only");
    reader.set("LARDER_TRUSTED_KEYS", team.key("missing").to_str().unwrap());
    assert_eq!(team.seen_by(&reader, &made).0, 0, "{}", reader.log());
}

#[test]
fn keys_are_made_shown_and_noted() {
    let team = Team::new();
    let public = team.make_key("ci");
    let secret = fs::read_to_string(team.key("ci")).unwrap();
    let seed = secret.split(' ').nth(1).unwrap();
    let mode = fs::metadata(team.key("ci")).unwrap().permissions().mode();
    assert_eq!((mode & 0o777, seed.len()), (0o600, 64));
    let mut machine = team.machine("");
    // Another key never takes the place of one.
    let again = machine.larder(&["key", "new", team.key("ci").to_str().unwrap()]);
    assert_eq!(
        (again.status.success(), fs::read_to_string(team.key("ci")).unwrap()),
        (false, secret.clone())
    );
    let words: Vec<&str> = ["key", "trust"].into_iter().chain(public.split(' ')).collect();
    for told in ["is trusted now", "is trusted already"] {
        let noted = machine.larder(&words);
        assert!(String::from_utf8_lossy(&noted.stdout).contains(told), "{noted:?}");
    }
    machine.set("LARDER_SIGNING_KEY", team.key("ci").to_str().unwrap());
    let shown = String::from_utf8(machine.larder(&["key", "show"]).stdout).unwrap();
    assert!(shown.contains(&format!("signs:   {public}\n")), "{shown}");
    assert!(shown.contains(&format!("trusted: {public}\n")), "{shown}");
    let json = machine.larder(&["key", "show", "--json"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["own"][0]["key"], public.as_str());
    assert_eq!(json["trusted"][0]["name"], "ci");
    assert!(!shown.contains(seed) && !json.to_string().contains(seed));
    for wrong in
        [&["key", "trust", "ssh-ed25519", "AAAA"][..], &["key", "trust", "larder-key-1", "00"]]
    {
        assert_eq!(machine.larder(wrong).status.code(), Some(2), "{wrong:?}");
    }
}
