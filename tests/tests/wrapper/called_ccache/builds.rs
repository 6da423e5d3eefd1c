//! Build systems that look for `ccache`, with a link of that name first in `PATH`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use larder_tests::find_or_skip;

use super::{House, assert_good};

fn project(house: &House) {
    house.write("work/one.c", "int one(void) { return 1; }\n");
    house.write("work/main.c", "int one(void);\nint main(void) { return one() - 1; }\n");
}

/// Runs a command of a build.
#[track_caller]
fn step(house: &House, words: &[&str]) {
    let mut command = command(house, words);
    assert_good(&command.output().unwrap());
}

fn command(house: &House, words: &[&str]) -> Command {
    let program = find_or_skip(words[0]).expect("it was looked for");
    let mut command = house.command(&program);
    command.args(&words[1..]).env("PATH", house.path(&["bin"]));
    command
}

/// Builds twice; everything of the second build is a hit.
#[track_caller]
fn check_builds(house: &House, steps: &[&[&str]]) {
    for round in 0..2 {
        let _ = fs::remove_dir_all(house.at("work/build"));
        steps.iter().for_each(|words| step(house, words));
        let counted = house.counted();
        let project: Vec<_> = counted.split(|line| line.starts_with('#')).collect();
        let has = |name: &str| {
            project.iter().filter(|lines| lines.iter().any(|line| line == name)).count()
        };
        let (hits, misses) = (has("direct_cache_hit"), has("cache_miss"));
        match round {
            0 => assert!(misses >= 2 && hits == 0, "{counted:?}"),
            _ => assert!(hits >= 2 && misses == 0, "{counted:?}"),
        }
    }
}

#[test]
fn cmake_takes_it_for_a_launcher() {
    if find_or_skip("cmake").is_none() || find_or_skip("ninja").is_none() {
        return;
    }
    let house = House::new();
    project(&house);
    house.write(
        "work/CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.10)\nproject(p C)\nadd_executable(p one.c main.c)\n",
    );
    let launcher = "-DCMAKE_C_COMPILER_LAUNCHER=ccache";
    let configure = ["cmake", "-S", ".", "-B", "build", "-G", "Ninja", launcher];
    check_builds(&house, &[&configure, &["ninja", "-C", "build"]]);
}

#[test]
fn a_cmake_project_that_looks_for_ccache_finds_it() {
    if find_or_skip("cmake").is_none() || find_or_skip("ninja").is_none() {
        return;
    }
    let house = House::new();
    project(&house);
    house.write(
        "work/CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.10)\nproject(p C)\nfind_program(CCACHE ccache)\n\
         if(NOT CCACHE)\n  message(FATAL_ERROR none)\nendif()\n\
         set_property(GLOBAL PROPERTY RULE_LAUNCH_COMPILE \"${CCACHE}\")\n\
         add_executable(p one.c main.c)\n",
    );
    let configure = ["cmake", "-S", ".", "-B", "build", "-G", "Unix Makefiles"];
    if find_or_skip("make").is_some() {
        check_builds(&house, &[&configure, &["make", "-C", "build"]]);
    }
}

/// With the sloppiness that ccache wants for it. Warm calls are hits, a changed header is seen, and
/// objects are those of a build without a cache.
#[test]
fn cmake_precompiles_a_header() {
    if find_or_skip("cmake").is_none() || find_or_skip("ninja").is_none() {
        return;
    }
    for compiler in ["gcc", "clang"].into_iter().filter(|name| find_or_skip(name).is_some()) {
        let house = House::new();
        project(&house);
        house.write("work/all.h", "#define TWO 2\n");
        house.write("work/two.c", "int two(void) { return TWO; }\n");
        house.write("cache/ccache.conf", "sloppiness = pch_defines,time_macros\n");
        house.write(
            "work/CMakeLists.txt",
            "cmake_minimum_required(VERSION 3.16)\nproject(p C)\n\
             add_executable(p one.c two.c main.c)\n\
             target_precompile_headers(p PRIVATE all.h)\n",
        );
        let chosen = format!("-DCMAKE_C_COMPILER={compiler}");
        let plain = ["cmake", "-S", ".", "-B", "build", "-G", "Ninja", &chosen];
        let cached = [&plain[..], &["-DCMAKE_C_COMPILER_LAUNCHER=ccache"]].concat();
        let build = ["ninja", "-C", "build"];
        let objects = || {
            let directory = house.at("work/build/CMakeFiles/p.dir");
            ["one", "two", "main"].map(|name| fs::read(directory.join(format!("{name}.c.o"))))
        };
        check_builds(&house, &[&cached, &build]);
        let first = objects().map(Result::unwrap);
        house.write("work/all.h", "#define TWO 22\n");
        step(&house, &build);
        let second = objects().map(Result::unwrap);
        assert_ne!(first[1], second[1]);
        for (text, wanted) in [("#define TWO 2\n", first), ("#define TWO 22\n", second)] {
            house.write("work/all.h", text);
            fs::remove_dir_all(house.at("work/build")).unwrap();
            step(&house, &plain);
            step(&house, &build);
            assert!(objects().map(Result::unwrap) == wanted, "{compiler}: {text}");
        }
    }
}

#[test]
fn meson_finds_it_by_itself() {
    if find_or_skip("meson").is_none() || find_or_skip("ninja").is_none() {
        return;
    }
    let house = House::new();
    project(&house);
    house.write("work/meson.build", "project('p', 'c')\nexecutable('p', 'one.c', 'main.c')\n");
    check_builds(&house, &[&["meson", "setup", "build"], &["ninja", "-C", "build"]]);
}

/// A toolchain wrapper that stands before the compiler, and puts ccache before it, as Buildroot's
/// does: the cache, a text for the compiler and the base directory are variables.
#[test]
fn a_toolchain_wrapper_puts_it_before_the_compiler() {
    let Some(gcc) = find_or_skip("gcc") else { return };
    let house = House::new();
    project(&house);
    let (ccache, cache) = (house.ccache(), house.at("br-cache"));
    house.script(
        "host/bin/x86_64-buildroot-linux-gnu-gcc",
        &format!(
            "#!/bin/sh\nexport CCACHE_DIR=\"{}\"\nexport CCACHE_COMPILERCHECK=\"string:0123abcd\"\n\
             export CCACHE_BASEDIR=\"{}\"\nexec {} {} \"$@\"\n",
            cache.display(),
            house.dir.path().display(),
            ccache.display(),
            gcc.display(),
        ),
    );
    let compiler = house.at("host/bin/x86_64-buildroot-linux-gnu-gcc");
    for directory in ["work", "other"] {
        house.write(&format!("{directory}/one.c"), "int one(void) { return 1; }\n");
        let mut command = house.command(&compiler);
        command.current_dir(house.at(directory)).args(["-c", "one.c", "-o", "one.o"]);
        assert_good(&command.output().unwrap());
    }
    let counted = house.counted();
    let count = |name: &str| counted.iter().filter(|known| *known == name).count();
    assert_eq!((count("cache_miss"), count("direct_cache_hit")), (1, 1), "{counted:?}");
    assert!(cache.join("larder").is_dir() && !house.at("cache").exists());
}

#[test]
fn a_directory_of_links_is_debians() {
    let house = House::new();
    project(&house);
    fs::create_dir_all(house.at("usr/lib/ccache")).unwrap();
    for name in ["gcc", "cc", "c++"] {
        symlink(Path::new("../../../bin/ccache"), house.at("usr/lib/ccache").join(name)).unwrap();
    }
    for _ in 0..2 {
        let mut command = house.command(Path::new("/bin/sh"));
        command.args(["-c", "cc -c one.c"]).env("PATH", house.path(&["usr/lib/ccache"]));
        assert_good(&command.output().unwrap());
    }
    assert_eq!(house.count("direct_cache_hit"), 1);
}
