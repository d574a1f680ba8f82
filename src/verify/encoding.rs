//! Encodings of signatures and secrets: hex and base64.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::secret::{SchemeError, Secret};

/// Encodes bytes in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut hex = String::new();
    for byte in bytes {
        // Writing to a string cannot fail.
        let _written = write!(hex, "{byte:02x}");
    }
    hex
}

/// Decodes hex, upper or lower case.
pub(crate) fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Decodes a base64 secret, with or without padding, with or without the prefix `whsec_`.
pub(crate) fn from_base64(secret: &Secret) -> Result<Secret, SchemeError> {
    let text = secret.bytes().strip_prefix(b"whsec_").unwrap_or(secret.bytes());
    // A secret of control characters and blanks alone counts as empty.
    let decoded = lenient_base64(text).filter(|bytes| bytes.iter().any(|byte| *byte > b' '));
    decoded
        .map(|bytes| Secret(bytes.into()))
        .ok_or_else(|| SchemeError::new("secrets", "a secret is not base64, or is empty"))
}

/// Decodes the base64 of a secret as leniently as senders' libraries do: with or without padding, and with
/// any value in the unused trailing bits.
pub(crate) fn lenient_base64(text: &[u8]) -> Option<Vec<u8>> {
    const LENIENT_BASE64: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    LENIENT_BASE64.decode(text.trim_ascii_end()).ok()
}
