//! How signatures and secrets are written: hex, and base64.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::{Secret, Unusable};

/// These bytes in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut hex = String::new();
    for byte in bytes {
        // Writing to a string cannot fail.
        let _written = write!(hex, "{byte:02x}");
    }
    hex
}

/// The bytes of a text in hex, of any case.
pub(crate) fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// A secret that is written in base64, padded or not, behind `whsec_` or not.
pub(crate) fn from_base64(secret: &Secret) -> Result<Secret, Unusable> {
    let text = secret.bytes().strip_prefix(b"whsec_").unwrap_or(secret.bytes());
    // Controls and blanks alone are as good as nothing.
    let decoded = lenient(text).filter(|bytes| bytes.iter().any(|byte| *byte > b' '));
    decoded
        .map(|bytes| Secret(bytes.into()))
        .ok_or_else(|| Unusable::new("secrets", "a secret is no base64, or empty"))
}

/// Decodes the base64 of a secret as leniently as senders' libraries do: with or without padding,
/// and whatever the bits say that no byte needs.
pub(crate) fn lenient(text: &[u8]) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    LENIENT.decode(text.trim_ascii_end()).ok()
}
