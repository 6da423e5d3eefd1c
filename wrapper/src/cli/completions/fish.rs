//! The script for fish 3 and later: a file `larder.fish` in a directory of `fish_complete_path`.

use super::super::flags::{self, COMMANDS, Command, Kind, Takes};
use super::COMPILER_NAMES;

/// The script.
pub fn script() -> String {
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    let functions = FUNCTIONS.replace("COMMANDS", &names.join(" "));
    let mut script = functions.replace("COMPILER_NAMES", COMPILER_NAMES);
    for command in COMMANDS {
        add(
            &mut script,
            "__larder_at",
            &format!("-a {} -d {}", command.name, quoted(command.what)),
        );
    }
    for command in flags::all() {
        let is_here = format!("__larder_in {}", command.name);
        for inner in command.commands {
            let at = format!("__larder_at {}", command.name);
            add(&mut script, &at, &format!("-a {} -d {}", inner.word(), quoted(inner.what)));
        }
        for flag in command.shown_flags() {
            let value = match flag.takes {
                Takes::Nothing => String::new(),
                Takes::One(_, kind) => format!(" -x{}", choices(kind)),
                Takes::Maybe(_, kind) => choices(kind),
            };
            let text = format!("-l {}{value} -d {}", flag.name, quoted(flag.what));
            add(&mut script, &is_here, &text);
        }
        add(&mut script, &is_here, "-l help -d 'show the help of this command'");
        for kind in operands(command) {
            add(&mut script, &is_here, choices(kind).trim_start());
        }
        if command.behind.is_some() {
            let behind = format!("__larder_behind {}", command.name);
            add(&mut script, &behind, choices(Kind::Compile).trim_start());
        }
    }
    script
}

fn operands(command: &Command) -> impl Iterator<Item = Kind> {
    command.operands.iter().map(|operand| operand.kind).filter(|kind| !choices(*kind).is_empty())
}

fn add(script: &mut String, condition: &str, text: &str) {
    script.push_str(&format!("complete -c larder -n '{condition}' {text}\n"));
}

/// The option that completes values of a kind.
fn choices(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Size | Kind::Age | Kind::Namespace => String::new(),
        Kind::File => " -a '(__fish_complete_path (commandline -ct))'".to_owned(),
        Kind::Directory => " -a '(__fish_complete_directories (commandline -ct))'".to_owned(),
        Kind::Job => " -a '(__larder_jobs)'".to_owned(),
        Kind::Compile => " -a '(__larder_compilers)'".to_owned(),
        Kind::Choice(choices) => format!(" -a '{}'", choices.join(" ")),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

const FUNCTIONS: &str = r#"# fish completion for larder, made by `larder completions fish`

# Whether the words before the cursor are larder and exactly these.
function __larder_at
    set -l words (commandline -opc)
    set -e words[1]
    test "$words" = "$argv"
end

# Whether they begin with these, and no `--` stands behind them.
function __larder_in
    set -l words (commandline -opc)
    set -l last (math (count $argv) + 1)
    test (count $words) -ge $last
    and test "$words[2..$last]" = "$argv"
    and not contains -- -- $words
end

# Whether they begin with these, and `--` stands behind them.
function __larder_behind
    set -l words (commandline -opc)
    test "$words[2]" = "$argv"
    and contains -- -- $words
end

# Whether the first word is a compiler.
function __larder_compiles
    set -l words (commandline -opc)
    test (count $words) -gt 1
    and not contains -- $words[2] COMMANDS help
end

function __larder_jobs
    set -l words (commandline -opc)
    $words[1] job list 2>/dev/null | string replace -rf ': begun .*' ''
end

function __larder_compilers
    complete -C '' | string replace -r '\t.*' '' | string match -r 'COMPILER_NAMES' -a | sort -u
end

complete -c larder -n 'not __larder_compiles' -f
complete -c larder -n __larder_compiles -x -a '(__fish_complete_subcommand --fcs-skip=1)'
complete -c larder -n __larder_at -a '(__larder_compilers)' -d compiler
complete -c larder -n __larder_at -l help -d 'show what there is'
complete -c larder -n __larder_at -l version -d 'show the version'
complete -c larder -n __larder_at -a help -d 'show the help of a command'
complete -c larder -n '__larder_at help' -a 'COMMANDS'
"#;
