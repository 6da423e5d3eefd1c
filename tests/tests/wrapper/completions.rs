//! `larder completions`: the scripts in the shells that they are for.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use larder_tests::{find_or_skip, larder_binary};

use super::Sandbox;

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// A line to the cursor, and what is offered for its last word: all of these and none of those.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

const ROWS: &[Row] = &[
    ("larder st", &["stats"], &["trim"]),
    ("larder ", &["stats", "trim", "doctor", "completions", "help"], &["a.c"]),
    ("larder gc", &["gcc"], &["gcov", "gconv"]),
    ("larder help ve", &["verify"], &["stats"]),
    ("larder stats --", &["--json", "--help"], &["--dry-run"]),
    ("larder trim --", &["--older-than", "--max-size", "--dry-run", "--json"], &["--store"]),
    ("larder job ", &["start", "list", "end"], &["stats"]),
    ("larder job list --", &["--json", "--help"], &["--dry-run"]),
    ("larder job end ", &["ci-"], &["other"]),
    ("larder trim --not-touched-since-job=", &["ci-"], &[]),
    ("larder completions ", &["bash", "zsh", "fish"], &["stats"]),
    ("larder completions z", &["zsh"], &["bash"]),
    ("larder shims ", &["inner"], &["a.c"]),
    ("larder janitor --", &["--help"], &["--background"]),
    ("larder gcc -c ", &["a.c", "inner"], &["stats"]),
];

/// A sandbox with the script, a job, files, and `larder` in `PATH`.
fn prepared(shell: &str) -> (Sandbox, String) {
    let mut sandbox = Sandbox::new();
    let script = sandbox.larder(&["completions", shell]);
    assert_eq!((script.status.code(), script.stderr.len()), (Some(0), 0));
    fs::write(sandbox.dir.path().join("script"), script.stdout).unwrap();
    sandbox.write("a.c", "int x;\n");
    sandbox.write("inner/b.c", "int y;\n");
    assert!(sandbox.larder(&["job", "start", "ci"]).status.success());
    let path = std::env::var("PATH").unwrap();
    sandbox.set("PATH", &format!("{}:{path}", larder_binary().parent().unwrap().display()));
    let script = sandbox.dir.path().join("script").to_str().unwrap().to_owned();
    (sandbox, script)
}

/// Checks what a shell offers, each a word at the beginning of a line.
fn check(shell: &str, row: &Row, offered: &str) {
    let (line, all, none) = row;
    let has = |word: &str| {
        let begins = |line: &str| match word.ends_with('-') {
            true => line.starts_with(word),
            false => line.split(['\t', '/']).next() == Some(word),
        };
        offered.lines().any(|line| begins(line.trim_start_matches("--not-touched-since-job=")))
    };
    for word in *all {
        assert!(has(word), "{shell}: `{line}` does not offer {word}: {offered}");
    }
    for word in *none {
        assert!(!has(word), "{shell}: `{line}` offers {word}: {offered}");
    }
}

fn run(sandbox: &Sandbox, shell: &Path, words: &[&str]) -> String {
    let mut command: Command = sandbox.command(shell);
    let output = command.args(words).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(output.stderr.is_empty(), "{}", text(&output));
    text(&output)
}

#[test]
fn bash_completes() {
    let Some(bash) = find_or_skip("bash") else { return };
    let (sandbox, script) = prepared("bash");
    // `compopt` works only while bash completes by itself.
    let probe = r#"
        compopt() { :; }
        . "$1"
        line=${2//=/ = }
        read -r -a COMP_WORDS <<< "$line"
        [[ $2 == *[\ ] ]] && COMP_WORDS+=("")
        [[ $2 == *= ]] && COMP_LINE=$2
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _larder
        printf '%s\n' "${COMPREPLY[@]}""#;
    for row in ROWS {
        let words = ["--norc", "-c", probe, "probe", &script, row.0];
        check("bash", row, &run(&sandbox, &bash, &words));
    }
}

#[test]
fn fish_completes() {
    let Some(fish) = find_or_skip("fish") else { return };
    let (sandbox, script) = prepared("fish");
    for row in ROWS {
        let probe = format!("source {script}; complete -C '{}'", row.0);
        check("fish", row, &run(&sandbox, &fish, &["--no-config", "-c", &probe]));
    }
}

#[test]
fn zsh_completes() {
    let Some(zsh) = find_or_skip("zsh") else { return };
    let (sandbox, script) = prepared("zsh");
    let folder = sandbox.dir.path().join("functions");
    fs::create_dir(&folder).unwrap();
    fs::copy(&script, folder.join("_larder")).unwrap();
    // A second zsh behind a terminal of its own writes what `compadd` is given.
    let inner = r#"
        fpath=($FUNCTIONS $fpath)
        autoload -Uz compinit && compinit -u -D
        zstyle ':completion:*' list-max 0
        compadd() {
            if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return $?; fi
            local -a hits
            builtin compadd -A hits "$@"
            (( $#hits )) && print -rl -- $hits >> $OUT
            builtin compadd "$@"
        }
        probe() { BUFFER=$(<$LINE); CURSOR=$#BUFFER; zle list-choices; print done > $DONE; }
        zle -N probe
        bindkey '^Xp' probe
        PROMPT= RPROMPT=
        print ready > $READY
    "#;
    fs::write(sandbox.dir.path().join("inner"), inner).unwrap();
    let outer = r#"
        zmodload zsh/zpty
        zpty z zsh -f -i
        zpty -w z ". $INNER"
        wait_for() { repeat 600; do [[ -e $1 ]] && return; sleep 0.05; done; exit 9 }
        wait_for $READY
        zpty -w -n z $'\x18p'
        wait_for $DONE
        zpty -d z
        [[ -e $OUT ]] && cat $OUT
        true
    "#;
    for (at, row) in ROWS.iter().enumerate() {
        let file = |name: &str| sandbox.dir.path().join(format!("{name}{at}"));
        fs::write(file("line"), row.0).unwrap();
        let mut command = sandbox.command(&zsh);
        command.args(["-f", "-c", outer]).env("INNER", sandbox.dir.path().join("inner"));
        command.env("FUNCTIONS", &folder).env("LINE", file("line")).env("OUT", file("out"));
        command.env("READY", file("ready")).env("DONE", file("done")).env("TERM", "xterm");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}: {}", row.0, text(&output));
        check("zsh", row, &text(&output));
    }
}
