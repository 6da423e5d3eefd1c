//! What carries records between stores of other machines, by whatever way: how one enters the local
//! store, and who has signed many of them together.
//!
//! An export is signed by what its manifest says of itself: `ID SIGNATURE`, the id of the signer's
//! key (see [`keys`](crate::keys)) and an Ed25519 signature in hexadecimal digits, of
//!
//! ```text
//! "larder export 1\n" digest:32 id:16
//! ```
//!
//! with the digest of the [manifest](larder_engine::sealed::Manifest), which has those of all
//! pieces.

use larder_engine::format::body::Head;
use larder_engine::sealed;
use larder_engine::{Entry, Key, Put, RecordKind, Store};
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};

use super::signing::pair;
use super::uploads::{manifest_in, manifest_of};
use crate::config::Config;
use crate::keys::{ID_BYTES, PublicKey, SigningKey, hex, id_of, read_trusted};
use crate::manifest::Manifest;

const CONTEXT: &[u8] = b"larder export 1\n";

/// What the store makes of a manifest that another machine has made.
pub enum Merge {
    /// There is none yet: it can be put as it is.
    New(Manifest),
    /// All of it is known.
    Known,
    /// This takes the place of the one that is there.
    Both {
        /// What came.
        remote: Manifest,
        /// What there is, with what came.
        both: Manifest,
        /// Of what came.
        namespace: String,
    },
}

/// Puts a manifest that two were put together to.
///
/// # Errors
/// See [`Store::put`].
pub fn put_both(
    store: &Store,
    key: &Key,
    both: &Manifest,
    namespace: &str,
) -> larder_engine::Result<Put> {
    let mut entry = Entry::new(*key, RecordKind::Manifest, both.sections());
    entry.namespace = namespace.into();
    store.put(&entry)
}

/// Compares a manifest from elsewhere with what a store has.
///
/// # Errors
/// What is wrong with it.
pub fn merge(store: &Store, key: &Key, body: &[u8]) -> Result<Merge, String> {
    let remote = manifest_in(key, body)?;
    let Some(mut manifest) = manifest_of(store, key).ok().flatten() else {
        return Ok(Merge::New(remote));
    };
    if !manifest.merge(&remote) {
        return Ok(Merge::Known);
    }
    let namespace = Head::decode(body).map_err(|error| error.to_string())?.namespace;
    Ok(Merge::Both { remote, both: manifest, namespace })
}

/// Puts a body from elsewhere into a store, which keeps what it has of that key; `None` if that is
/// everything.
///
/// # Errors
/// What is wrong with the body, or with the disk.
pub fn take(
    store: &Store,
    key: &Key,
    kind: RecordKind,
    body: &[u8],
) -> Result<Option<Put>, String> {
    let put = match kind {
        RecordKind::Tombstone => return Err("it removes something".to_owned()),
        RecordKind::Manifest => match merge(store, key, body)? {
            Merge::New(_) => store.put_body_of(key, &[kind], body),
            Merge::Known => return Ok(None),
            Merge::Both { both, namespace, .. } => put_both(store, key, &both, &namespace),
        },
        _ if store.contains(key).map_err(|error| error.to_string())? => return Ok(None),
        _ => store.put_body_of(key, &[kind], body),
    };
    put.map(Some).map_err(|error| error.to_string())
}

/// The signature of a manifest's digest, as the settings want it; `None` without a signing key.
///
/// # Errors
/// Why the key cannot be used.
pub fn sign(config: &Config, digest: &Key) -> Result<Option<String>, String> {
    let Some(path) = &config.signing_key.value else { return Ok(None) };
    let key = SigningKey::read(path)?;
    let pair: Ed25519KeyPair = pair(&key)?;
    let id = id_of(&key.public.bytes);
    let signature = pair.sign(&message(digest, &id));
    Ok(Some(format!("{} {}", hex(&id), hex(signature.as_ref()))))
}

/// Who has signed a manifest; `None` if the settings ask for no signatures.
///
/// # Errors
/// Why it is not to be used.
pub fn signer(config: &Config, manifest: &sealed::Manifest) -> Result<Option<PublicKey>, String> {
    let mut trusted = Vec::new();
    let (path, own) = (config.trusted_keys_in_use(), &config.signing_key.value);
    if path.is_none() && own.is_none() {
        return Ok(None);
    }
    if let Some(path) = path {
        trusted = read_trusted(path)?;
    }
    if let Some(path) = own {
        trusted.push(SigningKey::read(path)?.public);
    }
    let Some((id, signature)) = manifest.signature.split_once(' ') else {
        return Err("it is not signed, and the settings want that (docs/security.md)".to_owned());
    };
    let signer = trusted.into_iter().find(|key| key.id() == id);
    let signer = signer.ok_or_else(|| format!("it is signed by {id}, which is not trusted"))?;
    let digest = manifest.digest();
    let message = message(&digest, &id_of(&signer.bytes));
    let signature = unhex(signature).ok_or("its signature is of an unknown kind")?;
    UnparsedPublicKey::new(&ED25519, signer.bytes)
        .verify(&message, &signature)
        .map_err(|_| format!("the signature of {} is wrong", signer.name))?;
    Ok(Some(signer))
}

fn message(digest: &Key, id: &[u8; ID_BYTES]) -> Vec<u8> {
    [CONTEXT, digest.as_bytes(), id].concat()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}
