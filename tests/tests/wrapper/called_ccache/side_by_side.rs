//! The same command lines through a real ccache (`CCACHE_REAL`, else the one that is installed) and
//! through larder called `ccache`, each twice: status, messages, files and what was counted. The
//! contents of files that no compiler makes twice are not compared ([`is_random`]).
//!
//! A call that ends otherwise has a row in [`MEANT`] with the reason, which docs/ccache.md tells.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use larder_tests::workspace_root;

use super::{House, compilers, real_ccache};

/// Sources of every call.
const SOURCES: &[(&str, &str)] = &[
    ("a.c", "#include \"h.h\"\nint f(void) { return X; }\n"),
    ("h.h", "#define X 1\n"),
    ("b.cc", "#include <cstddef>\nint g() { return 1; }\n"),
    ("main.c", "int main(void) { return 0; }\n"),
    ("conftest.c", "int main(void) { return 0; }\n"),
    ("warn.c", "int f(void) { int x; return 1; }\n"),
    ("err.c", "int f(void) { return y; }\n"),
    ("noinc.c", "#include \"nothere.h\"\n"),
    ("s.S", ".globl x\nx: .long 1\n"),
    ("s.s", ".globl x\nx: .long 1\n"),
    ("p.i", "int z;\n"),
    ("t.c", "const char *t = __TIME__;\n"),
    ("d.c", "const char *t = __DATE__;\n"),
    ("ts.c", "const char *t = __TIMESTAMP__;\n"),
    ("m.m", "int z;\n"),
    ("u.cu", "int z;\n"),
    ("dis.c", "// ccache:disable\nint z;\n"),
    ("inc.c", "__asm__(\".incbin \\\"h.h\\\"\");\n"),
    ("e.txt", "int z;\n"),
    ("rsp", "-O1 -c a.c"),
    ("rsp2", "@rsp -g"),
    ("rsp3", "-DZ=\"x y\" -c a.c"),
    ("x.h", "#define P 1\n"),
    ("m.cppm", "export module m;\nexport int f() { return 1; }\n"),
    ("im.cc", "import m;\nint g() { return f(); }\n"),
    ("unused.h", "static int f(void) { int x; return 1; }\n"),
    ("once.c", "#include \"unused.h\"\nint g(void) { return f(); }\n"),
    ("twice.h", "#include \"unused.h\"\n"),
    ("twice.c", "#include \"twice.h\"\nint g(void) { return f(); }\n"),
];

/// A call: what it is called, its words behind the compiler, and its variables. Words are parted
/// by blanks, as are variables; a `;` stands between calls that belong together.
type Case = (&'static str, &'static str, &'static str);

const COMPILES: &[Case] = &[
    ("an object", "-c a.c", ""),
    ("a named object", "-c a.c -o x.o", ""),
    ("a joined name", "-c a.c -ox.o", ""),
    ("C++", "-c b.cc", ""),
    ("options behind the source", "b.cc -c", ""),
    ("debug information", "-g -c a.c", ""),
    ("split dwarf", "-g -gsplit-dwarf -c a.c", ""),
    ("optimisation", "-O2 -c a.c", ""),
    ("a standard", "-std=c99 -pedantic -c a.c", ""),
    ("warnings", "-Wall -c warn.c", ""),
    ("warnings as errors", "-Wall -Werror -c warn.c", ""),
    ("an error", "-c err.c", ""),
    ("a header that is missing", "-c noinc.c", ""),
    ("assembler text", "-S a.c", ""),
    ("named assembler text", "-S a.c -o q.s", ""),
    ("assembler", "-c s.s", ""),
    ("assembler with directives", "-c s.S", ""),
    ("preprocessed text", "-c p.i", ""),
    ("a date", "-c d.c", ""),
    ("a timestamp", "-c ts.c", ""),
    ("a forced header", "-include h.h -c main.c", ""),
    ("a directory of headers", "-I. -c a.c", ""),
    ("macros", "-DX -UX -c main.c", ""),
    ("another language", "-x c++ -c a.c", ""),
    ("a language for a text", "-x c -c e.txt", ""),
    ("a response file", "@rsp", ""),
    ("an option for the linker", "-Wl,-z,now -c a.c", ""),
    ("a library", "-lm -c a.c", ""),
    ("a directory of libraries", "-L. -c a.c", ""),
    ("a shared object", "-shared -c a.c", ""),
    ("a pipe", "-pipe -c a.c", ""),
    ("a seed", "-frandom-seed=1 -c a.c", ""),
    ("this machine", "-march=native -c a.c", ""),
    ("a map of prefixes", "-fdebug-prefix-map=/a=/b -g -c a.c", ""),
    ("a macro for the preprocessor", "-Wp,-DX2=3 -c a.c", ""),
    ("an option that is skipped", "--ccache-skip -DX2 -c a.c", ""),
    ("an unknown option that is skipped", "--ccache-skip -fno-canonical-system-headers -c p.i", ""),
];

const DEPENDENCIES: &[Case] = &[
    ("dependencies", "-MD -c a.c", ""),
    ("dependencies without the system", "-MMD -c a.c", ""),
    ("a named dependency file", "-MMD -MF x.d -c a.c", ""),
    ("a target", "-MD -MT foo -c a.c", ""),
    ("a quoted target", "-MD -MQ foo -c a.c", ""),
    ("phony targets", "-MD -MP -c a.c", ""),
    ("dependencies by the preprocessor", "-Wp,-MD,x.d -c a.c", ""),
    ("a dependency file nobody asked for", "-MF x.d -c a.c", ""),
    ("stack usage", "-fstack-usage -c a.c", ""),
    ("serialized diagnostics", "--serialize-diagnostics x.dia -c a.c", ""),
];

const RULES: &[Case] = &[
    ("targets", "-MD -MF x.d -MT a -MQ b -c a.c", ""),
    ("joined targets", "-MMD -MFx.d -MTa -c a.c", ""),
    ("rules for an object of two suffixes", "-MD -o x.y.o -c a.c", ""),
    ("rules on standard output", "-MD -MF - -c a.c", ""),
    ("rules for nobody", "-MD -MF /dev/null -c a.c", ""),
    ("a target by the preprocessor", "-Wp,-MMD,x.d,-MT,y -c a.c", ""),
    ("a target beside the preprocessor's rules", "-Wp,-MD,x.d -MT z -c a.c", ""),
    ("generated headers", "-MD -MG -c a.c", ""),
    ("a response file in another", "@rsp2", ""),
    ("a response file with quotes", "@rsp3", ""),
    ("a response file that is missing", "@nothere -c a.c", ""),
    ("a language that ends", "-x c++ -c a.c -x none", ""),
    ("a joined language", "-xc -c e.txt", ""),
    ("a language for preprocessed text", "-x cpp-output -c p.i", ""),
    ("a language for assembler", "-x assembler-with-cpp -c s.S", ""),
    ("preprocessing into a file", "-E a.c -o x.i", ""),
    ("macros alone", "-E -dM a.c", ""),
    ("preprocessing standard input", "-E -x c -", ""),
    ("assembler text with debug information", "-S -g a.c", ""),
    ("named split dwarf", "-gsplit-dwarf -g -c a.c -o x.o", ""),
    ("intermediate files here", "-save-temps=cwd -c a.c", ""),
    ("syntax of C++", "-fsyntax-only b.cc", ""),
    ("a link of two sources", "a.c main.c -o prog", ""),
    ("a link of an object", "-c main.c ; main.o -o prog", ""),
    ("a link of an object and a source", "-c a.c ; a.o main.c -o prog", ""),
    ("a link of a source and an object", "-c a.c ; main.c a.o -o prog", ""),
    ("a link of nothing", "nothere.o -o prog", ""),
    ("a link of standard input", "-x c - -o prog", ""),
    ("a link with a library", "main.c -lm -o prog", ""),
    ("a link of a shared object", "-shared -fPIC a.c -o x.so", ""),
    ("two files of which one is no source", "-c main.c e.txt", ""),
];

const PRECOMPILED: &str = "CCACHE_SLOPPINESS=pch_defines,time_macros";

const OUTPUTS: &[Case] = &[
    ("a precompiled header", "-x c-header -c x.h -o x.h.gch", ""),
    ("a sloppy precompiled header", "-x c-header -c x.h -o x.h.gch", PRECOMPILED),
    ("a precompiled header without a name", "-c x.h", ""),
    ("a sloppy precompiled header without a name", "-c x.h", PRECOMPILED),
    ("a use of it", "-x c-header -c x.h -o x.h.gch ; -include x.h -c main.c", ""),
    ("a sloppy use of it", "-x c-header -c x.h -o x.h.gch ; -include x.h -c main.c", PRECOMPILED),
    (
        "a use of it as ccache's manual has it",
        "-x c-header -c x.h -o x.h.gch ; -fpch-preprocess -include x.h -c main.c",
        PRECOMPILED,
    ),
    ("coverage", "--coverage -c a.c", ""),
    ("counted arcs", "-fprofile-arcs -c a.c", ""),
    ("notes of coverage", "-ftest-coverage -c a.c", ""),
    ("named coverage", "-fprofile-arcs -ftest-coverage -c a.c -o x.o", ""),
    ("a profile to be", "-fprofile-generate -c a.c", ""),
    ("a profile to be in a directory", "-fprofile-generate=dir -c a.c", ""),
    ("a profile of clang", "-fprofile-instr-generate -c a.c", ""),
    ("link-time optimisation", "-flto -c a.c", ""),
    ("link-time optimisation by name", "-flto=auto -c a.c", ""),
    ("thin link-time optimisation", "-flto=thin -c a.c", ""),
    ("code of LLVM", "-emit-llvm -c a.c", ""),
    ("text of LLVM", "-emit-llvm -S a.c", ""),
    ("the analyser of clang", "--analyze a.c", ""),
    ("the analyser of clang for an object", "--analyze -c a.c", ""),
    ("the analyser of gcc", "-fanalyzer -c a.c", ""),
    ("C++20", "-std=c++20 -c b.cc", ""),
    ("modules of gcc", "-std=c++20 -fmodules-ts -x c++ -c m.cppm", ""),
    ("a module", "-std=c++20 --precompile m.cppm -o m.pcm", ""),
    ("an object of a module", "-std=c++20 -c m.cppm", ""),
    (
        "a module that is named",
        "-std=c++20 --precompile m.cppm -o m.pcm ; -std=c++20 -fmodule-file=m=m.pcm -c im.cc",
        "",
    ),
    ("modules of headers", "-fmodules -fmodules-cache-path=mc -c a.c", ""),
];

const REFUSALS: &[Case] = &[
    ("a link", "main.c", ""),
    ("a named link", "main.c -o prog", ""),
    ("a configure test", "conftest.c", ""),
    ("preprocessing", "-E a.c", ""),
    ("rules alone", "-M a.c", ""),
    ("rules without the system", "-MM a.c", ""),
    ("two sources", "-c a.c main.c", ""),
    ("no source", "-c", ""),
    ("a source that is missing", "-c zz.c", ""),
    ("standard input", "-c -x c -", ""),
    ("standard output", "-S a.c -o -", ""),
    ("a directory that is missing", "-c a.c -o nodir/x.o", ""),
    ("a device", "-c a.c -o /dev/null", ""),
    ("an unknown language", "-x foo -c a.c", ""),
    ("an unknown suffix", "-c e.txt", ""),
    ("intermediate files", "-save-temps -c a.c", ""),
    ("intermediate files beside", "-save-temps=obj -c a.c", ""),
    ("a profile that is missing", "-fprofile-use -c a.c", ""),
    ("a named profile that is missing", "-fprofile-use=x.profdata -c a.c", ""),
    ("the version", "--version", ""),
    ("a program's name", "-print-prog-name=as", ""),
    ("nothing", "", ""),
    ("an unknown option", "--nonsense -c a.c", ""),
    ("a plugin that is missing", "-fplugin=missing -c a.c", ""),
    ("two objects", "-c a.c -o x.o -o y.o", ""),
    ("a listing", "-Wa,-a=x.lst -c s.S", ""),
    ("an assembler include", "-c inc.c", ""),
    ("a time", "-c t.c", ""),
    ("Objective-C", "-c m.m", ""),
    ("CUDA", "-c u.cu", ""),
    ("a source that does not want it", "-c dis.c", ""),
    ("a macro by -Xpreprocessor", "-Xpreprocessor -DY -c a.c", ""),
    ("a variable for dependencies", "-c a.c", "DEPENDENCIES_OUTPUT=x.d"),
    ("another variable for them", "-c a.c", "SUNPRO_DEPENDENCIES=x.d"),
    ("syntax alone", "-fsyntax-only a.c", ""),
];

const SETTINGS: &[Case] = &[
    ("recache", "-c a.c", "CCACHE_RECACHE=1"),
    ("read_only", "-c a.c", "CCACHE_READONLY=1"),
    ("read_only_direct", "-c a.c", "CCACHE_READONLY_DIRECT=1"),
    ("no direct mode", "-c a.c", "CCACHE_NODIRECT=1"),
    ("depend mode", "-MD -c a.c", "CCACHE_DEPEND=1"),
    ("depend mode without rules", "-c a.c", "CCACHE_DEPEND=1"),
    ("disable", "-c a.c", "CCACHE_DISABLE=1"),
    ("a file that is missing", "-c a.c", "CCACHE_EXTRAFILES=nothere"),
    ("a file", "-c a.c", "CCACHE_EXTRAFILES=e.txt"),
    ("a text for the compiler", "-c a.c", "CCACHE_COMPILERCHECK=string:x"),
    ("a check that fails", "-c a.c", "CCACHE_COMPILERCHECK=false"),
    ("a check by content", "-c a.c", "CCACHE_COMPILERCHECK=content"),
    ("no check", "-c a.c", "CCACHE_COMPILERCHECK=none"),
    ("a prefix", "-c a.c", "CCACHE_PREFIX=env"),
    ("a prefix of a link", "main.c", "CCACHE_PREFIX=env"),
    ("a prefix that is missing", "-c a.c", "CCACHE_PREFIX=nonexisting"),
    ("a prefix of the preprocessor", "-c a.c", "CCACHE_PREFIX_CPP=env"),
    ("another compiler", "-c a.c", "CCACHE_COMPILER=cc"),
    ("another path", "-c a.c", "CCACHE_PATH=/nowhere"),
    ("no statistics", "-c a.c", "CCACHE_NOSTATS=1"),
    ("sloppy times", "-S d.c", "CCACHE_SLOPPINESS=time_macros"),
    ("a base", "-c a.c", "CCACHE_BASEDIR=/tmp"),
    ("a namespace", "-c a.c", "CCACHE_NAMESPACE=x"),
    ("ignored options", "-DZ -c a.c", "CCACHE_IGNOREOPTIONS=-D*"),
    ("no compression", "-c a.c", "CCACHE_NOCOMPRESS=1"),
    ("absolute names of files", "-Wall -c ./warn.c", "CCACHE_ABSSTDERR=1"),
    ("absolute names in an error", "-c err.c", "CCACHE_ABSSTDERR=1"),
    ("absolute names of a header", "-Wall -c once.c", "CCACHE_ABSSTDERR=1"),
    ("absolute names of headers in headers", "-Wall -c twice.c", "CCACHE_ABSSTDERR=1"),
    ("absolute names in no call that is cached", "-Wall warn.c", "CCACHE_ABSSTDERR=1"),
    ("a wrong switch", "-c a.c", "CCACHE_DISABLE=0"),
    ("a wrong size", "-c a.c", "CCACHE_MAXSIZE=much"),
    ("a wrong base", "-c a.c", "CCACHE_BASEDIR=relative"),
];

/// Calls that end otherwise and are meant to: the call, the compiler (or none for all), and the
/// reason, which stands in docs/ccache.md.
const MEANT: &[(&str, &str, &str)] = &[
    ("a dependency file nobody asked for", "", "`-MF` without `-MD`"),
    ("serialized diagnostics", "gcc", "options that no compiler of this name has"),
    ("a device", "", "`-o /dev/null`"),
    ("a profile that is missing", "clang", "a profile that is missing"),
    ("an unknown option", "", "options that larder does not know"),
    ("a plugin that is missing", "", "options that larder does not know"),
    ("an unknown option that is skipped", "clang", "options that no compiler of this name has"),
    ("two objects", "", "two `-o`"),
    ("a listing", "", "options that larder does not know"),
    ("an assembler include", "", "`.incbin`"),
    ("a time", "", "`__TIME__`"),
    ("Objective-C", "", "Objective-C and CUDA"),
    ("CUDA", "", "Objective-C and CUDA"),
    ("a source that does not want it", "", "`ccache:disable`"),
    ("a macro by -Xpreprocessor", "", "`-Xpreprocessor`"),
    ("a variable for dependencies", "", "`DEPENDENCIES_OUTPUT`"),
    ("another variable for them", "", "`DEPENDENCIES_OUTPUT`"),
    ("recache", "", "`recache`"),
    ("rules on standard output", "", "`-MF -` and `-MF /dev/null`"),
    ("rules for nobody", "", "`-MF -` and `-MF /dev/null`"),
    ("a target by the preprocessor", "", "targets for `-Wp,-MD`"),
    ("a target beside the preprocessor's rules", "", "targets for `-Wp,-MD`"),
    ("generated headers", "", "`-MG`"),
    ("a precompiled header without a name", "clang", "a header that clang precompiles"),
    ("a sloppy precompiled header without a name", "clang", "a header that clang precompiles"),
    ("a use of it as ccache's manual has it", "clang", "options that larder does not know"),
    ("a profile of clang", "gcc", "options that no compiler of this name has"),
    ("thin link-time optimisation", "gcc", "options that no compiler of this name has"),
    ("code of LLVM", "gcc", "options that no compiler of this name has"),
    ("text of LLVM", "gcc", "options that no compiler of this name has"),
    ("code of LLVM", "clang", "`-emit-llvm`"),
    ("text of LLVM", "clang", "`-emit-llvm`"),
    ("the analyser of clang", "", "`--analyze`"),
    ("the analyser of clang for an object", "", "`--analyze`"),
    ("modules of gcc", "", "C++20 modules"),
    ("a module", "", "C++20 modules"),
    ("an object of a module", "", "C++20 modules"),
    ("a module that is named", "", "C++20 modules"),
    ("absolute names of headers in headers", "gcc", "`absolute_paths_in_stderr`"),
    ("a prefix that is missing", "", "`prefix_command` that is missing"),
];

/// What a call leaves.
#[derive(PartialEq, Debug)]
struct Left {
    status: Option<i32>,
    stdout: String,
    stderr: String,
    files: BTreeMap<String, Vec<u8>>,
    counted: Vec<String>,
}

/// Runs a call twice, with a cache and a directory of its own.
fn twice(ccache: &Path, compiler: &str, case: &Case, at: &Path) -> Vec<Left> {
    // Objects have the name of the directory in them.
    let _ = fs::remove_dir_all(at);
    fs::create_dir_all(at.join("work")).unwrap();
    for (name, text) in SOURCES {
        fs::write(at.join("work").join(name), text).unwrap();
    }
    super::age(&at.join("work"));
    (0..2).map(|_| once(ccache, compiler, case, at)).collect()
}

fn once(ccache: &Path, compiler: &str, (_, words, variables): &Case, at: &Path) -> Left {
    let log = at.join("stats.log");
    let _ = fs::remove_file(&log);
    let run = |words: &str| {
        let mut command = super::clean(ccache, at);
        command.current_dir(at.join("work")).arg(compiler).args(words.split_whitespace());
        command.env("CCACHE_DIR", at.join("cache")).env("CCACHE_STATSLOG", &log);
        command.envs(variables.split_whitespace().filter_map(|word| word.split_once('=')));
        command.stdin(Stdio::null()).output().unwrap()
    };
    let output = words.split(" ; ").map(run).last().unwrap();
    let text = fs::read_to_string(log).unwrap_or_default();
    let is_source = |name: &str| SOURCES.iter().any(|(known, _)| *known == name);
    let files = fs::read_dir(at.join("work")).unwrap().map(|entry| entry.unwrap());
    let files = files.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    Left {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        files: files
            .filter(|(name, _)| !is_source(name))
            .map(|(name, path)| match is_random(compiler, words, &name) || path.is_dir() {
                true => (name, Vec::new()),
                false => (name, fs::read(path).unwrap()),
            })
            .collect(),
        counted: text.lines().map(str::to_owned).collect(),
    }
}

/// Whether a file is another one each time that it is made.
fn is_random(compiler: &str, words: &str, name: &str) -> bool {
    let stamped = ["--coverage", "-ftest-coverage", "-fprofile-", "-flto"];
    compiler == "gcc" && (name.ends_with(".gch") || stamped.iter().any(|word| words.contains(word)))
        || name.ends_with(".gch") && words.contains("-x c-header")
}

/// What differs, as lines.
fn differences(real: &[Left], larder: &[Left]) -> Vec<String> {
    let mut lines = Vec::new();
    for (round, (real, larder)) in real.iter().zip(larder).enumerate() {
        let mut tell = |what: &str, real: String, larder: String| {
            if real != larder {
                lines.push(format!("  round {round}, {what}: {real} here, {larder} with larder"));
            }
        };
        tell("status", format!("{:?}", real.status), format!("{:?}", larder.status));
        tell("stdout", real.stdout.clone(), larder.stdout.clone());
        tell("stderr", real.stderr.clone(), larder.stderr.clone());
        tell("counted", real.counted.join(" "), larder.counted.join(" "));
        let names = |left: &Left| left.files.keys().cloned().collect::<Vec<_>>().join(" ");
        tell("files", names(real), names(larder));
        for (name, bytes) in &real.files {
            if larder.files.get(name).is_some_and(|other| other != bytes) {
                tell("contents", name.clone(), "others".to_owned());
            }
        }
    }
    lines
}

fn is_meant(case: &str, compiler: &str) -> bool {
    let mut rows = MEANT.iter().filter(|(known, ..)| *known == case);
    rows.any(|(_, only, _)| only.is_empty() || *only == compiler)
}

#[track_caller]
fn check(cases: &[Case]) {
    let Some(real) = real_ccache() else { return };
    let house = House::new();
    let at: PathBuf = house.dir.path().join("side");
    let mut complaints = Vec::new();
    for compiler in compilers() {
        for case in cases {
            let theirs = twice(&real, compiler, case, &at);
            let ours = twice(&house.ccache(), compiler, case, &at);
            let found = differences(&theirs, &ours);
            if !found.is_empty() && !is_meant(case.0, compiler) {
                complaints.push(format!("{compiler}: {} {case:?}", case.0));
                complaints.extend(found);
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn compiles_end_the_same() {
    check(COMPILES);
}

#[test]
fn dependencies_and_side_outputs_end_the_same() {
    check(DEPENDENCIES);
}

#[test]
fn rules_and_links_end_the_same() {
    check(RULES);
}

#[test]
fn further_outputs_end_the_same() {
    check(OUTPUTS);
}

#[test]
fn refusals_are_counted_the_same() {
    check(REFUSALS);
}

#[test]
fn settings_do_the_same() {
    check(SETTINGS);
}

#[test]
fn each_difference_that_is_meant_is_told() {
    let all = [COMPILES, DEPENDENCIES, RULES, OUTPUTS, REFUSALS, SETTINGS].concat();
    let told = fs::read_to_string(workspace_root().join("docs/ccache.md")).unwrap();
    let below = told.split("## Calls that end otherwise").nth(1).expect("the document has it");
    let table = below.split("\n## ").next().unwrap();
    for (case, _, reason) in MEANT {
        assert!(all.iter().any(|(known, ..)| known == case), "{case}");
        assert!(table.contains(&format!("| {reason}")), "{reason}");
    }
    let names: std::collections::BTreeSet<_> = all.iter().map(|case| case.0).collect();
    assert_eq!(names.len(), all.len());
}
