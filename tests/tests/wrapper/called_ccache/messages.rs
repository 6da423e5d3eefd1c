//! Messages with absolute names of files, where `absolute_paths_in_stderr` asks for them.

use super::{House, assert_good, compilers, text};

const ABSOLUTE: (&str, &str) = ("CCACHE_ABSSTDERR", "1");

/// A checkout with a file that is warned of.
fn checkout(house: &House, name: &str) {
    house.write(&format!("{name}/sub/a.h"), "static int f(void) { int x; return 1; }\n");
    house.write(&format!("{name}/a.c"), "#include \"sub/a.h\"\nint g(void) { return f(); }\n");
}

/// Compiles there; what is said, and whether it was a direct hit.
#[track_caller]
fn compile(
    house: &House,
    compiler: &str,
    name: &str,
    words: &[&str],
    variables: &[(&str, &str)],
) -> (String, bool) {
    house.counted();
    let mut command = house.command(&house.ccache());
    command.current_dir(house.at(name)).arg(compiler).args(["-Wall", "-c", "a.c"]).args(words);
    let output = command.envs(variables.iter().copied()).output().unwrap();
    assert_good(&output);
    (text(&output.stderr).to_owned(), house.count("direct_cache_hit") == 1)
}

/// What is stored is what the compiler wrote: the setting is in no key, and each directory gets its
/// own names.
#[test]
fn names_are_those_of_the_directory_that_asks() {
    for compiler in compilers() {
        let house = House::new();
        let root = house.dir.path().canonicalize().unwrap();
        let base = root.display().to_string();
        ["one", "two"].iter().for_each(|name| checkout(&house, name));
        let plain = compile(&house, compiler, "one", &[], &[]).0;
        assert!(plain.contains("sub/a.h:1:") && !plain.contains(&base), "{plain}");
        let mut hits = Vec::new();
        for variables in [&[ABSOLUTE][..], &[ABSOLUTE, ("CCACHE_BASEDIR", &base)]] {
            for name in ["one", "two", "one"] {
                let (said, is_hit) = compile(&house, compiler, name, &[], variables);
                let here = root.join(name).display().to_string();
                let told = format!("{here}/sub/a.h:1:");
                assert!(said.lines().any(|line| line.starts_with(&told)), "{compiler}: {said}");
                let other = root.join(if name == "one" { "two" } else { "one" });
                assert!(!said.contains(&other.display().to_string()), "{compiler}: {said}");
                let relative = said.replace(&format!("{here}/"), "");
                assert_eq!(relative, plain.replace("./", ""), "{compiler}");
                hits.push(is_hit);
            }
        }
        // Only with a base do the two share, under keys of their own.
        assert_eq!(hits, [true, false, true, false, true, true], "{compiler}");
        assert_eq!(compile(&house, compiler, "two", &[], &[]), (plain, true), "{compiler}");
    }
}

#[test]
fn colours_stay() {
    for compiler in compilers() {
        let house = House::new();
        checkout(&house, "one");
        let words = ["-fdiagnostics-color=always"];
        let plain = compile(&house, compiler, "one", &words, &[]).0;
        assert!(plain.contains("\x1b["), "{plain}");
        let (said, is_hit) = compile(&house, compiler, "one", &words, &[ABSOLUTE]);
        let here = house.at("one").canonicalize().unwrap().display().to_string();
        assert!(is_hit && said.contains(&format!("{here}/sub/a.h:1:")), "{said}");
        assert_eq!(said.replace(&format!("{here}/"), ""), plain.replace("./", ""));
    }
}
