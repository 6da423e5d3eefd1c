//! The script for bash 4 and later; it needs no package of completions, and takes its help where it
//! is loaded.

use super::super::flags::{self, COMMANDS, Command, Flag, Kind, Takes};
use super::{COMPILER_NAMES, kind_at};

/// The script.
pub fn script() -> String {
    let mut script =
        String::from("# bash completion for larder, made by `larder completions bash`\n\n");
    script.push_str(&table("_larder_flags", flags_of));
    script.push_str(&table("_larder_commands", |command| {
        command.commands.iter().map(Command::word).collect::<Vec<_>>().join(" ")
    }));
    script.push_str(&table("_larder_operands", |command| {
        kind_at(command, 0).map_or(String::new(), action)
    }));
    script.push_str("_larder_values() {\n    case \"$1\" in\n");
    for command in flags::all() {
        for flag in command.shown_flags() {
            if let Takes::One(_, kind) | Takes::Maybe(_, kind) = flag.takes {
                let name = format!("{} --{}", command.name, flag.name);
                script.push_str(&format!("    '{name}') echo '{}' ;;\n", action(kind)));
            }
        }
    }
    script.push_str("    esac\n}\n\n");
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    let rest = REST.replace("COMMANDS", &names.join(" "));
    script.push_str(&rest.replace("COMPILER_NAMES", COMPILER_NAMES));
    script
}

/// A function that tells words for a command.
fn table(name: &str, words: impl Fn(&Command) -> String) -> String {
    let mut text = format!("{name}() {{\n    case \"$1\" in\n");
    for command in flags::all() {
        let words = words(command);
        if !words.is_empty() {
            text.push_str(&format!("    '{}') echo '{words}' ;;\n", command.name));
        }
    }
    text.push_str("    esac\n}\n\n");
    text
}

fn flags_of(command: &Command) -> String {
    let names = command.shown_flags().map(|flag: &Flag| format!("--{}", flag.name));
    let behind = command.behind.iter().map(|_| "--".to_owned());
    names.chain(["--help".to_owned()]).chain(behind).collect::<Vec<_>>().join(" ")
}

/// How values of a kind are found; the words of a choice stand for themselves.
fn action(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Size | Kind::Age | Kind::Namespace => String::new(),
        Kind::File => "@files".to_owned(),
        Kind::Directory => "@directories".to_owned(),
        Kind::Job => "@jobs".to_owned(),
        Kind::Compile => "@compile".to_owned(),
        Kind::Choice(choices) => choices.join(" "),
    }
}

/// What is the same for every table of commands.
const REST: &str = r#"_larder_find() {
    case "$1" in
    '') ;;
    @files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$2") ;;
    @directories) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$2") ;;
    @jobs)
        local jobs
        jobs=$("${COMP_WORDS[0]}" job list 2> /dev/null | sed -n 's/: begun .*//p')
        mapfile -t COMPREPLY < <(compgen -W "$jobs" -- "$2")
        ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2") ;;
    esac
}

# Behind a compiler, or a compile behind `--`, at a word of the line.
_larder_compile() {
    if declare -F _command_offset > /dev/null; then
        _command_offset "$1"
    elif [[ $COMP_CWORD -eq $1 ]]; then
        _larder_compilers "${COMP_WORDS[COMP_CWORD]}"
    else
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
    fi
}

_larder_compilers() {
    mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(
        compgen -c -- "$1" | grep -E 'COMPILER_NAMES' | sort -u
    )
}

_larder() {
    COMPREPLY=()
    local current=${COMP_WORDS[COMP_CWORD]} first=${COMP_WORDS[1]} flag= inner at
    if [[ $COMP_CWORD -eq 1 ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'COMMANDS help --help --version' -- "$current")
        [[ $current == -* ]] || _larder_compilers "$current"
        return
    fi
    if [[ $first == help ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'COMMANDS' -- "$current")
        return
    fi
    case " COMMANDS " in
    *" $first "*) ;;
    *) _larder_compile 1; return ;;
    esac
    local command=$first commands
    commands=$(_larder_commands "$first")
    if [[ $commands ]]; then
        if [[ $COMP_CWORD -eq 2 ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$commands --help" -- "$current")
            return
        fi
        command="$first ${COMP_WORDS[2]}"
    fi
    for ((at = 2; at < COMP_CWORD; at++)); do
        if [[ ${COMP_WORDS[at]} == -- ]]; then
            _larder_compile $((at + 1))
            return
        fi
    done
    # bash takes `--flag=value` for three words.
    if [[ $current == = ]]; then
        flag=${COMP_WORDS[COMP_CWORD - 1]} current=
    elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == = ]]; then
        flag=${COMP_WORDS[COMP_CWORD - 2]}
    elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == --* ]]; then
        flag=${COMP_WORDS[COMP_CWORD - 1]}
    fi
    inner=$([[ $flag ]] && _larder_values "$command $flag")
    if [[ $inner && $current != -* ]]; then
        _larder_find "$inner" "$current"
    elif [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_larder_flags "$command")" -- "$current")
    else
        inner=$(_larder_operands "$command")
        if [[ $inner ]]; then
            _larder_find "$inner" "$current"
        else
            mapfile -t COMPREPLY < <(compgen -W "$(_larder_flags "$command")" -- "$current")
        fi
    fi
}

complete -F _larder larder
"#;
