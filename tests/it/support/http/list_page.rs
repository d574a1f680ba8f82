//! Pages of message lists.

use crate::support::Answer;

/// Numbers in the ids of the messages on a page.
pub(crate) fn numbers(answer: &Answer) -> Vec<u64> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    let ids = body["messages"].as_array().unwrap().iter().map(|entry| {
        let id = entry["message"]["id"].as_str().unwrap();
        id.rsplit('-').next().unwrap().parse().unwrap()
    });
    ids.collect()
}

/// Path of the next page, from the `Link` header.
pub(crate) fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    let (path, rel) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
    assert_eq!(rel, "; rel=\"next\"");
    Some(path.to_owned())
}
