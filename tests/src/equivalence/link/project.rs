//! A small project that is linked: sources, libraries in three directories, lists, and the calls.

use std::collections::BTreeMap;

use crate::equivalence::script::{Call, Entry, Part, Script};
use crate::sample::Random;

/// Sources, and what each may begin with.
pub(super) const SOURCES: &[(&str, &str)] = &[
    ("src/main.c", "int nat(void);\nint main(void) { return nat() + 0; }\n"),
    ("src/one.c", "int nat(void) { return 1; }\n"),
    ("src/two.c", "int nat(void) { return 2; }\nint unused(void) { return 20; }\n"),
    ("src/three.c", "int nat(void);\nint other(void) { return nat() + 3; }\n"),
];
/// Where libraries stand.
pub(super) const PLACES: &[&str] = &["a", "b", "c"];
/// Texts of a version script.
pub(super) const VERSIONS: &[&str] = &[
    "{ global: nat; local: *; };\n",
    "V1 { global: nat; other; local: *; };\n",
    "V1 { global: other; };\nV2 { global: nat; } V1;\n",
    "{ global: nat\n",
];
/// Texts of a list of dynamic symbols.
pub(super) const LISTS: &[&str] = &["{ nat; };\n", "{ other; main; };\n", "{ };\n"];
/// Texts of a response file.
pub(super) const WORDS: &[&str] =
    &["obj/three.o\n", "obj/three.o -Wl,-rpath,/r\n", "-lother\n", "-Wl,--as-needed\n", "\n"];
/// Texts of a linker script that is named, in full or beside the linker's own one.
pub(super) const SCRIPTS: &[&str] = &[
    "INPUT(-lother)\n",
    "SEARCH_DIR(c)\nINPUT(obj/three.o)\n",
    "nat = 0x1000;\n",
    "INCLUDE more.ld\n",
    "SECTIONS { .extra : { KEEP(*(.extra)) } } INSERT AFTER .data;\n",
];
/// Texts of what a script includes. GNU ld reads for ever what includes itself.
pub(super) const MORE: &[&str] = &["other = 7;\n", "unused = 8;\n", "\n"];
/// Texts of a specs file.
pub(super) const SPECS: &[&str] = &[
    "*lib:\n-lother %{pthread:-lpthread} -lc\n",
    "%rename lib old\n\n*lib:\n-lother %(old)\n",
    "\n",
];
/// Libraries that are texts.
pub(super) const TEXTS: &[&str] = &[
    "INPUT(-lother)\n",
    "GROUP ( a/libnat.a )\n",
    "INPUT ( libnat.a )\n",
    "/* GNU ld script */\n",
    "GROUP ( libnat.a AS_NEEDED ( -lm ) )\n",
    "INCLUDE more.ld\n",
];
pub(super) const COMPILERS: &[&str] = &["gcc", "gcc", "gcc", "g++", "clang", "clang++"];

/// Options of a link.
const OPTIONS: &[&str] = &[
    "-fuse-ld=bfd",
    "-fuse-ld=gold",
    "-fuse-ld=lld",
    "-fuse-ld=mold",
    "-La",
    "-Lb",
    "-Lc",
    "-L @ROOT@/b",
    "-Lnowhere",
    "-lnat",
    "-lother",
    "-l:libnat.a",
    "a/libnat.a",
    "b/libother.so",
    "obj/one.o",
    "obj/three.o",
    "-Wl,-rpath,/r",
    "-Wl,-rpath,$ORIGIN/../b",
    "-Wl,-rpath-link,c",
    "-Wl,-rpath-link,b",
    "-Wl,--as-needed",
    "-Wl,--no-as-needed",
    "-Wl,-Bstatic -lnat -Wl,-Bdynamic",
    "-Wl,--whole-archive a/libnat.a -Wl,--no-whole-archive",
    "-Wl,--version-script=v.map",
    "-Wl,--dynamic-list=d.list",
    "-Wl,-Map=out/m.map",
    "-Wl,-Map,out/other.map",
    "-Wl,--build-id=sha1",
    "-Wl,--build-id=none",
    "-Wl,--gc-sections",
    "-Wl,-z,now",
    "-Wl,--allow-shlib-undefined",
    "-Wl,--unresolved-symbols=ignore-all",
    "-Wl,-soname,libm.so.7",
    "-Wl,--start-group",
    "-Xlinker --end-group",
    "@words",
    "-shared",
    "-static",
    "-no-pie",
    "-pie",
    "-r",
    "-s",
    "-g",
    "-O2",
    "-Wall",
    "-Bc",
    "-B tools",
    "-nostdlib",
    "-rdynamic",
    "-v",
    "-Wl,--unheard-of",
    "-flto",
    "-flto=thin",
    "-R b",
    "-Wl,-R,c",
    "-Wl,-R,obj/one.o",
    "-Wl,--just-symbols=obj/one.o",
    "-T s.ld",
    "-Wl,-T,s.ld",
    "-Wl,--script=s.ld",
    "s.ld",
    "-Wl,--defsym=nat=main",
    "-Wl,--wrap=nat",
    "-Wl,--retain-symbols-file=d.list",
    "-Wl,--export-dynamic-symbol=nat",
    "-Wl,--dependency-file=out/own.d",
    "-Wl,--print-map",
    "-Wl,--trace",
    "-Wl,-t",
    "-Wl,-y,nat",
    "-Wl,--cref",
    "-Wl,--emit-relocs",
    "-Wl,--hash-style=gnu",
    "-Wl,--dynamic-linker=/lib/own.so",
    "-Wl,--sort-section=name",
    "-Wl,--icf=all",
    "-Wl,--compress-debug-sections=zlib",
    "-Wl,--exclude-libs,ALL",
    "-Wl,--no-undefined",
    "-Wl,--fatal-warnings",
    "-Wl,--warn-common",
    "-Wl,-e,nat",
    "-Wl,-u,other",
    "-Wl,--push-state -Wl,--as-needed -lother -Wl,--pop-state",
    "-Wl,--format=binary -Wl,words -Wl,--format=default",
    "-Wl,-b,binary,v.map",
    "-Wl,@words",
    "-specs=own.specs",
    "-pthread",
    "-pg",
    "-fsanitize=address",
    "-static-libgcc",
    "-static-pie",
    "-nostartfiles",
    "-nodefaultlibs",
    "-nolibc",
    "-gsplit-dwarf",
    "-l:libnat.so",
    "-print-file-name=libnat.a",
    "-###",
    "-save-temps",
    "src/one.c",
    "-x c src/three.c -x none",
    "-Wno-all",
    "-w",
    "-m64",
    "-march=native",
    "--sysroot=/",
    "-fno-lto",
    "-ffat-lto-objects",
];

pub(super) fn unit(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

pub(super) fn option(random: &mut Random) -> Vec<String> {
    let option: &&str = random.choose(OPTIONS);
    unit(option)
}

/// Options without which most links fail.
pub(super) fn is_core(unit: &[String]) -> bool {
    unit[0] == "-o" || unit[0].ends_with("main.o")
}

pub(in crate::equivalence) fn generate(random: &mut Random) -> Script {
    let mut files = BTreeMap::new();
    let mut add = |name: &str, text: &str| {
        files.insert(name.to_owned(), Entry::File(text.to_owned()));
    };
    SOURCES.iter().for_each(|(name, text)| add(name, text));
    for place in PLACES.iter().chain(&["obj", "out", "tools"]) {
        add(&format!("{place}/keep"), "");
    }
    add("v.map", VERSIONS[0]);
    add("d.list", LISTS[0]);
    add("words", WORDS[0]);
    add("s.ld", SCRIPTS[0]);
    add("more.ld", MORE[0]);
    add("own.specs", SPECS[0]);
    Script { files, call: first_call(random), steps: Vec::new() }
}

/// The call that makes a library of one kind.
pub(super) fn library(random: &mut Random, name: &str, object: &str) -> Part {
    let place = random.choose(PLACES);
    let (compiler, text) = match random.below(9) {
        0 => ("gcc", format!("-shared {object} -o {place}/lib{name}.so")),
        1 => {
            ("gcc", format!("-shared {object} -Wl,-soname,lib{name}.so.1 -o {place}/lib{name}.so"))
        }
        2 => ("ar", format!("rcs {place}/lib{name}.a {object}")),
        3 => ("ar", format!("qcD {place}/lib{name}.a {object} obj/main.o")),
        4 => ("ar", format!("rcsT {place}/lib{name}.a {object}")),
        5 => ("ar", format!("rcs --thin {place}/lib{name}.a {object}")),
        6 => ("llvm-ar", format!("rcs {place}/lib{name}.a {object}")),
        7 => ("gcc", format!("-shared -flto {object} -o {place}/lib{name}.so")),
        _ => ("ar", format!("rcsD {place}/lib{name}.a {object}")),
    };
    Part { compiler: compiler.to_owned(), units: text.split(' ').map(unit).collect() }
}

fn first_call(random: &mut Random) -> Call {
    let mut parts = Vec::new();
    for (source, _) in SOURCES {
        let object = source.replace("src/", "obj/").replace(".c", ".o");
        let mut units = vec![unit("-c"), unit("-fPIC"), unit(source)];
        units.push(unit(&format!("-o {object}")));
        if random.below(4) == 0 {
            units.push(unit(random.choose::<&str>(&["-g", "-O2", "-flto", "-ffunction-sections"])));
        }
        let compiler = *random.choose(&["gcc", "gcc", "gcc", "clang"]);
        parts.push(Part { compiler: compiler.to_owned(), units });
    }
    parts.push(library(random, "nat", "obj/one.o"));
    parts.push(library(random, "nat", "obj/two.o"));
    parts.push(library(random, "other", "obj/three.o"));
    let mut units = vec![unit("obj/main.o"), unit("-o out/m")];
    units.extend(PLACES.iter().map(|place| unit(&format!("-L{place}"))));
    units.push(unit("-lnat"));
    for _ in 0..random.below(4) {
        units.push(option(random));
    }
    Call {
        parts,
        compiler: (*random.choose(COMPILERS)).to_owned(),
        units,
        variables: BTreeMap::new(),
        directory: ".".to_owned(),
        umask: 0o022,
    }
}
