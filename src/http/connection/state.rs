//! State of one connection, shared by its loop, the stream of a request's body and the answer.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::link::Link;
use super::registry::Member;

/// One connection.
pub(crate) struct Connection {
    /// Socket and buffers.
    pub(crate) link: RefCell<Link>,
    /// Place in the registry.
    pub(crate) member: Rc<Member>,
    /// Whether anyone gets the current answer without a credential.
    pub(crate) is_public: Cell<bool>,
    /// Time in which a client must take the next part of its answer.
    pub(crate) progress_window: Duration,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.member.deregister();
    }
}
