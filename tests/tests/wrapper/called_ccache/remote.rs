//! `remote_storage` of a larder that is called `ccache`.

use super::*;

/// What an agent needs to be this test's alone, and to leave soon.
fn compile(house: &House, cache: &str, storage: &str) -> Vec<String> {
    let cache = house.at(cache).display().to_string();
    let run = house.at("run").display().to_string();
    fs::create_dir_all(&run).unwrap();
    let _ = fs::remove_file(house.at("work/a.o"));
    let variables = [
        ("CCACHE_REMOTE_STORAGE", storage),
        ("CCACHE_DIR", &cache),
        ("CCACHE_LOGFILE", &house.at("log").display().to_string()),
        ("XDG_RUNTIME_DIR", &run),
        ("LARDER_AGENT_IDLE_SECS", "1"),
    ];
    let output = house.run(&["gcc", "-c", "a.c"], &variables);
    assert_good(&output);
    assert!(output.stderr.is_empty() && house.at("work/a.o").exists());
    house.counted()
}

fn has(counted: &[String], name: &str) -> bool {
    counted.iter().any(|counter| counter == name)
}

#[test]
fn a_place_of_files_is_filled_and_answers_an_empty_cache() {
    let house = House::new();
    house.write("work/a.c", "int f(void) { return 1; }\n");
    fs::create_dir(house.at("far")).unwrap();
    let storage = format!("file:{}", house.at("far").display());
    let miss = compile(&house, "one", &storage);
    let names = ["cache_miss", "remote_storage_miss", "remote_storage_read_miss"];
    assert!(names.iter().all(|name| has(&miss, name)), "{miss:?}");
    let object = || fs::read(house.at("work/a.o")).unwrap();
    let compiled = object();
    // It is written behind; nothing else tells when.
    let storage = format!("{storage}|read-only|layout=flat");
    let hit = (0..100).find_map(|attempt| {
        let counted = compile(&house, &format!("two-{attempt}"), &storage);
        assert_eq!(object(), compiled);
        let is_hit = has(&counted, "remote_storage_hit");
        std::thread::sleep(Duration::from_millis(if is_hit { 0 } else { 100 }));
        is_hit.then_some((counted, format!("two-{attempt}")))
    });
    let (hit, cache) = hit.expect("the place is filled");
    assert!(has(&hit, "direct_cache_hit") && has(&hit, "remote_storage_read_hit"), "{hit:?}");
    assert!(has(&hit, "local_storage_miss") && !has(&hit, "local_storage_hit"), "{hit:?}");
    assert!(!has(&hit, "cache_miss") && !has(&hit, "remote_storage_miss"), "{hit:?}");
    // All of it stands below a name of larder's.
    let names = fs::read_dir(house.at("far")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["larder"]);
    let log = fs::read_to_string(house.at("log")).unwrap();
    assert!(log.contains("place 1 of remote_storage: layout is not applied"), "{log}");
    // Without the place it is a hit of the cache.
    fs::remove_dir_all(house.at("far")).unwrap();
    let local = compile(&house, &cache, &storage);
    assert!(has(&local, "local_storage_hit") && !has(&local, "remote_storage_hit"), "{local:?}");
    let mut command = house.command(&house.ccache());
    command.env("CCACHE_DIR", house.at(&cache)).arg("-s");
    let told = command.output().unwrap();
    let told = text(&told.stdout);
    // As a real one tells it: reads and writes at -v, errors if there are any.
    let (_, far) = told.split_once("Remote storage:\n").unwrap();
    let labels: Vec<_> = far.lines().map(|line| line.split(':').next().unwrap().trim()).collect();
    assert_eq!(labels, ["Hits", "Misses"]);
}

#[test]
fn a_place_that_cannot_be_used_or_reached_ends_no_compile() {
    let house = House::new();
    house.write("work/a.c", "int f(void) { return 1; }\n");
    let counted = compile(&house, "one", "tape://x");
    assert!(
        has(&counted, "cache_miss") && !has(&counted, "remote_storage_read_miss"),
        "{counted:?}"
    );
    let log = fs::read_to_string(house.at("log")).unwrap();
    assert!(log.contains("place 1 of remote_storage cannot be used"), "{log}");
    // Nobody mounted it.
    let nowhere = format!("file:{}", house.at("no/where").display());
    let counted = compile(&house, "two", &nowhere);
    assert!(has(&counted, "cache_miss") && !has(&counted, "remote_storage_hit"), "{counted:?}");
}
