//! Small workspaces from a seed: the sources of `top` and of what it depends on, with files that
//! they include, native archives, what a build script would have made, and the first calls.

use std::collections::BTreeMap;

use super::flags::{self, unit};
use crate::equivalence::script::{Call, Entry, Part, Script};
use crate::sample::Random;

/// Files that may be modules of `top`: under both names, and elsewhere.
pub const MODULES: &[&str] = &[
    "src/m0.rs",
    "src/m0/mod.rs",
    "src/m1.rs",
    "src/m1/mod.rs",
    "src/m2.rs",
    "src/m0/inner.rs",
    "src/m0/inner/mod.rs",
    "elsewhere/p.rs",
    "src/nested/deep.rs",
    "src/lib/mod.rs",
];

/// A workspace without steps.
pub fn generate(random: &mut Random) -> Script {
    let mut files = BTreeMap::new();
    let mut file = |name: &str, text: String| files.insert(name.to_owned(), Entry::File(text));
    let has_macro = random.below(4) == 0;
    for (name, value) in [("base", 1), ("other", 2)] {
        file(&format!("{name}/lib.rs"), base_text(value));
    }
    file("mid/lib.rs", MID.to_owned());
    if has_macro {
        file("mac/lib.rs", MACRO.to_owned());
    }
    let root = if random.below(4) == 0 { "src/top.rs" } else { "src/lib.rs" };
    file(root, root_text(random, has_macro));
    for module in ["src/m0.rs", "src/m1/mod.rs", "elsewhere/p.rs", "src/nested/deep.rs"] {
        file(module, module_text(random, module));
    }
    file("src/m0/inner.rs", "pub fn inner() -> u32 { 1 }\n".to_owned());
    for number in 0..3 {
        file(&format!("data/t{number}.txt"), format!("text {number}\n"));
    }
    file("data/none.s", "# nothing\n".to_owned());
    file("data/items.rs", "pub fn included() -> u32 { 5 }\n".to_owned());
    for directory in ["gen", "gen2"] {
        file(&format!("{directory}/built.rs"), format!("// {directory}\n(1, 2)\n"));
        file(&format!("{directory}/built.txt"), "8".to_owned());
    }
    file("nat/libnat.a", archive("one"));
    file("targets/t.json", "{}\n".to_owned());
    file("args.rsp", "--cfg\nv0\n".to_owned());
    for directory in ["out", "out2", "odd dir"] {
        // A second call at the same time has its own.
        for place in [directory.to_owned(), format!("twin-{directory}")] {
            file(&format!("{place}/keep"), String::new());
        }
    }
    files.insert("here".to_owned(), Entry::Link(".".to_owned()));
    let call = first_call(random, root, has_macro);
    Script { files, call, steps: Vec::new() }
}

/// An archive of one member. rustc takes any member, also a text.
pub fn archive(text: &str) -> String {
    let (name, zero, mode, size) = ("n.o/", 0, 644, text.len() + 1);
    let filler = if size % 2 == 0 { "" } else { "\n" };
    format!("!<arch>\n{name:<16}{zero:<12}{zero:<6}{zero:<6}{mode:<8}{size:<10}`\n{text}\n{filler}")
}

fn base_text(value: u64) -> String {
    format!(
        "#[inline] pub fn v() -> u32 {{ {value} }}\n\
         pub fn far() -> u32 {{ 1{value} }}\n\
         pub fn twice<T: Copy>(t: T) -> [T; 2] {{ [t, t] }}\n\
         pub const NUMBER: u32 = 2{value};\n\
         #[macro_export] macro_rules! made {{ ($x:expr) => {{ $x + {value} }} }}\n\
         #[deprecated] pub fn old() {{}}\n\
         pub struct Thing(pub u32);\n\
         impl Drop for Thing {{ fn drop(&mut self) {{ self.0 = {value}; }} }}\n"
    )
}

const MID: &str = "pub use base::*;\n\
    #[inline] pub fn sum() -> u32 { base::v() + base::NUMBER }\n\
    pub fn through<T: Copy>(t: T) -> [T; 2] { base::twice(t) }\n\
    pub const VERSION: Option<&str> = option_env!(\"CARGO_PKG_VERSION\");\n";

/// What it reads counts where a macro may run: variables of cargo, and the directory of outputs.
const MACRO: &str = "extern crate proc_macro;\n\
    use proc_macro::TokenStream;\n\
    fn length(text: String) -> TokenStream { text.len().to_string().parse().unwrap() }\n\
    #[proc_macro] pub fn version(_: TokenStream) -> TokenStream { \
    length(format!(\"{:?}\", std::env::var(\"CARGO_PKG_VERSION\"))) }\n\
    #[proc_macro] pub fn crate_name(_: TokenStream) -> TokenStream { \
    format!(\"{:?}\", std::env::var(\"CARGO_PKG_NAME\").unwrap_or_default()).parse().unwrap() }\n\
    #[proc_macro] pub fn built(_: TokenStream) -> TokenStream { \
    length(std::env::var(\"OUT_DIR\").ok().and_then(|directory| \
    std::fs::read_to_string(directory + \"/built.txt\").ok()).unwrap_or_default()) }\n\
    #[proc_macro_derive(Nothing)] pub fn nothing(_: TokenStream) -> TokenStream { \
    TokenStream::new() }\n";

fn root_text(random: &mut Random, has_macro: bool) -> String {
    let mut text = String::new();
    for line in [
        "#![allow(dead_code)]\n",
        "#![doc = include_str!(\"../data/t0.txt\")]\n",
        "#![no_std]\n",
        "#![warn(missing_docs)]\n",
        "#![recursion_limit = \"64\"]\n",
    ] {
        if random.below(5) == 0 {
            text.push_str(line);
        }
    }
    for line in [
        "mod m0;\n",
        "pub mod m1;\n",
        "#[path = \"../elsewhere/p.rs\"] pub mod p;\n",
        "pub mod nested { pub mod deep; }\n",
        "#[cfg(v0)] mod m2;\n",
        "#[cfg_attr(v1, path = \"../elsewhere/p.rs\")] #[cfg(v1)] mod q;\n",
    ] {
        if random.below(2) == 0 {
            text.push_str(line);
        }
    }
    for _ in 0..3 + random.below(6) {
        text.push_str(&item(random, "../data", has_macro));
        text.push('\n');
    }
    text
}

/// The text of a module.
pub fn module_text(random: &mut Random, name: &str) -> String {
    let up = name.matches('/').count();
    let mut text = String::new();
    if name.contains("m0") && !name.contains("inner") && random.below(2) == 0 {
        text.push_str("pub mod inner;\n");
    }
    for _ in 0..1 + random.below(2) {
        text.push_str(&item(random, &format!("{}data", "../".repeat(up)), false));
        text.push('\n');
    }
    text
}

/// A number for a name that hardly comes twice.
fn id(random: &mut Random) -> u64 {
    random.below(100_000)
}

/// One item on a line of its own. `data` leads to the files that can be included.
pub fn item(random: &mut Random, data: &str, has_macro: bool) -> String {
    let (id, value) = (id(random), random.below(10));
    if has_macro && random.below(3) == 0 {
        return match random.below(4) {
            0 => format!("pub const MV{id}: u32 = mac::version!();"),
            1 => format!("pub const MN{id}: &str = mac::crate_name!();"),
            2 => format!("pub const MB{id}: u32 = mac::built!();"),
            _ => format!("#[derive(mac::Nothing)] pub struct Derived{id};"),
        };
    }
    match random.below(3) {
        0 => reading_item(random, data, id),
        1 => depending_item(random, id),
        _ => plain_item(random, id, value),
    }
}

/// An item that reads a file or a variable.
fn reading_item(random: &mut Random, data: &str, id: u64) -> String {
    let number = random.below(3);
    match random.below(15) {
        0 | 1 => format!("pub const T{id}: &str = include_str!(\"{data}/t{number}.txt\");"),
        2 => format!("pub const B{id}: &[u8] = include_bytes!(\"{data}/t{number}.txt\");"),
        3 => format!("pub mod i{id} {{ include!(\"{data}/items.rs\"); }}"),
        4 | 5 => format!("pub const A{id}: &str = env!(\"VAR_A\");"),
        6 | 7 => format!("pub const O{id}: Option<&str> = option_env!(\"VAR_B\");"),
        8 => format!("pub const N{id}: Option<&str> = option_env!(\"CARGO_PKG_NAME\");"),
        9 => format!("pub const D{id}: &str = env!(\"OUT_DIR\");"),
        10 | 11 => format!(
            "pub const G{id}: (u32, u32) = include!(concat!(env!(\"OUT_DIR\"), \"/built.rs\"));"
        ),
        12 => format!("pub const M{id}: &str = env!(\"CARGO_MANIFEST_DIR\");"),
        13 => "core::arch::global_asm!(include_str!(\"../data/t0.txt\"), options(raw));"
            .replace("../data/t0.txt", &format!("{data}/none.s")),
        // Rare, because a crate with it is not cached.
        14 if random.below(4) == 0 => {
            "core::arch::global_asm!(\".section .x\", \".incbin \\\"data/t1.txt\\\"\", \
              \".text\");"
                .to_owned()
        }
        _ => format!("pub const U{id}: usize = include_str!(\"{data}/t{number}.txt\").len();"),
    }
}

/// An item that takes something of another crate.
fn depending_item(random: &mut Random, id: u64) -> String {
    match random.below(11) {
        0 | 1 => format!("pub fn dv{id}() -> u32 {{ base::v() + base::NUMBER }}"),
        2 => format!("pub fn df{id}() -> u32 {{ base::far() }}"),
        3 => format!("pub fn dt{id}() -> [u8; 2] {{ base::twice(3u8) }}"),
        4 => format!("pub fn dm{id}() -> u32 {{ base::made!(4) }}"),
        5 | 6 => format!("pub fn ds{id}() -> u32 {{ mid::sum() }}"),
        7 => format!("pub fn dg{id}() -> [u16; 2] {{ mid::through(5u16) }}"),
        8 => format!("pub fn dd{id}() {{ drop(mid::Thing(1)); base::old() }}"),
        9 => format!("pub const DV{id}: Option<&str> = mid::VERSION;"),
        _ => format!(
            "#[link(name = \"nat\", kind = \"static\")] unsafe extern \"C\" {{ pub fn nat{id}(); }}"
        ),
    }
}

fn plain_item(random: &mut Random, id: u64, value: u64) -> String {
    match random.below(17) {
        0 => format!("pub fn f{id}() -> u32 {{ {value} }}"),
        1 => format!("pub fn w{id}() {{ let unused = {value}; }}"),
        2 => format!("#[cfg(v0)] pub fn c0_{id}() -> u32 {{ {value} }}"),
        3 => format!("#[cfg(feature = \"one\")] pub fn c1_{id}() -> u32 {{ {value} }}"),
        4 => format!("#[cfg(debug_assertions)] pub const C{id}: u32 = {value};"),
        5 => format!("pub const CF{id}: bool = cfg!(feature = \"two\");"),
        6 => format!("pub const FILE{id}: (&str, u32) = (file!(), line!());"),
        7 => format!("pub fn panics{id}(x: Option<u32>) -> u32 {{ x.unwrap() + {value} }}"),
        8 => format!("pub fn g{id}<T: Copy>(t: T) -> [T; 3] {{ [t, t, t] }}"),
        9 => format!("pub static S{id}: [u8; 4] = *b\"abc{value}\";"),
        10 => format!("#[unsafe(no_mangle)] pub extern \"C\" fn n{id}() -> u32 {{ {value} }}"),
        11 => format!("/// Words {value}.\npub struct Documented{id};"),
        12 => format!("#[test] fn t{id}() {{ assert_eq!({value}, 1); }}"),
        13 => format!("pub fn lint{id}(x: bool) -> bool {{ return x == true; }}"),
        14 if random.below(6) == 0 => format!("pub fn e{id}() -> u32 {{ \"wrong\" }}"),
        15 => format!("#[cfg(target_feature = \"avx2\")] pub fn avx{id}() {{}}"),
        _ => format!("pub const K{id}: u32 = {value};"),
    }
}

/// The calls of cargo for the whole workspace, in order.
fn first_call(random: &mut Random, root: &str, has_macro: bool) -> Call {
    // Most calls work in any directory only if they name everything by its whole path.
    let at = if random.below(4) == 0 { "@ROOT@/" } else { "" };
    let library = |name: &str, letter: &str| {
        let mut units = vec![unit(&format!("--crate-name {name}"))];
        units.push(unit(&format!("{at}{name}/lib.rs")));
        units.push(unit("--crate-type lib"));
        units.push(unit("--edition=2021"));
        units.push(unit("--emit=dep-info,metadata,link"));
        units.push(unit(&format!("-C metadata={letter}")));
        units.push(unit(&format!("-C extra-filename=-{letter}")));
        units.push(unit(&format!("--out-dir {at}out")));
        units
    };
    let mut all = vec![library("base", "b"), library("other", "o")];
    if has_macro {
        let mut units = library("mac", "p");
        units.retain(|unit| unit[0] != "--emit=dep-info,metadata,link");
        units.retain(|unit| unit[0] != "--crate-type");
        units.extend([unit("--crate-type proc-macro"), unit("-C prefer-dynamic")]);
        units.push(unit("--emit=dep-info,link"));
        all.push(units);
    }
    let ending = if random.below(3) == 0 { "rmeta" } else { "rlib" };
    let mut mid = library("mid", "m");
    mid.push(unit(&format!("--extern base={at}out/libbase-b.{ending}")));
    mid.push(unit(&format!("-L dependency={at}out")));
    all.push(mid);
    let mut units = vec![unit("--crate-name top"), unit(&format!("{at}{root}"))];
    units.push(flags::one_of(random, &["--edition=2021", "--edition 2018", "--edition=2024"]));
    units.push(flags::one_of(random, flags::TYPES));
    units.push(flags::one_of(random, flags::EMITS));
    units.push(unit(&format!("--out-dir {at}out")));
    units.push(unit(&format!("--extern base={at}out/libbase-b.{ending}")));
    units.push(unit(&format!("--extern mid={at}out/libmid-m.{ending}")));
    if has_macro {
        units.push(unit(&format!("--extern mac={at}out/libmac-p.so")));
    }
    units.push(unit(&format!("-L dependency={at}out")));
    if random.below(4) != 0 {
        units.push(unit("-L native=nat"));
    }
    for _ in 0..random.below(3) {
        units.push(flags::option(random));
    }
    let mut variables = BTreeMap::new();
    for (name, value) in [("VAR_A", "a"), ("OUT_DIR", "@ROOT@/gen"), ("CARGO_PKG_NAME", "top")] {
        if random.below(8) != 0 {
            variables.insert(name.to_owned(), value.to_owned());
        }
    }
    if random.below(4) != 0 {
        variables.insert("CARGO_MANIFEST_DIR".to_owned(), "@ROOT@".to_owned());
    }
    Call {
        parts: all.into_iter().map(|units| Part { compiler: "rustc".to_owned(), units }).collect(),
        compiler: (*random.choose(flags::COMPILERS)).to_owned(),
        units,
        variables,
        directory: ".".to_owned(),
        umask: 0o022,
    }
}
