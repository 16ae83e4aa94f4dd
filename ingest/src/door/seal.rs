//! Seals the originals of rejected records: AES-256-GCM under a key of the data folder, a random nonce per record. And gives
//! pseudonyms for ids that point at a person: HMAC-SHA-256 under a key derived from the same one, cut to 128 bits.
//!
//! The nonce is the only thing in the door that is not a function of its input; it is drawn by the sealer that is handed in.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;

/// Encrypts originals so that only who holds the key can read or re-drive them.
pub trait Sealer: Send + Sync {
    /// Nonce, ciphertext and tag in one, and the id of the key.
    fn seal(&self, plain: &[u8]) -> (Vec<u8>, String);

    /// What stands for an id that points at a person: `p-` and 32 hexadecimal digits, always the same for the same text and key.
    fn pseudonym(&self, text: &str) -> String;

    /// The original of what [`Sealer::seal`] gave; `None` where key or bytes are not the right ones.
    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>>;
    /// Id of the key.
    fn key_id(&self) -> String;
}

/// AES-256-GCM with random 96-bit nonces.
pub struct AesSealer {
    key: RandomizedNonceKey,
    pseudonym_key: hmac::Key,
    key_id: String,
}

const NONCE_BYTES: usize = 12;
/// Bytes of a pseudonym.
const PSEUDONYM_BYTES: usize = 16;

impl AesSealer {
    /// A sealer of a 32-byte key. The key id is made of the key's hash.
    pub fn new(key: &[u8; 32]) -> Self {
        let hash = digest(&SHA256, key);
        let prefix = hash.as_ref().first_chunk().expect("a SHA-256 has 32 bytes");
        let key_id = format!("{:08x}", u32::from_be_bytes(*prefix));
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), b"shiyu pseudonym v1");
        let pseudonym_key = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).expect("32 bytes are a key of AES-256");
        Self {
            key,
            pseudonym_key,
            key_id,
        }
    }
}

impl Sealer for AesSealer {
    fn seal(&self, plain: &[u8]) -> (Vec<u8>, String) {
        let mut ciphertext = plain.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::empty(), &mut ciphertext)
            .expect("a record is shorter than AES-GCM's limit, and the system has random bytes");
        let mut sealed = Vec::with_capacity(NONCE_BYTES + ciphertext.len());
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut ciphertext);
        (sealed, self.key_id.clone())
    }

    fn pseudonym(&self, text: &str) -> String {
        let tag = hmac::sign(&self.pseudonym_key, text.as_bytes());
        format!("p-{}", hex::encode(&tag.as_ref()[..PSEUDONYM_BYTES]))
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE_BYTES)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut bytes = ciphertext.to_vec();
        let plain_length = self.key.open_in_place(nonce, Aad::empty(), &mut bytes).ok()?.len();
        bytes.truncate(plain_length);
        Some(bytes)
    }

    fn key_id(&self) -> String {
        self.key_id.clone()
    }
}

impl fmt::Debug for AesSealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AesSealer")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_the_same_for_the_same_key_only() {
        let sealer = AesSealer::new(&[7; 32]);
        let pseudonym = sealer.pseudonym("13800138000");
        assert_eq!(pseudonym.len(), 34);
        assert_eq!(AesSealer::new(&[7; 32]).pseudonym("13800138000"), pseudonym);
        assert_ne!(sealer.pseudonym("13800138001"), pseudonym);
        assert_ne!(AesSealer::new(&[8; 32]).pseudonym("13800138000"), pseudonym);
    }

    #[test]
    fn only_the_key_opens_what_it_sealed() {
        let sealer = AesSealer::new(&[7; 32]);
        let (sealed, key_id) = sealer.seal("工单".as_bytes());
        assert_eq!(sealer.open(&sealed).as_deref(), Some("工单".as_bytes()));
        assert_ne!(sealer.seal("工单".as_bytes()).0, sealed);
        assert_eq!(key_id.len(), 8);
        assert_eq!(AesSealer::new(&[8; 32]).open(&sealed), None);
        assert_eq!(sealer.open(&sealed[..10]), None);
    }
}
