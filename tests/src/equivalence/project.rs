//! Small projects from a seed: sources in C, C++ and assembler, headers in several directories that
//! shadow and include each other, response files, links, names with blanks, and a first call.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::flags;
use super::script::{Call, Entry, Script};
use crate::sample::Random;

/// Directories of headers, in the order in which most calls search them.
pub const DIRECTORIES: &[&str] = &["first", "inc", "inc2", "sys", "src", "odd dir"];

/// Names of headers.
pub const HEADERS: &[&str] = &["h0.h", "h1.h", "h2.h", "h3.h", "h4.h", "odd name.h", "sub/h5.h"];

/// Sources, by language.
const SOURCES: &[&str] = &[
    "src/a.c",
    "src/a.c",
    "src/a.c",
    "a.c",
    "a.c",
    "src/b.cc",
    "src/b.cc",
    "src/b.cc",
    "src/b.cpp",
    "src/b.cpp",
    "src/b.C",
    "src/x.y.c",
    "odd dir/c d.c",
    "src/s.S",
    "src/s.s",
    "src/i.i",
];

/// A project without steps.
pub fn generate(random: &mut Random) -> Script {
    let mut files = BTreeMap::new();
    let source = (*random.choose(SOURCES)).to_owned();
    for (number, header) in HEADERS.iter().enumerate() {
        // Everything stands in the last searched directory but one, so that most calls succeed.
        let mut directories = vec!["inc"];
        directories.extend(DIRECTORIES.iter().filter(|_| random.below(6) == 0));
        for directory in directories {
            files.insert(format!("{directory}/{header}"), Entry::File(text(random, number)));
        }
    }
    files.insert("first/forced.h".to_owned(), Entry::File("#define FORCED 1\n".to_owned()));
    files.insert(source.clone(), Entry::File(source_text(random, &source)));
    files.insert("args.rsp".to_owned(), Entry::File("-DD0=4 -Iinc2\n".to_owned()));
    let odd = "-DD1='1 + 1'\n-I\"odd dir\"\n@args.rsp\n".to_owned();
    files.insert("odd.rsp".to_owned(), Entry::File(odd));
    files.insert("my.specs".to_owned(), Entry::File("%rename cpp old_cpp\n".to_owned()));
    files.insert("clang.cfg".to_owned(), Entry::File("-DD0=6 -Ifirst\n".to_owned()));
    files.insert("data.bin".to_owned(), Entry::File("data".to_owned()));
    files.insert("list.txt".to_owned(), Entry::File("fun:f1\n".to_owned()));
    files.insert("out/keep".to_owned(), Entry::File(String::new()));
    files.insert("tools/keep".to_owned(), Entry::File(String::new()));
    for (name, target) in flags::TARGETS.iter().rev() {
        files.insert((*name).to_owned(), Entry::Link((*target).to_owned()));
    }
    files.insert("here".to_owned(), Entry::Link(".".to_owned()));
    files.insert("link".to_owned(), Entry::Link("inc".to_owned()));
    files.insert("inc/linked.h".to_owned(), Entry::Link("h1.h".to_owned()));
    let call = first_call(random, &source);
    Script { files, call, steps: Vec::new() }
}

fn first_call(random: &mut Random, source: &str) -> Call {
    let mut compiler = *random.choose(flags::COMPILERS);
    // C++ through a driver for C and the other way round is rare.
    let is_cpp = ["cc", "cpp", "C"].iter().any(|end| source.ends_with(&format!(".{end}")));
    while compiler.contains("++") != is_cpp && random.below(10) != 0 {
        compiler = *random.choose(flags::COMPILERS);
    }
    let mut units: Vec<Vec<String>> = Vec::new();
    let one = |word: &str| vec![word.to_owned()];
    for directory in ["first", "inc", "sys"] {
        units.push(match random.below(4) {
            0 => one(&format!("-I@ROOT@/{directory}")),
            1 => vec!["-I".to_owned(), directory.to_owned()],
            _ => one(&format!("-I{directory}")),
        });
    }
    if random.below(20) != 0 {
        units.push(one("-c"));
    }
    let named = match random.below(6) {
        0 => format!("@ROOT@/{source}"),
        1 => format!("./{source}"),
        2 => format!("here/{source}"),
        _ => source.to_owned(),
    };
    units.push(one(&named));
    match random.below(8) {
        0 => {}
        1 => units.push(one("-oout/a.o")),
        2 => units.push(vec!["-o".to_owned(), "@ROOT@/out/abs.o".to_owned()]),
        3 => units.push(vec!["-o".to_owned(), "out/odd name.x.o".to_owned()]),
        4 => units.push(vec!["-o".to_owned(), "noext".to_owned()]),
        _ => units.push(vec!["-o".to_owned(), "out/a.o".to_owned()]),
    }
    for _ in 0..random.below(5) {
        let place = random.below(units.len() as u64 + 1) as usize;
        units.insert(place, flags::option(random, compiler));
    }
    Call {
        parts: Vec::new(),
        compiler: compiler.to_owned(),
        units,
        variables: BTreeMap::new(),
        directory: ".".to_owned(),
        umask: 0o022,
    }
}

/// One line that a header may have.
pub fn header_line(random: &mut Random, number: usize) -> String {
    let other = HEADERS[(number + 1 + random.below(6) as usize).min(HEADERS.len() - 1)];
    let later = (number + 1).min(HEADERS.len() - 1);
    let value = random.below(10);
    let id = random.below(10_000);
    match random.below(33) {
        0 | 1 if later > number => format!("#include \"{}\"", HEADERS[later]),
        2 | 3 if other != HEADERS[number] => format!("#include <{other}>"),
        4 => format!("#if __has_include_next(<{0}>)\n#include_next <{0}>\n#endif", HEADERS[number]),
        5 => format!(
            "#if __has_include(<{other}>)\n#define HAS_{number} 1\n#else\n\
             #define HAS_{number} 0\n#endif"
        ),
        6 => format!("#if __has_include(\"new{value}.h\")\n#define NEW_{number} {value}\n#endif"),
        7 => format!("#ifdef D{}\n#define GIVEN_{number} D{}\n#endif", value % 3, value % 3),
        8 => format!("static const char file_{id}[] = __FILE__;"),
        9 => format!("enum {{ line_{id} = __LINE__ }};"),
        10 => format!("enum {{ count_{id} = __COUNTER__ }};"),
        11 => format!("static const char date_{id}[] = __DATE__;"),
        12 => format!("static const char stamp_{id}[] = __TIMESTAMP__;"),
        13 if random.below(3) == 0 => format!("static const char time_{id}[] = __TIME__;"),
        14 => format!("static int unused_{id};"),
        15 => format!("// a comment {value}"),
        16 => format!("/* one\n   two {value} */"),
        17 => format!("#define UNUSED_{number} {value}"),
        18 => "#pragma GCC system_header".to_owned(),
        19 => format!("#warning \"warning {value}\""),
        20 => format!("#pragma message \"message {value}\""),
        21 => format!("#line {}{value} \"other.h\"", number + 1),
        22 => format!("static const char base_{id}[] = __BASE_FILE__;"),
        23 => format!("enum {{ level_{id} = __INCLUDE_LEVEL__ }};"),
        24 => format!("#if 0\n#include \"nowhere{value}.h\"\n#endif"),
        25 => format!(
            "#define MAYBE_{number} <new{value}.h>\n#if __has_include(MAYBE_{number})\n\
             #define FOUND_{number} {value}\n#endif"
        ),
        26 => "#ifdef __has_include\n#define CAN_ASK 1\n#endif".to_owned(),
        27 => format!("#ifdef GIVEN_{later}\nenum {{ given_{id} = GIVEN_{later} }};\n#endif"),
        29 => "#ifdef __has_include\n#define CAN_FIND __has_include\n#endif".to_owned(),
        30 => format!(
            "#ifdef CAN_FIND\n#if CAN_FIND(<new{value}.h>)\nenum {{ found_{id} }};\n#endif\n#endif"
        ),
        28 => format!("#ifdef HAS_{later}\nenum {{ has_{id} = HAS_{later} }};\n#endif"),
        _ => format!("#undef V_{number}\n#define V_{number} {value}"),
    }
}

/// The text of a header.
pub fn text(random: &mut Random, number: usize) -> String {
    let value = random.below(100);
    let mut body = String::new();
    for _ in 0..random.below(5) {
        body.push_str(&header_line(random, number));
        body.push('\n');
    }
    let function = format!(
        "#define V_{number} {value}\n#ifndef __ASSEMBLER__\n\
         static inline int f{number}(int x)\n{{\n    return x | V_{number};\n}}\n#endif\n"
    );
    match random.below(8) {
        // Once by its contents or its inode, which links and several names make interesting.
        0 => format!("#pragma once\n{}", bare(number, value)),
        1 => {
            format!("/* before */\n#ifndef H{number}\n#define H{number}\n{body}{function}#endif\n")
        }
        2 => bare(number, value),
        _ => format!("#ifndef H{number}\n#define H{number}\n{body}{function}#endif\n"),
    }
}

/// A header that may be read several times.
fn bare(number: usize, value: u64) -> String {
    format!(
        "#undef V_{number}\n#define V_{number} {value}\n#ifndef __ASSEMBLER__\n\
         int f{number}(int x);\n#endif\n"
    )
}

/// One line that a source may have.
pub fn source_line(random: &mut Random, is_cpp: bool) -> String {
    let (value, id) = (random.below(10), random.below(10_000));
    let header = random.choose(HEADERS);
    match random.below(26) {
        0 | 1 => format!("#include \"{header}\""),
        2 => format!("#include <{header}>"),
        3 => format!("#include \"{}/{header}\"", random.choose(&["inc", "link", "../inc"])),
        4 => "#include \"linked.h\"".to_owned(),
        5 => format!("#define WHICH <{header}>\n#include WHICH"),
        6 => format!("#define STRING \"{header}\"\n#include STRING"),
        7 => format!("int old_{id}(void) {{ int unused; return {value}; }}"),
        8 => format!("const char *date_{id} = __DATE__;"),
        9 => format!("const char *file_{id} = __FILE__;"),
        10 => format!("#ifdef D0\nint given_{id} = D0 + 0;\n#endif"),
        11 => "#ifdef D2\nconst char *text = D2;\n#endif".to_owned(),
        12 => format!("#if __has_include(\"new{value}.h\")\nint has_new_{id};\n#endif"),
        13 => format!("#if __has_include(<new{value}.h>)\n#include <new{value}.h>\n#endif"),
        14 => format!(
            "int fall_{id}(int x)\n{{\n    switch (x) {{\n    case 1: x++; /* fall through */\n    \
             case 2: return x;\n    }}\n    return {value};\n}}"
        ),
        15 if random.below(3) == 0 => "__asm__(\".incbin \\\"data.bin\\\"\");".to_owned(),
        16 => format!("// comment {value}"),
        17 if is_cpp => format!(
            "template <int N> struct t{id} {{ enum {{ v = N + t{id}<N - 1>::v }}; }};\n\
             template <> struct t{id}<0> {{ enum {{ v = 0 }}; }};\nint s{id} = t{id}<5>::v;"
        ),
        18 if is_cpp => format!("namespace {{ int hidden_{id}() {{ return {value}; }} }}"),
        19 if is_cpp => format!("auto lambda_{id} = [](int x) {{ return x + {value}; }};"),
        20 => "#include <stddef.h>".to_owned(),
        21 => "#include <stdio.h>".to_owned(),
        22 if is_cpp => "#include <cstddef>".to_owned(),
        23 => format!("int d_{id} = 1{}0;", if is_cpp { "'" } else { "" }),
        24 => "#ifdef CAN_ASK\nint can_ask;\n#endif".to_owned(),
        25 => format!("int error_{id} = ;"),
        _ => format!("int variable_{id} = {value};"),
    }
}

/// The text of a source.
fn source_text(random: &mut Random, name: &str) -> String {
    let is_cpp = !name.ends_with(".c");
    match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "s" => return ".globl f\nf:\n    .long 1\n    .string \"x\"\n".to_owned(),
        "S" => {
            let mut text = "#include \"h0.h\"\n.globl f\nf:\n    .long V_0\n".to_owned();
            if random.below(4) == 0 {
                text.push_str("    .incbin \"data.bin\"\n");
            }
            return text;
        }
        "i" | "ii" => {
            return "# 1 \"orig.c\"\nint f(int x) { int unused; return x; }\n".to_owned();
        }
        _ => {}
    }
    let mut text = String::new();
    for header in &HEADERS[..3] {
        if random.below(4) != 0 {
            let (open, close) = if random.below(2) == 0 { ('<', '>') } else { ('"', '"') };
            let _ = writeln!(text, "#include {open}{header}{close}");
        }
    }
    for _ in 0..2 + random.below(5) {
        let line = source_line(random, is_cpp);
        // Most projects can be compiled.
        if !line.starts_with("int error") || random.below(4) == 0 {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text.push_str("#ifdef V_0\nint use(int x)\n{\n    return f0(x) + V_0;\n}\n#endif\n");
    text
}
