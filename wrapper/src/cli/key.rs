//! `larder key`: makes a key that signs results, shows keys, and notes who is trusted.

use std::env;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::command::{Failure, print};
use super::flags::Given;
use super::json::{Object, string};
use crate::agent::Launch;
use crate::config::{Config, own_folder};
use crate::keys::{PublicKey, SigningKey, bytes_of, read_trusted};

/// `larder key new`.
pub fn new(given: &Given) -> Result<(), Failure> {
    let path = match given.operand(0) {
        Some(path) => std::path::absolute(path).map_err(|error| failed(Path::new(path), &error))?,
        None => own_folder(&|name| env::var_os(name))
            .ok_or_else(|| Failure::Failed("no home directory is known: name a file".to_owned()))?
            .join("signing_key"),
    };
    let user = env::var("USER").unwrap_or_default();
    let name = given.text("name").unwrap_or(if user.is_empty() { "larder" } else { &user });
    let made = Launch::new_key()
        .map_err(|error| Failure::Failed(format!("no key can be made: {error}")))?;
    let mut digits = made.split_whitespace();
    let mut half = || bytes_of(digits.next());
    let key = half().and_then(|seed| SigningKey::new(seed, half()?, name));
    let key = key.map_err(|why| given.wrong(&why))?;
    make_folder(&path)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let written = file.and_then(|mut file| file.write_all(key.text().as_bytes()));
    written.map_err(|error| failed(&path, &error))?;
    print(&format!(
        "{}\n\nThe secret is in {}. To sign what is written to tiers, set there, and only there:\n\
         \n  LARDER_SIGNING_KEY={}\n\n\
         Who takes results from this key runs:\n\n  larder key trust {}\n",
        key.public.line(),
        path.display(),
        path.display(),
        key.public.line()
    ))
}

/// `larder key show`.
pub fn show(given: &Given) -> Result<(), Failure> {
    let config = Config::load();
    let own = config.signing_key.value.as_deref().map(SigningKey::read).transpose();
    let own = own.map_err(Failure::Failed)?.map(|key| key.public);
    let trusted = config.trusted_keys_in_use().map(read_trusted).transpose();
    let trusted = trusted.map_err(Failure::Failed)?.unwrap_or_default();
    if given.has("json") {
        let object = |key: &PublicKey| {
            let list = key.namespaces.iter().map(|name| string(name)).collect::<Vec<_>>();
            Object::new()
                .raw("key", &string(&key.line()))
                .raw("id", &string(&key.id()))
                .raw("name", &string(&key.name))
                .raw("namespaces", &format!("[{}]", list.join(", ")))
        };
        let page = Object::new()
            .list("own", own.iter().map(object))
            .list("trusted", trusted.iter().map(object));
        return print(&page.page());
    }
    let mut text = match &own {
        Some(key) => format!("signs:   {}\n", key.line()),
        None => "nothing is signed here: LARDER_SIGNING_KEY names no key\n".to_owned(),
    };
    for key in &trusted {
        text.push_str(&format!("trusted: {}\n", key.line()));
    }
    if trusted.is_empty() {
        text.push_str("no other key is trusted: `larder key trust` notes one\n");
    }
    print(&text)
}

/// `larder key trust`.
pub fn trust(given: &Given) -> Result<(), Failure> {
    let words: Option<Vec<&str>> = given.operands().iter().map(|word| word.to_str()).collect();
    let line = words.unwrap_or_default().join(" ");
    let key = PublicKey::parse(&line).map_err(|why| given.wrong(&why))?;
    let path = Config::load().trusted_keys.value;
    let path = path.ok_or_else(|| {
        Failure::Failed("no home directory is known: set LARDER_TRUSTED_KEYS".to_owned())
    })?;
    let known = if path.exists() { read_trusted(&path).map_err(Failure::Failed)? } else { vec![] };
    if known.contains(&key) {
        return print(&format!("{} is trusted already\n", key.name));
    }
    make_folder(&path)?;
    let before = match fs::read_to_string(&path) {
        Ok(text) if text.is_empty() || text.ends_with('\n') => text,
        Ok(text) => text + "\n",
        Err(_) => String::new(),
    };
    // Beside its place and then renamed: an agent reads all of it or nothing.
    let beside = path.with_extension("new");
    let written = fs::write(&beside, before + &key.line() + "\n");
    written.and_then(|()| fs::rename(&beside, &path)).map_err(|error| failed(&path, &error))?;
    print(&format!("{} is trusted now, see {}\n", key.name, path.display()))
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| failed(folder, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Failed(format!("{}: {error}", path.display()))
}
