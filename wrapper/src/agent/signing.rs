//! Signatures of results in tiers: Ed25519 (RFC 8032).
//!
//! The section `signature` of a body holds `1:u8 id:16 signature:64`; the id is that of the
//! signer's key, see [`keys`](crate::keys). Signed is
//!
//! ```text
//! "larder signature 1\n" BLAKE3(body without that section):32 id:16 bytes:u16 namespace
//! ```
//!
//! with the namespace of the body, its length little-endian. The body has key, kind and namespace
//! in its head, so a signature holds for no other key and no other namespace.
//!
//! 1. Whoever has a key signs what was made here. What came signed stays as it is.
//! 2. Where signatures are required, a body without one that is right and of a key that is trusted
//!    for its namespace is refused; where they are optional, one with a wrong signature of such a
//!    key.
//! 3. Where a file of keys cannot be read, nobody is trusted, and where the own key cannot be read,
//!    nothing is written to tiers.

use larder_engine::format::body::Head;
use larder_engine::format::signed::{signed, unsigned};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::config::Config;
use crate::keys::{ID_BYTES, KEY_BYTES, PublicKey, SigningKey, hex, id_of, read_trusted};
use crate::log::Log;
use crate::tier::Signatures;

const VERSION: u8 = 1;
const CONTEXT: &[u8] = b"larder signature 1\n";
const SIGNATURE_BYTES: usize = 64;
const SECTION_BYTES: usize = 1 + ID_BYTES + SIGNATURE_BYTES;

/// Who signs here, and who is trusted.
pub struct Signing {
    own: Own,
    trusted: Vec<PublicKey>,
    /// What holds for tiers that do not say it.
    usual: Signatures,
}

enum Own {
    /// Nothing is signed.
    None,
    Key(Box<Ed25519KeyPair>),
    /// There is to be a key, and it cannot be used.
    Lost,
}

impl Signing {
    /// As the settings say; what cannot be used is told in the log.
    pub fn new(config: &Config, log: &mut Log) -> Signing {
        let mut trusted = Vec::new();
        let mut usual = Signatures::Optional;
        if let Some(path) = config.trusted_keys_in_use() {
            usual = Signatures::Required;
            match read_trusted(path) {
                Ok(keys) => trusted = keys,
                Err(why) => log.line(format_args!("agent: nobody is trusted: {why}")),
            }
        }
        let own = match &config.signing_key.value {
            None => Own::None,
            Some(path) => {
                usual = Signatures::Required;
                match SigningKey::read(path).and_then(|key| Ok((pair(&key)?, key.public))) {
                    Ok((pair, public)) => {
                        trusted.push(public);
                        Own::Key(Box::new(pair))
                    }
                    Err(why) => {
                        log.line(format_args!("agent: nothing is written to tiers: {why}"));
                        Own::Lost
                    }
                }
            }
        };
        Signing { own, trusted, usual }
    }

    /// Whether what is written could be signed as it has to be.
    pub fn may_write(&self) -> bool {
        !matches!(self.own, Own::Lost)
    }

    /// A body for a tier: signed, if this machine signs and it is not signed already.
    pub fn sign(&self, body: Vec<u8>) -> larder_engine::Result<Vec<u8>> {
        let Own::Key(pair) = &self.own else { return Ok(body) };
        if unsigned(&body)?.is_some() {
            return Ok(body);
        }
        let namespace = Head::decode(&body)?.namespace;
        let mut public = [0; KEY_BYTES];
        public.copy_from_slice(pair.public_key().as_ref());
        let id = id_of(&public);
        let signature = pair.sign(&message(&body, &id, &namespace));
        signed(&body, &[&[VERSION], &id[..], signature.as_ref()].concat())
    }

    /// Whether a body that a tier has may be used.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, rule: Option<Signatures>, body: &[u8]) -> Result<(), String> {
        let is_required = rule.unwrap_or(self.usual) == Signatures::Required;
        if !is_required && self.trusted.is_empty() {
            return Ok(());
        }
        let refuse_if_required = |why: &str| if is_required { Err(why.to_owned()) } else { Ok(()) };
        let found = unsigned(body).map_err(|error| error.to_string())?;
        let Some(found) = found else { return refuse_if_required("it is not signed") };
        let (version, rest) = found.signature.split_first().ok_or("its signature is empty")?;
        if *version != VERSION || found.signature.len() != SECTION_BYTES {
            return refuse_if_required("its signature is of an unknown kind");
        }
        let (id, signature) = rest.split_at(ID_BYTES);
        let signer = self.trusted.iter().find(|key| id_of(&key.bytes) == id);
        let Some(signer) = signer else {
            return refuse_if_required(&format!(
                "it is signed by {}, which is not trusted",
                hex(id)
            ));
        };
        let namespace = Head::decode(body).map_err(|error| error.to_string())?.namespace;
        if !signer.may_sign(&namespace) {
            let name = &signer.name;
            return Err(format!("{name} is not trusted for the namespace \"{namespace}\""));
        }
        let key = UnparsedPublicKey::new(&ED25519, signer.bytes);
        let message = message(&found.body, id, &namespace);
        key.verify(&message, signature)
            .map_err(|_| format!("the signature of {} is wrong", signer.name))
    }
}

fn message(body: &[u8], id: &[u8], namespace: &str) -> Vec<u8> {
    let hash = blake3::hash(body);
    let bytes = (namespace.len() as u16).to_le_bytes();
    [CONTEXT, hash.as_bytes(), id, &bytes, namespace.as_bytes()].concat()
}

/// The two halves of a key.
///
/// # Errors
/// If they do not belong together.
pub fn pair(key: &SigningKey) -> Result<Ed25519KeyPair, String> {
    Ed25519KeyPair::from_seed_and_public_key(&key.seed, &key.public.bytes)
        .map_err(|_| "the two halves of the signing key do not belong together".to_owned())
}

/// A new key, as the digits of its seed and of what others trust.
///
/// # Errors
/// If the system has no randomness.
pub fn generate() -> Result<String, String> {
    let mut seed = [0; KEY_BYTES];
    let none = "the system gives no random bytes";
    SystemRandom::new().fill(&mut seed).map_err(|_| none)?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| none)?;
    Ok(format!("{} {}", hex(&seed), hex(pair.public_key().as_ref())))
}
