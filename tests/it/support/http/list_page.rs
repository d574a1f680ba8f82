//! One page of a list.

use crate::support::Answer;

/// The numbers of the messages in a list's answer.
pub(crate) fn numbers(answer: &Answer) -> Vec<u64> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    let ids = body["messages"].as_array().unwrap().iter().map(|entry| {
        let id = entry["message"]["id"].as_str().unwrap();
        id.rsplit('-').next().unwrap().parse().unwrap()
    });
    ids.collect()
}

/// The address of the next page, from the header.
pub(crate) fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    let (path, rel) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
    assert_eq!(rel, "; rel=\"next\"");
    Some(path.to_owned())
}
