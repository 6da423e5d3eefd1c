//! Caches that a real sccache has made and finds its results in again.

use std::fs;
use std::net::TcpListener;

use super::*;

/// A server of sccache on a cache; it is stopped with the value.
struct Server<'a> {
    house: &'a House,
    program: PathBuf,
    cache: PathBuf,
    port: u16,
}

impl<'a> Server<'a> {
    fn new(house: &'a House, program: &Path, cache: &str) -> Server<'a> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Server { house, program: program.to_owned(), cache: house.at(cache), port }
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = self.house.command(&self.program);
        for name in ["RUSTUP_HOME", "CARGO_HOME", "HOME"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.env("SCCACHE_DIR", &self.cache).env("SCCACHE_SERVER_PORT", self.port.to_string());
        command.env("SCCACHE_DIRECT", "true").env("SCCACHE_IDLE_TIMEOUT", "60");
        command.env("SCCACHE_CONF", self.house.at("none"));
        command.args(words).output().unwrap()
    }

    /// Compiles C and Rust; how many hits each had.
    #[track_caller]
    fn compile(&self) -> (u64, u64) {
        let rust = [
            "rustc",
            "--crate-name",
            "x",
            "--crate-type",
            "lib",
            "--emit",
            "link,metadata,dep-info",
            "--out-dir",
            "out",
            "-C",
            "metadata=1",
            "-C",
            "extra-filename=-1",
            "x.rs",
        ];
        fs::create_dir_all(self.house.at("out")).unwrap();
        for words in [&["gcc", "-c", "a.c", "-o", "a.o"][..], &rust] {
            let output = self.run(words);
            assert!(output.status.success(), "{words:?} {}", text_of(&output));
        }
        let output = self.run(&["--show-stats", "--stats-format", "json"]);
        let page: Value = serde_json::from_slice(&output.stdout).unwrap();
        let hits = &page["stats"]["cache_hits"]["counts"];
        assert_eq!(page["stats"]["cache_write_errors"], 0);
        (hits["C/C++"].as_u64().unwrap_or(0), hits["Rust"].as_u64().unwrap_or(0))
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.run(&["--stop-server"]);
    }
}

#[test]
fn a_cache_comes_back_from_every_layout_and_its_sccache_hits() {
    let Some(program) = larder_tests::find_or_skip("sccache") else { return };
    let version = Command::new(&program).arg("--version").output().unwrap();
    if String::from_utf8_lossy(&version.stdout).contains("larder") {
        return;
    }
    let house = House::new();
    fs::write(house.at("a.h"), "#define A 1\n").unwrap();
    fs::write(house.at("a.c"), "#include \"a.h\"\nint a(void) { int b; return A; }\n").unwrap();
    fs::write(house.at("x.rs"), "pub fn f(_: i32) -> u8 { 1 }\n").unwrap();
    assert_eq!(Server::new(&house, &program, "cache").compile(), (0, 0));
    let before = tree(&house.at("cache"));
    assert!(before.keys().any(|path| path.starts_with("preprocessor/")), "{before:?}");
    assert_eq!(before.len(), 3, "{before:?}");
    for (way, after) in house.ways("cache", "sccache") {
        assert_same(&after, &before, &way);
        assert_eq!(Server::new(&house, &program, &way).compile(), (1, 1), "{way}");
    }
    for (path, _) in before {
        house.good(&["inspect", &format!("cache/{path}")]);
    }
}
