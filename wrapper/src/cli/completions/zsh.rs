//! The script for zsh: a file `_larder` in a directory of `fpath`, or text for `source`.

use super::super::flags::{COMMANDS, Command, Count, Flag, Kind, Operand, Takes};
use super::{COMPILER_NAMES, quoted};

/// The script.
pub fn script() -> String {
    let mut script = String::from(
        "#compdef larder\n# zsh completion for larder, made by `larder completions zsh`\n\n",
    );
    script.push_str(&FUNCTIONS.replace("COMPILER_NAMES", COMPILER_NAMES));
    script.push_str("_larder() {\n    local -a choices\n    choices=(\n");
    script.push_str(&descriptions(COMMANDS, 8));
    script.push_str("        'help:show the help of a command'\n    )\n");
    script.push_str(FIRST_WORD);
    script.push_str("    case $words[2] in\n");
    for command in COMMANDS {
        script.push_str(&format!("    {})\n", command.name));
        match command.commands {
            [] => script.push_str(&arguments(command, 1, 8)),
            inner => script.push_str(&inner_commands(inner)),
        }
        script.push_str("        ;;\n");
    }
    script.push_str("    *) shift words; (( CURRENT-- )); _normal ;;\n    esac\n}\n\n");
    script.push_str(
        "if [[ $funcstack[1] == _larder ]]; then\n    _larder \"$@\"\nelse\n    \
         compdef _larder larder\nfi\n",
    );
    script
}

const FUNCTIONS: &str = r#"_larder_jobs() {
    local -a jobs
    jobs=(${(f)"$(_call_program jobs $larder job list 2> /dev/null | sed -n 's/: begun .*//p')"})
    compadd -a jobs
}

_larder_compilers() {
    local -a names
    zmodload -i zsh/parameter
    names=(${(k)commands})
    names=(${(f)"$(print -rl -- $names | grep -E 'COMPILER_NAMES')"})
    compadd -a names
}

_larder_compile() {
    (( CURRENT == 1 )) && _larder_compilers || _normal
}

"#;

const FIRST_WORD: &str = r#"    local larder=$words[1]
    if (( CURRENT == 2 )); then
        _describe -t commands 'command' choices
        _larder_compilers
        return
    fi
    if [[ $words[2] == help ]]; then
        _describe -t commands 'command' choices
        return
    fi
"#;

/// `name:what it does`, a line each.
fn descriptions(commands: &[Command], indent: usize) -> String {
    let blank = " ".repeat(indent);
    let line = |command: &Command| {
        let text = format!("{}:{}", command.word(), command.what.replace(':', "\\:"));
        format!("{blank}{}\n", quoted(&text))
    };
    commands.iter().map(line).collect()
}

fn inner_commands(commands: &[Command]) -> String {
    let mut text = String::from("        if (( CURRENT == 3 )); then\n            choices=(\n");
    text.push_str(&descriptions(commands, 16));
    text.push_str("            )\n            _describe -t commands 'command' choices\n");
    text.push_str("            return\n        fi\n        case $words[3] in\n");
    for command in commands {
        text.push_str(&format!("        {})\n", command.word()));
        text.push_str(&arguments(command, 2, 12));
        text.push_str("            ;;\n");
    }
    text.push_str("        esac\n");
    text
}

/// The call of `_arguments` for a command that is so many words.
fn arguments(command: &Command, words: usize, indent: usize) -> String {
    let blank = " ".repeat(indent);
    let mut specs: Vec<String> = command.shown_flags().map(flag).collect();
    specs.push("'(- *)--help[show the help of this command]'".to_owned());
    specs.extend(command.operands.iter().map(operand));
    if command.behind.is_some() {
        specs.push("'*::compile:_larder_compile'".to_owned());
    }
    let specs: Vec<String> = specs.iter().map(|spec| format!("{blank}    {spec}")).collect();
    let specs = specs.join(" \\\n");
    format!(
        "{blank}shift {words} words; (( CURRENT -= {words} ))\n{blank}_arguments -s \\\n{specs}\n"
    )
}

fn flag(flag: &'static Flag) -> String {
    let what = flag.what.replace('\\', "\\\\").replace('[', "\\[").replace(']', "\\]");
    let star = if flag.repeats { "*" } else { "" };
    let text = match flag.takes {
        Takes::Nothing => format!("{star}--{}[{what}]", flag.name),
        Takes::One(value, kind) => {
            format!("{star}--{}=[{what}]:{value}:{}", flag.name, action(kind))
        }
        Takes::Maybe(value, kind) => {
            format!("{star}--{}=[{what}]::{value}:{}", flag.name, action(kind))
        }
    };
    quoted(&text)
}

fn operand(operand: &Operand) -> String {
    let (name, action) = (operand.name, action(operand.kind));
    quoted(&match operand.count {
        Count::One => format!(":{name}:{action}"),
        Count::Maybe => format!("::{name}:{action}"),
        Count::Some => format!("*:{name}:{action}"),
    })
}

fn action(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Size | Kind::Age | Kind::Namespace => " ".to_owned(),
        Kind::File => "_files".to_owned(),
        Kind::Directory => "_files -/".to_owned(),
        Kind::Job => "_larder_jobs".to_owned(),
        Kind::Compile => "_larder_compile".to_owned(),
        Kind::Choice(choices) => format!("({})", choices.join(" ")),
    }
}
