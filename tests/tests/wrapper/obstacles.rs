//! Calls in which larder stood in the way of a build that the compiler alone would have finished,
//! or went on where the compiler would have ended.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use larder_tests::larder_binary;

use super::{Sandbox, compilers, wait_a_tick};

/// Far more than any of these calls takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Its status; whoever never ends is ended, and has none.
fn status(mut child: Child) -> Option<i32> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

/// The kernel ends whoever writes behind `ulimit -f`, and larder's store has longer files than the
/// object.
#[test]
fn a_limit_on_the_length_of_files_ends_no_compile() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", "int a;\n");
        for blocks in ["8", "2000"] {
            let script = format!("ulimit -f {blocks}; exec \"$0\" {compiler} -c a.c");
            let mut command = sandbox.command(Path::new("sh"));
            let child = command.arg("-c").arg(script).arg(larder_binary()).spawn().unwrap();
            assert_eq!(status(child), Some(0), "{compiler} {blocks}");
            fs::remove_file(sandbox.path("a.o")).unwrap();
        }
        assert_eq!(sandbox.check(compiler, &["-c", "a.c"]), "miss");
    }
}

/// Where only the preprocessor could list the inputs, larder ran it behind the compiler, and it
/// waited for somebody who would write to the pipe once more.
#[test]
fn a_header_that_is_a_pipe_is_read_once() {
    for compiler in compilers() {
        for option in ["-MMD", "-MD", "-DY"] {
            let sandbox = Sandbox::new();
            sandbox.write("a.c", "int a = X;\n");
            let pipe = sandbox.path("pipe");
            assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            let mut writer = sandbox.command(Path::new("sh"));
            let mut writer = writer.args(["-c", "echo '#define X 1' > pipe"]).spawn().unwrap();
            let mut command = sandbox.command(larder_binary());
            command.args([compiler, option, "-include", "pipe", "-c", "a.c"]);
            assert_eq!(status(command.spawn().unwrap()), Some(0), "{compiler} {option}");
            writer.kill().unwrap();
            writer.wait().unwrap();
        }
    }
}

/// Without manifests the preprocessor runs first, and it took what the compiler was to read.
#[test]
fn standard_input_that_is_included_is_left_to_the_compiler() {
    for compiler in compilers() {
        for mode in ["1", "0"] {
            let mut sandbox = Sandbox::new();
            sandbox.set("LARDER_DIRECT_MODE", mode);
            sandbox.write("a.c", "int a = X;\n");
            sandbox.write("b.c", "#include \"/dev/stdin\"\nint a = X;\n");
            wait_a_tick();
            for words in [&["-include", "/dev/stdin", "-c", "a.c"][..], &["-c", "b.c"]] {
                let mut command = sandbox.command(larder_binary());
                command.arg(compiler).args(words).stdin(Stdio::piped());
                let mut child = command.spawn().unwrap();
                let mut input = child.stdin.take().unwrap();
                std::io::Write::write_all(&mut input, b"#define X 1\n").unwrap();
                drop(input);
                assert_eq!(status(child), Some(0), "{compiler} {mode} {words:?}");
            }
        }
    }
}

/// Whoever ended larder, as `timeout` and make do, left the compiler running: it wrote its object
/// after make had removed it. And larder's file for the list of inputs stayed.
#[test]
fn whoever_ends_larder_ends_the_compiler() {
    for signal in ["TERM", "INT", "HUP"] {
        let mut sandbox = Sandbox::new();
        sandbox.write("a.c", "int a;\n");
        fs::create_dir(sandbox.path("temporary")).unwrap();
        let temporary = sandbox.path("temporary").display().to_string();
        sandbox.set("TMPDIR", &temporary);
        sandbox.set("LARDER_PREFIX_COMMAND", "sh slow");
        let trap = format!("trap 'touch ended; exit 1' {signal}\n");
        sandbox.write("slow", &format!("{trap}touch started\nwhile :; do sleep 0.01; done\n"));
        let mut command = sandbox.command(larder_binary());
        let child = command.args(["gcc", "-c", "a.c"]).spawn().unwrap();
        let appears = |name: &str| {
            let start = Instant::now();
            while !sandbox.path(name).exists() && start.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(5));
            }
            sandbox.path(name).exists()
        };
        assert!(appears("started"), "{}", sandbox.log());
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 1);
        let mut kill = Command::new("kill");
        assert!(
            kill.arg(format!("-{signal}")).arg(child.id().to_string()).status().unwrap().success()
        );
        assert_eq!(status(child), None, "it ends by the signal");
        assert!(appears("ended"), "{signal}");
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "{signal}");
    }
}
