//! `GET /api/events`: every change of a record as a server-sent event, in commit order.
//!
//! One thread ([`feed`]) reads the notification log for all clients and keeps the latest events, each
//! rendered once, in a ring of at most 8 MiB ([`ring`]). A client that keeps up gets parts of the ring. A
//! client behind the ring reads the notification log at its own pace until it has caught up, so a slow client
//! costs only its connection ([`mod@stream`]). The format is that of the HTML standard
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

pub(crate) mod feed;
pub(crate) mod render;
pub(crate) mod ring;
pub(crate) mod stream;

pub(crate) use self::feed::Live;
pub(crate) use self::stream::stream;
