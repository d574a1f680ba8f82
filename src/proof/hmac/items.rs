//! A list of signatures, and of what else stands in the same header.

use crate::proof::MOST_SIGNATURES;

/// The items of a list of signatures: one more than there may be at most.
pub(super) fn items<'a>(value: &'a [u8], separator: Option<&[u8]>) -> Vec<&'a [u8]> {
    let Some(separator) = separator else { return vec![value] };
    let mut items = Vec::new();
    let mut rest = value;
    while items.len() < MOST_SIGNATURES
        && let Some(found) = rest.windows(separator.len()).position(|at| at == separator)
    {
        let (item, behind) = rest.split_at(found);
        items.push(item.trim_ascii());
        rest = behind.strip_prefix(separator).unwrap_or_default();
    }
    items.push(rest.trim_ascii());
    items
}
