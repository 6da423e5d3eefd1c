//! Tests of the tables and of the parser: what each option does to the key, and where the real
//! compilers put their outputs.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::flag::{Class, find};
use super::outputs::{Purpose, Side};
use super::parse::tables;
use super::words::{self, Part};
use super::{Compile, Family, Language, ModuleFile, clang, common, gcc, parse};
use crate::outcome::Counter;

const FAMILIES: [(Family, &str); 2] = [(Family::Gcc, "gcc"), (Family::Clang, "clang")];

/// A directory with sources, and subdirectories.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    for name in ["t.c", "u.c", "t.cc", "noext", "a.b.c", "t.i", "t.ii", "t.h", "t.m"] {
        fs::write(root.join(name), "int x;\nint f(void) { return x; }\n").unwrap();
    }
    for name in ["t.s", "t.S", "t.sx"] {
        fs::write(root.join(name), ".globl f\nf:\n").unwrap();
    }
    fs::write(root.join("f"), "").unwrap();
    fs::create_dir_all(root.join("d.x/sub")).unwrap();
    fs::write(root.join("d.x/v.c"), "int x;\n").unwrap();
    place
}

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect()
}

fn parsed_in(root: &Path, family: Family, line: &str) -> Result<Compile, Counter> {
    parse(family, None, &words(line), root).map_err(|reason| reason.counter)
}

fn parsed(line: &str) -> Result<Compile, Counter> {
    parsed_in(place().path(), Family::Gcc, line)
}

fn good(line: &str) -> Compile {
    parsed(line).unwrap_or_else(|counter| panic!("{line}: {counter:?}"))
}

fn refusal(line: &str) -> Counter {
    match parsed(line) {
        Ok(_) => panic!("{line} is taken"),
        Err(counter) => counter,
    }
}

fn object(compile: &Compile) -> &Path {
    &compile.outputs[0].path
}

#[test]
fn tables_are_sorted_and_name_each_flag_once() {
    for table in
        [common::FLAGS, gcc::FLAGS, clang::FLAGS, words::ASSEMBLER, words::FRONT_END, words::LLVM]
    {
        for pair in table.windows(2) {
            assert!(pair[0].spelling < pair[1].spelling, "{}", pair[1].spelling);
        }
    }
    for flag in gcc::FLAGS.iter().chain(clang::FLAGS) {
        let is_common = common::FLAGS.iter().any(|row| row.spelling == flag.spelling);
        assert!(!is_common, "{} is common too", flag.spelling);
    }
    for words in [clang::ANALYZER_OUTPUTS, clang::ANALYZER_WORDS] {
        assert!(words.is_sorted());
    }
}

#[test]
fn each_row_does_to_its_example_what_its_class_says() {
    let place = place();
    for (family, _) in FAMILIES {
        for flag in tables(family).into_iter().flatten() {
            let example = words(flag.example);
            let uses = |word: &&OsString| {
                find(tables(family), word.as_encoded_bytes())
                    .is_some_and(|found| found.spelling == flag.spelling)
            };
            assert!(
                example.iter().find(uses).is_some(),
                "{} hides {}",
                flag.example,
                flag.spelling
            );
            let verdict = parsed_in(place.path(), family, &format!("-c t.c {}", flag.example));
            check_verdict(flag.class, &example, verdict, flag.spelling);
        }
    }
}

/// Whether an example stands in the key, in the key after preprocessing, and among the arguments of
/// the preprocessor.
fn shares(compile: &Compile, example: &[OsString]) -> [bool; 3] {
    let lists = [
        &compile.key_arguments,
        &compile.key_arguments_after_preprocessing,
        &compile.preprocess_arguments,
    ];
    lists.map(|list| list.windows(example.len()).any(|part| part == example))
}

fn check_verdict(
    class: Class,
    example: &[OsString],
    verdict: Result<Compile, Counter>,
    spelling: &str,
) {
    if let Class::Uncached(counter, _) = class {
        assert_eq!(verdict, Err(counter), "{spelling}");
        return;
    }
    if class == Class::Specs {
        // gcc searches for a relative name; see `option_file`.
        assert_eq!(verdict, Err(Counter::UnsupportedCompilerOption), "{spelling}");
        return;
    }
    // The example's source is none of a module.
    let refused = match class {
        Class::Purpose(Purpose::Module) => Some(Counter::UnsupportedCompilerOption),
        Class::Side(Side::Module) => Some(Counter::CouldNotUseModules),
        _ => None,
    };
    if let Some(counter) = refused {
        assert_eq!(verdict, Err(counter), "{spelling}");
        return;
    }
    let compile = verdict.unwrap_or_else(|counter| panic!("{spelling}: {counter:?}"));
    let expected = match class {
        Class::LaterStage
        | Class::Words(Part::Assembler)
        | Class::Purpose(_)
        | Class::Side(_)
        | Class::OptimizationReport => [true, true, false],
        Class::PreprocessorOnly | Class::Forced | Class::Words(Part::Preprocessor) => {
            [true, false, true]
        }
        Class::Irrelevant | Class::Object | Class::Dependency(_) => [false, false, false],
        _ => [true, true, true],
    };
    assert_eq!(shares(&compile, example), expected, "{spelling}");
    match class {
        Class::Object => assert_eq!(object(&compile), "other.o"),
        Class::Dependency(_) => assert!(compile.depfile.is_some(), "{spelling}"),
        Class::DebugOn | Class::ShowsDirectory => assert!(compile.cwd_matters, "{spelling}"),
        Class::DebugOff => assert!(!compile.cwd_matters),
        Class::Color => assert!(compile.color_is_explicit, "{spelling}"),
        Class::Native => assert_eq!(compile.native, example),
        Class::Profile(_) => assert!(compile.cwd_matters, "{spelling}"),
        Class::UsesPrecompiled => assert!(compile.times_matter, "{spelling}"),
        Class::NamedFile => assert_eq!(compile.named_inputs, [PathBuf::from("f")]),
        Class::ModuleFile => {
            assert_eq!(compile.named_inputs, [PathBuf::from("f")]);
            assert_eq!(compile.module_files, [ModuleFile { name: None, path: "f".into() }]);
            assert!(compile.cwd_matters);
        }
        Class::ModuleMap => {
            let maps = ["f", "module.private.modulemap", "module_private.map"];
            assert_eq!(compile.named_inputs, maps.map(PathBuf::from));
        }
        _ => {}
    }
}

#[test]
fn the_key_keeps_order_and_boundaries() {
    let compile = good("-c -DA=1 -I inc -O2 t.c -o x.o -pipe -MD -MF x.d -Wall");
    assert_eq!(compile.key_arguments, words("-c -DA=1 -I inc -O2 t.c -Wall"));
    assert_eq!(compile.key_arguments_after_preprocessing, words("-c -O2 t.c -Wall"));
    assert_eq!(compile.preprocess_arguments, words("-E -DA=1 -I inc -O2 t.c -Wall"));
    assert_eq!(compile.arguments.len(), 13);
    assert_ne!(good("-c t.c -D AB").key_arguments, good("-c t.c -DAB").key_arguments);
    assert_ne!(good("-c t.c -O1 -O2").key_arguments, good("-c t.c -O2 -O1").key_arguments);
    let spaced = [OsString::from("-c"), "t.c".into(), "-DA=x y".into()];
    let key = parse(Family::Gcc, None, &spaced, place().path()).unwrap().key_arguments;
    assert_eq!(key, spaced);
}

#[test]
fn one_object_is_named_and_the_default_stands_in_the_working_directory() {
    assert_eq!(object(&good("-c t.c -ob.o")), "b.o");
    assert_eq!(refusal("-c t.c -o a.o -ob.o"), Counter::UnsupportedCompilerOption);
    assert_eq!(object(&good("-c d.x/v.c")), "v.o");
    assert_eq!(object(&good("-c a.b.c")), "a.b.o");
    assert_eq!(object(&good("-c -x c noext")), "noext.o");
}

#[test]
fn the_language_follows_x_and_the_suffix_and_the_driver() {
    assert_eq!(good("-c t.c").language, Language::C);
    assert_eq!(good("-c t.cc").language, Language::Cpp);
    assert_eq!(good("-x c++ -c t.c").language, Language::Cpp);
    assert_eq!(good("-x c++ -x none -c t.c").language, Language::C);
    assert_eq!(good("-c t.c -x c++").language, Language::C);
    let root = place();
    let by_driver = parse(Family::Gcc, Some(Language::Cpp), &words("-c t.c"), root.path());
    assert_eq!(by_driver.unwrap().language, Language::Cpp);
    for (line, language) in [
        ("-c t.i", Language::COutput),
        ("-c t.ii", Language::CppOutput),
        ("-c t.s", Language::Assembler),
        ("-c t.S", Language::AssemblerWithCpp),
        ("-c t.sx", Language::AssemblerWithCpp),
        ("-x assembler -c t.c", Language::Assembler),
        ("-x assembler-with-cpp -c t.s", Language::AssemblerWithCpp),
        ("-x cpp-output -c t.c", Language::COutput),
        ("-xc++-cpp-output -c t.c", Language::CppOutput),
    ] {
        assert_eq!(good(line).language, language, "{line}");
    }
    let by_driver = parse(Family::Gcc, Some(Language::Cpp), &words("-c t.i"), root.path());
    assert_eq!(by_driver.unwrap().language, Language::CppOutput);
    for line in ["-c t.m", "-c noext", "-x objective-c -c t.c"] {
        assert_eq!(refusal(line), Counter::UnsupportedSourceLanguage, "{line}");
    }
    let by_clang = parsed_in(root.path(), Family::Clang, "-c t.sx");
    assert_eq!(by_clang, Err(Counter::UnsupportedSourceLanguage));
}

#[test]
fn a_header_is_precompiled_beside_itself_or_where_it_is_said() {
    for (line, path) in [
        ("t.h", "t.h.gch"),
        ("-c t.h -MD -MF x", "t.h.gch"),
        ("-x c++-header t.c -o d.x/t.gch -MD", "d.x/t.gch"),
    ] {
        let compile = good(line);
        assert!(compile.precompiles() && compile.cwd_matters, "{line}");
        assert_eq!(object(&compile), path);
        assert!(compile.key_arguments.contains(&path.into()), "{line}");
    }
    for line in ["t.h -MD", "-S t.h", "-fsyntax-only t.h"] {
        assert_eq!(refusal(line), Counter::CouldNotUsePrecompiledHeader, "{line}");
    }
    for line in [
        "-c t.h --coverage",
        "-c t.h -g -gsplit-dwarf",
        "-c t.h -fstack-usage",
        "-c t.h -fprofile-use",
        "-S t.c -fprofile-use",
        "-fsyntax-only t.c -fprofile-generate",
    ] {
        assert_eq!(refusal(line), Counter::UnsupportedCompilerOption, "{line}");
    }
    assert_eq!(refusal("t.h u.c"), Counter::CalledForLink);
    let root = place();
    let by_clang = |line| parsed_in(root.path(), Family::Clang, line);
    assert_eq!(by_clang("-c t.h"), Err(Counter::CouldNotUsePrecompiledHeader));
    assert!(by_clang("t.h -o t.pch").unwrap().times_matter);
    let front_end = "-Xclang -emit-pch -Xclang -fno-pch-timestamp -x c++-header -c t.c -o t.pch";
    let compile = by_clang(front_end).unwrap();
    assert!(compile.precompiles() && !compile.times_matter);
    assert!(!compile.preprocess_arguments.contains(&"-emit-pch".into()));
}

#[test]
fn a_forced_header_of_clang_may_be_precompiled() {
    let root = place();
    let by_clang = || parsed_in(root.path(), Family::Clang, "-c t.c -include u.c").unwrap();
    assert_eq!(by_clang().named_inputs, [PathBuf::from("u.c.pch"), "u.c.gch".into()]);
    assert!(!by_clang().times_matter);
    fs::write(root.path().join("u.c.gch"), "").unwrap();
    let used = parsed_in(root.path(), Family::Clang, "-c t.c -Xclang -include-pch -Xclang x.pch");
    let used = used.unwrap();
    assert!(used.times_matter);
    assert_eq!(used.named_inputs, [PathBuf::from("x.pch")]);
    assert!(good("-c t.c -include u.c").named_inputs.is_empty());
}

/// Words after `-Xclang` and the like, as the real compilers take them.
#[test]
fn the_real_compilers_know_the_words_of_the_tables() {
    let cases = [
        ("clang", "-Xclang", words::FRONT_END),
        ("clang", "-mllvm", words::LLVM),
        ("gcc", "-Xassembler", words::ASSEMBLER),
    ];
    let root = place();
    for name in ["macros.h", "first.h"] {
        fs::write(root.path().join(name), "").unwrap();
    }
    for (compiler, option, table) in cases {
        let foreign = ["-mcpu=", "-meabi=", "-mfloat-abi=", "-mfpu=", "-mimplicit-it=", "-mthumb"];
        let special = ["-emit-pch", "-include-pch", "--x32", "--32", "-EB", "-EL"];
        let newer =
            ["-no-opaque-pointers", "-opaque-pointers", "-split-threshold-for-reg-with-hint="];
        let left_out = |flag: &&super::flag::Flag| {
            let uncached = matches!(flag.class, Class::Uncached(..));
            let is_foreign =
                foreign.contains(&flag.spelling) || flag.spelling.ends_with("deprecated");
            let is_left_out = special.contains(&flag.spelling) || newer.contains(&flag.spelling);
            !uncached && !is_foreign && !is_left_out
        };
        let mut command = Command::new(compiler);
        command.args(["-c", "t.c", "-O1"]).current_dir(root.path());
        for flag in table.iter().filter(left_out) {
            for word in words(flag.example) {
                command.arg(option).arg(word);
            }
        }
        match command.output() {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            Err(_) => println!("skipped: no {compiler}"),
        }
    }
}

#[test]
fn native_is_asked_for_with_all_that_is_about_the_machine() {
    let compile = good("-c t.c -O2 -march=native -mno-avx -m64");
    assert_eq!(compile.native, words("-march=native -mno-avx -m64"));
    assert_eq!(good("-c t.c -march=native+crypto").native.len(), 1);
    assert!(good("-c t.c -march=x86-64 -mavx").native.is_empty());
    let root = place();
    let line = "-c t.c -target x86_64-linux-gnu -mllvm -inline-threshold=1 -mtune=native";
    let compile = parsed_in(root.path(), Family::Clang, line).unwrap();
    let about = "-target x86_64-linux-gnu -mllvm -inline-threshold=1 -mtune=native";
    assert_eq!(compile.native, words(about));
}

#[test]
fn calls_that_make_no_single_object_are_told_apart() {
    for (line, counter) in [
        ("t.o -o t", Counter::CalledForLink),
        ("t.c -o t -march=native", Counter::CalledForLink),
        ("conftest.c -lm", Counter::AutoconfTest),
        ("-E conftest.c", Counter::CalledForPreprocessing),
        ("-c -MM t.c", Counter::CalledForPreprocessing),
        ("-c t.c u.c", Counter::MultipleSourceFiles),
        ("-c", Counter::NoInputFile),
        ("-c -xc -", Counter::NoInputFile),
        ("-c none.c", Counter::NoInputFile),
        ("-c d.x/sub -xc", Counter::UnsupportedSourceLanguage),
        ("-c -xc d.x/sub", Counter::BadInputFile),
        ("-v", Counter::UnsupportedCompilerOption),
        ("-c t.c --unheard-of", Counter::UnsupportedCompilerOption),
        ("-c t.c -o", Counter::BadCompilerArguments),
        ("-c @t.h", Counter::MultipleSourceFiles),
    ] {
        assert_eq!(refusal(line), counter, "{line}");
    }
}

#[test]
fn outputs_that_are_no_regular_files_are_refused() {
    for line in [
        "-c t.c -o /dev/null",
        "-c t.c -o none/t.o",
        "-c t.c -o t.c",
        "-c t.c -o d.x",
        "-c t.c -o x.d -MD",
        "-c t.c -MD -MF /dev/null",
        "-c t.c -MD -MF ./t.o",
        "-c t.c -MD -MF none/t.d",
        "-c t.c -o ..",
    ] {
        assert_eq!(refusal(line), Counter::BadOutputFile, "{line}");
    }
    assert_eq!(refusal("-c t.c -o -"), Counter::OutputToStdout);
    assert_eq!(refusal("-c t.c -MD -MF -"), Counter::OutputToStdout);
    let root = place();
    std::os::unix::fs::symlink("elsewhere", root.path().join("t.o")).unwrap();
    assert_eq!(parsed_in(root.path(), Family::Gcc, "-c t.c"), Err(Counter::BadOutputFile));
}

#[test]
fn mmd_wins_over_md_and_targets_are_kept_in_order() {
    for (line, omits) in [("-MD", false), ("-MMD", true), ("-MD -MMD", true), ("-MMD -MD", true)] {
        let compile = good(&format!("-c t.c -o d.x/t.o {line}"));
        let depfile = compile.depfile.unwrap();
        assert_eq!(depfile.omits_system_headers, omits, "{line}");
        // clang warns about one of two.
        let targets = if line.contains(' ') { "-MD d.x/t.o" } else { "d.x/t.o" };
        assert_eq!(depfile.target_arguments, words(targets));
        assert!(!depfile.phony_targets);
    }
    let depfile = good("-c t.c -MP -MD -MT a -MQb").depfile.unwrap();
    assert_eq!(depfile.target_arguments, words("-MT a -MQb"));
    assert!(depfile.phony_targets);
    assert_eq!(good("-c t.c").depfile, None);
    for line in ["-c t.c -MF x", "-c t.c -MT x", "-c t.c -MP"] {
        assert_eq!(refusal(line), Counter::BadCompilerArguments, "{line}");
    }
}

#[test]
fn preprocessor_words_name_a_dependency_file_or_define_macros() {
    let compile = good("-c t.c -o d.x/t.o -Wp,-MMD,d.x/.t.o.d");
    let depfile = compile.depfile.unwrap();
    assert_eq!(depfile.path, Path::new("d.x/.t.o.d"));
    assert!(depfile.omits_system_headers);
    assert_eq!(compile.key_arguments, words("-c t.c"));
    assert_eq!(compile.preprocess_arguments, words("-E t.c"));
    let compile = good("-c t.c -Wp,-U_F,-D_F=3");
    assert_eq!(compile.key_arguments, words("-c t.c -Wp,-U_F,-D_F=3"));
    for line in [
        "-c t.c -Wp,-MD,x -MF y",
        "-c t.c -Wp,-MD,x -MD",
        "-c t.c -Wp,-MD,x -Wp,-MD,y",
        "-c t.c -Wp,-MD,x -MT y",
        "-c t.c -Wp,-MD",
        "-c t.c -Wp,-MD,x,-MT,y",
        "-c t.c -Wp,-D",
        "-c t.c -Wp,-include",
        "-c t.c -Wp,-fplugin=x.so",
        "-c t.c -Wp,-P",
        "-c t.c -Wp,u.c",
        "-c t.c -Wp,",
    ] {
        assert!(parsed(line).is_err(), "{line}");
    }
    for (line, words) in [
        ("-c t.c -Wp,-D,X", "-D X"),
        ("-c t.c -Xpreprocessor -include -Xpreprocessor u.c", "-include u.c"),
        ("-c t.c -Wp,-isystem -Wp,inc,-undef", "-isystem inc -undef"),
    ] {
        let compile = good(line);
        // What is handed on counts like an option, wherever options are asked for.
        let handed_on = &compile.arguments[line.split(' ').count()..];
        assert_eq!(handed_on, self::words(words), "{line}");
        assert_eq!(compile.key_arguments, self::words(line), "{line}");
    }
    assert!(!good("-c t.c -Wp,-include,u.c").trace_is_complete());
}

#[test]
fn the_working_directory_matters_by_the_last_debug_option() {
    for (line, matters) in [
        ("-O2", false),
        ("-g", true),
        ("-g -g0", false),
        ("-g0 -ggdb3", true),
        ("-gdwarf-4", true),
        ("-g1", true),
        ("-gz", false),
        ("-gno-column-info", false),
        ("-g0 -gdwarf-4", true),
        ("-flto", true),
        ("-flto -fno-lto", true),
        ("-g -fdebug-prefix-map=/a=b", true),
        ("-ffile-prefix-map=/a=b", false),
    ] {
        assert_eq!(good(&format!("-c t.c {line}")).cwd_matters, matters, "{line}");
    }
}

#[test]
fn only_a_decided_color_is_explicit() {
    for (line, explicit) in [
        ("", false),
        ("-fdiagnostics-color=auto", false),
        ("-fdiagnostics-color", true),
        ("-fdiagnostics-color=never", true),
        ("-fdiagnostics-color=always -fdiagnostics-color=auto", false),
    ] {
        assert_eq!(good(&format!("-c t.c {line}")).color_is_explicit, explicit, "{line}");
    }
}

#[test]
fn words_for_the_assembler_are_cached_only_where_they_are_harmless() {
    for line in [
        "-Wa,--noexecstack",
        "-Wa,-mrelax-relocations=no,--64",
        "-Wa,-march=armv7-a",
        "-Wa,-I,x",
        "-Xassembler --defsym -Xassembler A=1",
    ] {
        assert!(parsed(&format!("-c t.c {line}")).is_ok(), "{line}");
    }
    assert_eq!(refusal("-c t.S -Wa,-al"), Counter::UnsupportedCompilerOption);
    for line in [
        "-Wa,-ag",
        "-Wa,-a=x,-an",
        "-Wa,-an -Wa,-al",
        "-Wa,",
        "-Wa,t.s",
        "-Xassembler -a",
        "-Wa,--alternate",
    ] {
        let line = format!("-c t.c {line}");
        assert_eq!(refusal(&line), Counter::UnsupportedCompilerOption, "{line}");
    }
    for (line, shows) in [("-c t.c -Wa,-g", true), ("-c t.c -Wa,-W", false)] {
        assert_eq!(good(line).cwd_matters, shows, "{line}");
    }
    let root = place();
    for line in ["-c t.c -mllvm -stats", "-c t.c -Xclang -load", "-c t.c -mllvm"] {
        assert!(parsed_in(root.path(), Family::Clang, line).is_err(), "{line}");
    }
}

#[test]
fn a_tool_beside_a_prefix_counts() {
    let root = place();
    fs::write(root.path().join("d.x/as"), "").unwrap();
    fs::write(root.path().join("d.x/cross-cc1"), "").unwrap();
    let compile = parsed_in(root.path(), Family::Gcc, "-c t.c -Bd.x/ -B d.x/cross-").unwrap();
    assert_eq!(compile.named_inputs, [PathBuf::from("d.x/as"), "d.x/cross-cc1".into()]);
    assert!(good("-c t.c -Bd.x").named_inputs.is_empty());
}

#[test]
fn forced_headers_make_the_trace_incomplete() {
    assert!(good("-c t.c -Iinclude -isystem x").trace_is_complete());
    assert!(!good("-c t.c -include a.h").trace_is_complete());
    assert!(!good("-c t.c -imacros a.h").trace_is_complete());
}

/// The story: with `-g` the columns of tokens are in the object, and with `-Wextra` a comment
/// silences gcc; neither is in the preprocessed text.
#[test]
fn the_real_compilers_show_what_preprocessing_hides() {
    for (_, compiler) in FAMILIES {
        let root = place();
        let objects: Vec<_> = ["int f(void) { return 1; }", "int f(void) {   return   1; }"]
            .iter()
            .filter_map(|text| {
                fs::write(root.path().join("t.c"), text).unwrap();
                let run = |line: &str| {
                    let mut command = Command::new(compiler);
                    command.args(words(line)).current_dir(root.path()).output().ok()
                };
                run("-g -c t.c -o t.o")?;
                Some((run("-E t.c")?.stdout, fs::read(root.path().join("t.o")).unwrap()))
            })
            .collect();
        let [(text, object), (other_text, other_object)] = &objects[..] else {
            println!("skipped: no {compiler}");
            continue;
        };
        assert_eq!(text, other_text, "{compiler}");
        assert_ne!(object, other_object, "{compiler}");
    }
}

/// What build systems make of one source: automake, CMake, meson, the Linux kernel with gcc and
/// clang, Debian packages, bazel, cargo's cc, chromium.
const EVERYDAY: [(Family, &str); 10] = [
    (
        Family::Gcc,
        "-DHAVE_CONFIG_H -I. -I.. -I../lib -g -O2 -MT t.o -MD -MP -MF d.x/t.Tpo -c -o t.o t.c",
    ),
    (
        Family::Gcc,
        "-DX_EXPORTS -Iinclude -isystem /opt/include -O3 -DNDEBUG -std=gnu++17 -fPIC \
         -fvisibility=hidden -flto=auto -fno-fat-lto-objects -MD -MT d.x/t.cc.o -MF d.x/t.cc.o.d \
         -o d.x/t.cc.o -c t.cc",
    ),
    (
        Family::Gcc,
        "-It.p -I. -fdiagnostics-color=always -D_FILE_OFFSET_BITS=64 -Wall -Winvalid-pch -std=c11 \
         -O2 -g -fPIC -pthread -MD -MQ t.c.o -MF t.c.o.d -o t.c.o -c t.c",
    ),
    (
        Family::Gcc,
        "-Wp,-MMD,d.x/.t.o.d -nostdinc -I./include -include ./kconfig.h -D__KERNEL__ \
         -fmacro-prefix-map=./= -Wall -Werror=strict-prototypes -std=gnu11 -mno-sse -m64 \
         -falign-jumps=1 -mpreferred-stack-boundary=3 -mtune=generic -mcmodel=kernel \
         -mindirect-branch=thunk-extern -mfunction-return=thunk-extern -mrecord-mcount -mfentry \
         -fno-delete-null-pointer-checks --param=allow-store-data-races=0 -Wframe-larger-than=2048 \
         -fconserve-stack -Wa,--noexecstack -DKBUILD_MODNAME=\"t\" -c -o d.x/t.o t.c",
    ),
    (
        Family::Clang,
        "-Wp,-MMD,d.x/.t.o.d -nostdinc -D__KERNEL__ --target=x86_64-linux-gnu -fintegrated-as \
         -Werror=unknown-warning-option -Qunused-arguments -mstack-alignment=8 -mllvm \
         -inline-threshold=600 -c -o d.x/t.o t.c",
    ),
    (
        Family::Gcc,
        "-g -O2 -ffile-prefix-map=/build/x=. -fstack-protector-strong -Wformat \
         -Werror=format-security -Wdate-time -D_FORTIFY_SOURCE=2 -c t.c -o t.o",
    ),
    (
        Family::Gcc,
        "-U_FORTIFY_SOURCE -Wunused-but-set-parameter -fno-omit-frame-pointer -std=c++14 -MD -MF \
         t.pic.d -frandom-seed=t.pic.o -fPIC -iquote . -iquote d.x -fno-canonical-system-headers \
         -Wno-builtin-macro-redefined -D__DATE__=\"redacted\" -c t.cc -o t.pic.o",
    ),
    (Family::Gcc, "-O3 -ffunction-sections -fdata-sections -fPIC -m64 -w -o d.x/1-t.o -c t.c"),
    (
        Family::Clang,
        "-MMD -MF t.o.d -DX -I../.. -fno-ident -fno-strict-aliasing -fcolor-diagnostics -pthread \
         -fcrash-diagnostics-dir=../crashes -mllvm -instcombine-lower-dbg-declare=0 -m64 \
         -ffile-compilation-dir=. -no-canonical-prefixes -ftrivial-auto-var-init=pattern \
         -fno-exceptions -gdwarf-4 -g2 -nostdinc++ -isystem../libc++/include --sysroot=../root \
         -std=c++20 -c t.cc -o t.o",
    ),
    (Family::Clang, "-stdlib=libc++ -O2 -x c++ -c t.cc -o t.o -Wl,-O1 -L. -lm"),
];

#[test]
fn everyday_command_lines_are_taken() {
    let root = place();
    for (family, line) in EVERYDAY {
        let compile = parse(family, None, &words(line), root.path())
            .unwrap_or_else(|reason| panic!("{}: {line}", reason.text));
        assert!(root.path().join(object(&compile)).parent().unwrap().is_dir());
        let asks = line.contains("-MD") || line.contains("-MMD");
        assert_eq!(compile.depfile.is_some(), asks, "{line}");
        for word in ["-o", "-MF", "-MD", "-MMD", "-MT", "-MQ", "-MP"] {
            let lists = [&compile.key_arguments, &compile.preprocess_arguments];
            assert!(lists.iter().all(|list| !list.iter().any(|found| found == word)), "{word}");
        }
    }
}

/// Calls with outputs of odd names and of every kind; each is tried with the real compilers, which
/// must put them where the parser says, and nothing else anywhere.
const OUTPUTS: [&str; 30] = [
    "-c t.c -MD",
    "-c d.x/v.c -MD",
    "-c a.b.c -MD",
    "-c -x c noext -MD",
    "-c t.c -MD -o foo",
    "-c t.c -MD -o a.b.o",
    "-c t.c -MD -o d.x/foo",
    "-c t.c -MD -o d.x/sub/.o",
    "-c t.c -MD -o .hidden",
    "-c t.c -MD -o ..o",
    "-c t.c -MMD -MD -o d.x/sub/../z",
    "-c t.c -MD -MF deps -o x.o",
    "-c t.c -MD -MF one -MFtwo",
    "-c t.c -oy.o",
    "-c t.c -Wp,-MD,deps -o x.o",
    "-c t.c -MD -o foo.",
    "-S u.c -MD",
    "-S t.c -MD -o d.x/foo",
    "-c -S d.x/v.c",
    "-fsyntax-only -c t.c -o d.x/x.o -MD",
    "-fsyntax-only t.c -MD -MF deps",
    "-fsyntax-only t.c",
    "-c t.i",
    "-c t.ii -o d.x/foo",
    "-c t.S -MD",
    "-c t.s -o d.x/x.o",
    "-c -x assembler-with-cpp t.s -MMD",
    "-c -x assembler t.S",
    "-c -x cpp-output t.ii",
    "-c -x c++-cpp-output t.i",
];

/// Options for further outputs, each with both compilers where both have it.
const SIDES: [(Family, &[&str]); 2] = [
    (
        Family::Gcc,
        &[
            "-gsplit-dwarf",
            "-g0 -gsplit-dwarf",
            "-gsplit-dwarf -gno-split-dwarf",
            "--coverage",
            "-coverage",
            "-ftest-coverage",
            "-fprofile-arcs",
            "-fstack-usage",
            "-fcallgraph-info=su,da",
            "-fdump-ipa-clones",
            "-O2 -fsave-optimization-record",
            "-aux-info protos",
            "-Wa,-aln=list",
            "-Wa,-a",
            "-fopt-info-vec=stdout",
            "--coverage -fstack-usage -fcallgraph-info -gsplit-dwarf -fdump-ipa-clones -MD",
        ],
    ),
    (
        Family::Clang,
        &[
            "-g -gsplit-dwarf",
            "-g -gsplit-dwarf=split",
            "-g -gsplit-dwarf=single",
            "-gsplit-dwarf -gno-split-dwarf",
            "--coverage",
            "-coverage",
            "-ftest-coverage",
            "-fprofile-arcs",
            "-fstack-usage",
            "-O2 -fsave-optimization-record",
            "-O2 -foptimization-record-file=record",
            "--serialize-diagnostics list",
            "-serialize-diagnostics list",
            "--coverage -fstack-usage -g -gsplit-dwarf -MD",
        ],
    ),
];

/// The calls that [`SIDES`] are tried with.
const SIDE_CALLS: [&str; 9] = [
    "-c t.c",
    "-c a.b.c",
    "-c d.x/v.c",
    "-c -x c noext",
    "-c t.c -o d.x/foo",
    "-c t.c -o d.x/a.b.o",
    "-c t.c -o .hidden",
    "-c t.c -o foo.",
    "-S t.c -o d.x/x.s",
];

#[test]
fn the_real_compilers_write_where_the_parser_says() {
    for (family, compiler) in FAMILIES {
        for line in OUTPUTS {
            check_places(family, compiler, line);
        }
    }
    for line in ["--analyze t.c", "--analyze -c a.b.c -o d.x/x -MD", "--analyze d.x/v.c -MD"] {
        check_places(Family::Clang, "clang", line);
    }
}

#[test]
fn the_real_compilers_write_further_outputs_where_the_parser_says() {
    let (mut taken, mut refused) = (0, 0);
    for ((family, sides), (_, compiler)) in SIDES.into_iter().zip(FAMILIES) {
        for side in sides {
            for call in SIDE_CALLS {
                let line = format!("{call} {side}");
                match parsed_in(place().path(), family, &line) {
                    Ok(_) => {
                        taken += 1;
                        check_places(family, compiler, &line);
                    }
                    Err(_) => refused += 1,
                }
            }
        }
    }
    // Refused are -S with outputs of the assembler.
    assert!(refused * 16 < taken, "{refused} refused, {taken} taken");
}

/// Runs a call in a directory of its own: it must write what the parser says.
fn check_places(family: Family, compiler: &str, line: &str) {
    let root = place();
    let before = files(root.path());
    let Ok(ran) = Command::new(compiler).args(words(line)).current_dir(root.path()).output() else {
        println!("skipped: no {compiler}");
        return;
    };
    assert!(ran.status.success(), "{compiler} {line}: {ran:?}");
    let mut written = files(root.path());
    written.retain(|file| !before.contains(file));
    let compile = parsed_in(root.path(), family, line).unwrap();
    let outputs = compile
        .outputs
        .iter()
        .filter(|output| output.required || root.path().join(&output.path).exists());
    let said = outputs.map(|output| &output.path);
    let said = said.chain(compile.depfile.as_ref().map(|depfile| &depfile.path));
    let mut said: Vec<PathBuf> =
        said.map(|path| root.path().join(path).canonicalize().expect(line)).collect();
    said.sort();
    assert_eq!(said, written, "{compiler} {line}");
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory.canonicalize().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
