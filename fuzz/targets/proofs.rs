//! Signatures, signed times and addresses under every scheme of proof.
//!
//! The secret is a hash of the input, which no input can know: as it stands each must be refused.
//! Then the holder of the secret signs it, and it must be taken; then one byte of what the proof
//! covers is changed, and it must be refused again.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use sha2::{Digest, Sha256};
use statusmirror::dialect::Source;
use statusmirror::message::Timestamp;
use statusmirror::verify::Verified;
use statusmirror_fuzz::mutate::mutate;
use statusmirror_fuzz::proof::{Expected, NOW, Part, Proof};
use statusmirror_fuzz::request::Message;

static PROOFS: LazyLock<Vec<Proof>> = LazyLock::new(Proof::all);

fuzz_mutator!(|input: &mut [u8], size: usize, most: usize, seed: u32| {
    mutate(input, size, most, seed)
});

fuzz_target!(|input: &[u8]| {
    let key: [u8; 32] = Sha256::digest(input).into();
    for proof in PROOFS.iter() {
        // Curves take a hundred times as long as hashes.
        if matches!(proof, Proof::Public) && key[3] >= 8 {
            continue;
        }
        let source = proof.source(&key);
        let mut message = Message::read(input);
        assert_eq!(verify(&source, &message), Expected::Refused, "forged: {message:?}");
        let expected = proof.sign(&key, &mut message);
        assert_eq!(verify(&source, &message), expected, "signed: {message:?}");
        for part in proof.covered() {
            let mut changed = message.clone();
            change(&mut changed, part, &key);
            if proof.meaning(&changed) != proof.meaning(&message) {
                assert_eq!(
                    verify(&source, &changed),
                    Expected::Refused,
                    "{part:?} was changed: {message:?} to {changed:?}"
                );
            }
        }
    }
});

fn verify(source: &Source, message: &Message) -> Expected {
    let now = Timestamp::from_micros(NOW * 1_000_000).expect("a time of our days");
    match source.verify(&message.as_request(), now) {
        Ok(Verified { too_old, .. }) => Expected::Proven { too_old },
        Err(_) => Expected::Refused,
    }
}

/// Changes a byte of this part; which one and how follows from the dice.
fn change(message: &mut Message, part: Part<'_>, dice: &[u8; 32]) {
    match part {
        Part::Body => change_byte(&mut message.body, dice),
        Part::Method => change_text(&mut message.method, dice),
        Part::Query => {
            if let Some(query) = &mut message.query {
                change_text(query, dice);
            }
        }
        Part::Header(name) => {
            let mut value = message.only(name).unwrap_or_default().to_vec();
            change_byte(&mut value, dice);
            message.set(name, value);
        }
    }
}

/// The same for what must stay text; it stays as it was if it would not.
fn change_text(text: &mut String, dice: &[u8; 32]) {
    let mut bytes = text.clone().into_bytes();
    change_byte(&mut bytes, dice);
    if let Ok(changed) = String::from_utf8(bytes) {
        *text = changed;
    }
}

fn change_byte(bytes: &mut [u8], dice: &[u8; 32]) {
    let [high, low, bits, ..] = *dice;
    if !bytes.is_empty() {
        let at = usize::from(u16::from_be_bytes([high, low])) % bytes.len();
        // One bit mostly, any other byte sometimes.
        bytes[at] ^= if bits < 128 { 1 << (bits % 8) } else { bits };
    }
}
