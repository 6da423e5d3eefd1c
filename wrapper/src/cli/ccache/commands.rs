//! ccache's options: what it does when it compiles nothing.

use std::ffi::{OsStr, OsString};
use std::process::exit;

use super::super::command::print;
use super::{STATUS_FAILED, fail, load};
use crate::config::ccache::set_in_file;

/// The version of ccache whose interface this is.
pub const INTERFACE_VERSION: &str = "4.13.6";

/// Runs `ccache OPTIONS`.
pub fn run(arguments: &[OsString]) -> ! {
    let Some(first) = arguments.first() else {
        print_or_fail(&help());
        exit(STATUS_FAILED)
    };
    let mut value = arguments.get(1).map(OsString::as_os_str);
    let mut option = first.to_string_lossy().into_owned();
    if let Some((name, text)) = option.clone().split_once('=').filter(|(name, _)| name.len() > 2) {
        value = Some(OsStr::new(&first.to_str().unwrap_or_default()[first.len() - text.len()..]));
        option = name.to_owned();
    }
    match option.as_str() {
        "-h" | "--help" => print_or_fail(&help()),
        "-V" | "--version" => print_or_fail(&version()),
        "--print-version" => print_or_fail(&format!("{INTERFACE_VERSION}\n")),
        "-p" | "--show-config" => {
            let row = |(origin, key, value)| format!("({origin}) {key} = {value}\n");
            print_or_fail(&load(&[]).rows().into_iter().map(row).collect::<String>());
        }
        "-k" | "--get-config" => {
            let key = value.unwrap_or_default().to_string_lossy();
            match load(&[]).get(&key) {
                Some(value) => print_or_fail(&format!("{value}\n")),
                None => fail(&format!("unknown configuration option \"{key}\"")),
            }
        }
        "-o" | "--set-config" => {
            let text = value.unwrap_or_default().to_string_lossy();
            let Some((key, value)) = text.split_once('=') else {
                fail(&format!("missing equal sign in \"{text}\""))
            };
            let settings = load(&[]);
            if let Err(error) = set_in_file(settings.config_file(), key, value) {
                fail(&error.to_string());
            }
        }
        _ => fail(&format!("there is no option {option}; --help shows which there are")),
    }
    exit(0)
}

fn print_or_fail(text: &str) {
    if let Err(failure) = print(text) {
        fail(failure.text());
    }
}

fn version() -> String {
    format!(
        "ccache version {INTERFACE_VERSION}\nFeatures: file-storage\n\nThis is larder {}, which \
         offers the interface of ccache under that name.\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn help() -> String {
    String::from(
        "usage:\n\
         \x20 ccache OPTIONS\n\
         \x20 ccache [KEY=VALUE ...] COMPILER ARGUMENTS\n\
         \x20 COMPILER ARGUMENTS           (a link to ccache that is named like a compiler)\n\
         \n\
         options:\n\
         \x20 -k, --get-config KEY         print the value of a setting\n\
         \x20 -o, --set-config KEY=VALUE   write a setting to the cache's configuration file\n\
         \x20 -p, --show-config            print every setting with its origin\n\
         \x20     --print-version          print the version alone\n\
         \x20 -V, --version                print the version and what is supported\n\
         \x20 -h, --help                   print this\n",
    )
}
