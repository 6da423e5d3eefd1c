//! The table of commands.
//!
//! Texts are sentences for people who build programs and have never read about larder. What a line
//! of a list says begins small and has no full stop; paragraphs are sentences.

use super::super::{
    agent, completions, doctor, explain, housekeeping, job, key, man, shims, stats, trim, verify,
};
use super::tools::{CAT, CONVERT, DU, EXPORT, IMPORT, INSPECT, LS, RM};
use super::{Command, Count, Flag, Kind, Operand, Takes};

/// Every command, in the order in which people are told of them.
pub const COMMANDS: &[Command] = &[
    STATS,
    EXPLAIN,
    ZERO,
    CLEAR,
    CONFIG,
    DOCTOR,
    SHIMS,
    VERIFY,
    TRIM,
    LS,
    INSPECT,
    CAT,
    RM,
    DU,
    CONVERT,
    EXPORT,
    IMPORT,
    JOB,
    AGENT,
    KEY,
    JANITOR,
    CHECKPOINT,
    COMPLETIONS,
    MAN,
];

const STATS: Command = Command {
    name: "stats",
    what: "show hits, misses and the size of the store",
    flags: &[
        Flag {
            name: "since",
            takes: Takes::One("FILE|AGE", Kind::File),
            what: "only what happened since `larder stats --json > FILE`; with --log an age, as \
                   30m",
            ..Flag::NONE
        },
        Flag {
            name: "log",
            takes: Takes::One("FILE", Kind::File),
            what: "sum up a log of calls (LARDER_STATS_LOG) in place of the store's counters, and \
                   show the slowest misses and the reasons",
            ..Flag::NONE
        },
        Flag {
            name: "html",
            takes: Takes::One("FILE", Kind::File),
            what: "write the same as a page for a browser",
            ..Flag::NONE
        },
        Flag::JSON,
    ],
    notes: &["docs/statistics.md describes every counter."],
    examples: &[
        ("larder stats --json > before; make; larder stats --since before", "what one build did"),
        (
            "LARDER_STATS_LOG=/tmp/calls make; larder stats --log /tmp/calls",
            "the same, call by call",
        ),
    ],
    run: Some(stats::run),
    ..Command::NONE
};

const EXPLAIN: Command = Command {
    name: "explain",
    what: "say why a call was no hit, or what would become of one now",
    about: &[
        "Compares a call that was no hit with the nearest earlier entry for the same source, and \
         names what differs: words of the command line, variables, settings, the compiler, \
         headers. Nothing is compiled, stored or counted.",
    ],
    operands: &[Operand {
        name: "FILE|last",
        count: Count::Maybe,
        kind: Kind::File,
        what: "a source: its last call that was no hit; last: the last one of any source",
    }],
    behind: Some(Operand {
        name: "COMPILER ARGUMENTS",
        count: Count::Some,
        kind: Kind::Compile,
        what: "a compile: what would become of it now",
    }),
    flags: &[Flag::JSON],
    notes: &["docs/explain.md describes what is kept of a call, and the JSON."],
    examples: &[
        ("larder explain src/main.c", "why its last compile was no hit"),
        ("larder explain -- gcc -c src/main.c", "whether it would be one now"),
    ],
    run: Some(explain::run),
    ..Command::NONE
};

const ZERO: Command = Command {
    name: "zero",
    what: "set the statistics to zero",
    run: Some(housekeeping::zero),
    ..Command::NONE
};

const CLEAR: Command = Command {
    name: "clear",
    what: "remove everything from the store",
    about: &["The settings and the statistics stay. Compiles that run meanwhile go on."],
    run: Some(housekeeping::clear),
    ..Command::NONE
};

const CONFIG: Command = Command {
    name: "config",
    what: "show the settings, where each comes from, and what is wrong with them",
    flags: &[Flag::JSON],
    notes: &["docs/settings.md describes every setting."],
    run: Some(housekeeping::show_config),
    ..Command::NONE
};

const DOCTOR: Command = Command {
    name: "doctor",
    what: "say what stands in the way: compilers, PATH, variables, store, settings",
    about: &[
        "Each finding is fine (ok), worth knowing (note) or a problem, and the latter two say what \
         to do. A small C and a small C++ unit are compiled by each compiler alone and through \
         larder, in a temporary directory with a store of its own. Nothing else is changed.",
    ],
    flags: &[
        Flag { name: "store", what: "only the settings and the store", ..Flag::NONE },
        Flag { name: "no-trial", what: "compile nothing", ..Flag::NONE },
        Flag::JSON,
    ],
    statuses: &[
        (0, "there is no problem"),
        (1, "there is one"),
        (2, "wrong use, or a setting leaves open which store is meant"),
    ],
    run: Some(doctor::run),
    ..Command::NONE
};

const SHIMS: Command = Command {
    name: "shims",
    what: "make links to larder in a directory, named like the compilers in PATH",
    about: &[
        "With that directory first in PATH, everything that calls gcc, g++, cc, c++, clang or \
         clang++, with a version or for another machine too, calls larder. What is no link to \
         larder is never touched. Called again, it adds new compilers and removes links of those \
         that are gone.",
        "There is none for rustc, because cargo knows a new rustc by the time of its file, and \
         would see larder's: set RUSTC_WRAPPER=larder. For whoever calls rustc by himself, a link \
         of that name works as well.",
    ],
    operands: &[Operand {
        name: "DIR",
        count: Count::One,
        kind: Kind::Directory,
        what: "the directory of the links; it is made if it is not there",
    }],
    flags: &[
        Flag { name: "list", what: "show the links, and change nothing", ..Flag::NONE },
        Flag { name: "remove", what: "remove the links, and nothing else", ..Flag::NONE },
        Flag::JSON,
    ],
    examples: &[(
        "larder shims ~/.local/lib/larder && export PATH=~/.local/lib/larder:$PATH",
        "every compile of this shell goes through larder",
    )],
    statuses: &[
        (0, "every name leads to larder, or none is left"),
        (1, "a name is taken by something else, or a link cannot be made"),
        (2, "wrong use"),
    ],
    run: Some(shims::run),
    ..Command::NONE
};

const VERIFY: Command = Command {
    name: "verify",
    what: "read the whole store and say what is damaged, and what that means",
    flags: &[
        Flag {
            name: "repair",
            what: "drop what is damaged, and rebuild what can be rebuilt from the rest",
            ..Flag::NONE
        },
        Flag::JSON,
    ],
    notes: &["docs/verify.md describes every kind of damage."],
    statuses: &[
        (0, "everything is whole, or is whole after the repair"),
        (1, "something is damaged"),
        (2, "wrong use, or a setting leaves open which store is meant"),
        (3, "the store could not be read, or not be repaired, or the report not be written"),
    ],
    run: Some(verify::run),
    ..Command::NONE
};

const TRIM: Command = Command {
    name: "trim",
    what: "drop entries of the store by age, namespace, job or size, and free their disk space",
    about: &[
        "Which entries go is said by --older-than, --namespace and --not-touched-since-job: if \
         several are given, those to which all apply. How much stays is said by --max-size.",
    ],
    flags: &[
        Flag {
            name: "older-than",
            takes: Takes::One("AGE", Kind::Age),
            what: "stored longer ago than that: 30m, 12h, 7d, 2w; hits do not count",
            ..Flag::NONE
        },
        Flag {
            name: "namespace",
            takes: Takes::One("NAME", Kind::Namespace),
            what: "stored under LARDER_NAMESPACE=NAME; \"\" is none",
            ..Flag::NONE
        },
        Flag {
            name: "not-touched-since-job",
            takes: Takes::Maybe("ID", Kind::Job),
            repeats: true,
            what: "neither got nor put by that job (default: the one in LARDER_JOB) and stored \
                   before it began; may be given for several jobs, and what any of them touched \
                   stays",
            ..Flag::NONE
        },
        Flag {
            name: "max-size",
            takes: Takes::One("SIZE", Kind::Size),
            what: "after that the oldest go until the store takes no more disk than SIZE, as 500M \
                   or 2Gi (no unit: bytes); what was hit lately goes last. This limits the store \
                   once; LARDER_MAX_SIZE does so always",
            ..Flag::NONE
        },
        Flag { name: "dry-run", what: "only tell what would go", ..Flag::NONE },
        Flag::JSON,
    ],
    notes: &[
        "What is kept of the oldest part of the store is written again, so a trim may write as \
         much as it keeps. It can be interrupted at any time, and compiles go on meanwhile. It \
         waits for a janitor that is at work, for a minute at most. A store that is more than 90 % \
         full is evicted first, as always. An entry is a record: a compile has about two.",
    ],
    examples: &[
        ("larder trim --older-than 2w", "drop what was stored more than two weeks ago"),
        ("larder trim --max-size 2Gi --dry-run", "tell what would go to make the store this small"),
    ],
    statuses: &[
        (0, "what was to go is gone"),
        (1, "the store could not be trimmed, or not to that size"),
        (2, "wrong use"),
    ],
    run: Some(trim::run),
    ..Command::NONE
};

const JOB: Command = Command {
    name: "job",
    what: "begin, list and end jobs, for trim and traces",
    about: &[
        "A job remembers what its compiles got from the store and put into it, so that `larder \
         trim --not-touched-since-job` can drop the rest.",
        "Any number of jobs can run on one store at once; each compile belongs to the one in its \
         LARDER_JOB. A store remembers 16 of them, and the oldest goes when another one begins. \
         Compiles that may not write to the store (LARDER_READONLY) are not noted.",
    ],
    commands: &[JOB_START, JOB_LIST, JOB_END],
    examples: &[(
        "export LARDER_JOB=$(larder job start)",
        "in a CI: then build, then `larder trim --not-touched-since-job`",
    )],
    ..Command::NONE
};

const JOB_START: Command = Command {
    name: "job start",
    what: "begin a job, print its id",
    operands: &[Operand {
        name: "NAME",
        count: Count::Maybe,
        kind: Kind::Text,
        what: "what the id begins with: letters, digits, dots, - and _, up to 55",
    }],
    run: Some(job::start),
    ..Command::NONE
};

const JOB_LIST: Command = Command {
    name: "job list",
    what: "every job: its id, its age, how many entries it touched",
    flags: &[Flag::JSON],
    run: Some(job::list),
    ..Command::NONE
};

const JOB_END: Command = Command {
    name: "job end",
    what: "forget a job",
    operands: &[Operand {
        name: "ID",
        count: Count::One,
        kind: Kind::Job,
        what: "the id of the job",
    }],
    run: Some(job::end),
    ..Command::NONE
};

const AGENT: Command = Command {
    name: "agent",
    what: "show, flush and stop the program that speaks with the remote tiers",
    about: &[
        "It is started by the first miss of a build that has LARDER_TIERS, serves all builds of \
         this user with the same store and tiers, and leaves when nobody has asked for ten \
         minutes. What builds store is written to the tiers behind their backs.",
    ],
    commands: &[AGENT_STATUS, AGENT_FLUSH, AGENT_STOP],
    examples: &[("larder agent flush", "at the end of a CI job, before the machine goes away")],
    ..Command::NONE
};

const AGENT_STATUS: Command = Command {
    name: "agent status",
    what: "each tier: hits, misses, writes, failures, what waits to be written",
    flags: &[Flag::JSON],
    run: Some(agent::status),
    ..Command::NONE
};

const AGENT_FLUSH: Command = Command {
    name: "agent flush",
    what: "wait until everything that was stored is written to the tiers",
    flags: &[Flag {
        name: "wait",
        takes: Takes::One("SECONDS", Kind::Text),
        what: "at most so long, 600 by default; with status 1 if that is not enough, or a tier \
               cannot be written to",
        ..Flag::NONE
    }],
    run: Some(agent::flush),
    ..Command::NONE
};

const AGENT_STOP: Command = Command {
    name: "agent stop",
    what: "let it leave now; nothing that waits is lost, the next one writes it",
    run: Some(agent::stop),
    ..Command::NONE
};

const KEY: Command = Command {
    name: "key",
    what: "make, show and trust keys that sign results in remote tiers",
    about: &[
        "Whoever may write to a tier can put anything there. With a signing key, what this machine \
         writes is signed; where keys are trusted, only what these have signed is taken from \
         tiers.",
    ],
    commands: &[KEY_NEW, KEY_SHOW, KEY_TRUST],
    notes: &["docs/security.md describes what signatures are for, and what they are not."],
    examples: &[("larder key new --name ci", "on the machine whose results others take")],
    ..Command::NONE
};

const KEY_NEW: Command = Command {
    name: "key new",
    what: "make a key; prints what others have to trust",
    operands: &[Operand {
        name: "FILE",
        count: Count::Maybe,
        kind: Kind::File,
        what: "where the secret is written, ~/.config/larder/signing_key by default; it must not \
               exist",
    }],
    flags: &[Flag {
        name: "name",
        takes: Takes::One("NAME", Kind::Text),
        what: "what people call it: letters, digits, . _ @ and -; the user's name by default",
        ..Flag::NONE
    }],
    run: Some(key::new),
    ..Command::NONE
};

const KEY_SHOW: Command = Command {
    name: "key show",
    what: "the key that signs here, and those that are trusted",
    flags: &[Flag::JSON],
    run: Some(key::show),
    ..Command::NONE
};

const KEY_TRUST: Command = Command {
    name: "key trust",
    what: "take results of this key from tiers",
    operands: &[Operand {
        name: "KEY",
        count: Count::Some,
        kind: Kind::Text,
        what: "what `larder key new` printed: larder-key-1, 64 digits, a name, and perhaps \
               namespace=NAME for each namespace that it may sign for",
    }],
    examples: &[(
        "larder key trust larder-key-1 9c0f... ci namespace=main",
        "and for no other one",
    )],
    run: Some(key::trust),
    ..Command::NONE
};

const JANITOR: Command = Command {
    name: "janitor",
    what: "do the upkeep that is due: merge, evict, checkpoint",
    about: &["Compiles start it by themselves where it is due, unless LARDER_JANITOR is off."],
    flags: &[Flag {
        name: "background",
        is_hidden: true,
        what: "with low priority, and silent: how compiles start it",
        ..Flag::NONE
    }],
    run: Some(housekeeping::janitor),
    ..Command::NONE
};

const CHECKPOINT: Command = Command {
    name: "checkpoint",
    what: "make the store safe against a power cut, now",
    run: Some(housekeeping::checkpoint),
    ..Command::NONE
};

const COMPLETIONS: Command = Command {
    name: "completions",
    what: "print what a shell needs to complete larder's commands",
    operands: &[Operand {
        name: "SHELL",
        count: Count::One,
        kind: Kind::Choice(completions::SHELLS),
        what: "bash, zsh or fish",
    }],
    examples: &[
        (
            "larder completions bash > ~/.local/share/bash-completion/completions/larder",
            "for bash, where the package bash-completion is installed",
        ),
        ("eval \"$(larder completions bash)\"", "for bash in any case: a line of ~/.bashrc"),
        (
            "larder completions zsh > ~/.zfunc/_larder",
            "for zsh, where fpath has ~/.zfunc before compinit runs",
        ),
        ("larder completions fish > ~/.config/fish/completions/larder.fish", "for fish"),
    ],
    run: Some(completions::run),
    ..Command::NONE
};

const MAN: Command = Command {
    name: "man",
    what: "print the manual page, or write all of them into a directory",
    operands: &[Operand {
        name: "DIR",
        count: Count::Maybe,
        kind: Kind::Directory,
        what: "where larder.1, larder-stats.1 and so on are written; it is made if it is not there",
    }],
    flags: &[Flag::JSON],
    examples: &[
        ("larder man | man -l -", "read the page of larder"),
        ("larder man ~/.local/share/man/man1", "install all pages"),
    ],
    run: Some(man::run),
    ..Command::NONE
};
