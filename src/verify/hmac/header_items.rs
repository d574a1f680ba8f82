//! Header items: a list of signatures, and other items in the same header.

use crate::verify::verdict::MAX_SIGNATURES;

/// Splits a list of signatures. Returns at most one item more than the maximum, so that the caller can detect
/// an excess.
pub(crate) fn items<'a>(value: &'a [u8], separator: Option<&[u8]>) -> Vec<&'a [u8]> {
    let Some(separator) = separator else { return vec![value] };
    let mut items = Vec::new();
    let mut rest = value;
    while items.len() < MAX_SIGNATURES
        && let Some(found) = rest.windows(separator.len()).position(|at| at == separator)
    {
        let (item, behind) = rest.split_at(found);
        items.push(item.trim_ascii());
        rest = behind.strip_prefix(separator).unwrap_or_default();
    }
    items.push(rest.trim_ascii());
    items
}
