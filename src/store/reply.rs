//! How what a thread of a store found comes back to whoever asked.
//!
//! A worker of the server finds what another thread has woken only now and then while it has work of its own,
//! and every such wake takes a lock. So replies to a worker go to one task there, which hands them out:
//! one wake for all that are committed together.

use std::cell::OnceCell;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::spawn_local;

/// A reply on its last step.
type Delivered = Box<dyn FnOnce() + Send>;

thread_local! {
    /// Where replies to this thread go, if it has a task for them.
    static POST: OnceCell<UnboundedSender<Delivered>> = const { OnceCell::new() };
}

/// From now on replies to what is asked on this thread go through a task of its own, which must be
/// able to have local tasks.
pub fn gather_here() {
    POST.with(|post| {
        post.get_or_init(|| {
            let (post, mut arriving) = unbounded_channel::<Delivered>();
            spawn_local(async move {
                while let Some(deliver) = arriving.recv().await {
                    deliver();
                }
            });
            post
        });
    });
}

/// The way of one reply to whoever asks now.
pub fn channel<T: Send + 'static>() -> (Reply<T>, oneshot::Receiver<T>) {
    let (last_step, received) = oneshot::channel();
    (Reply { last_step, post: POST.with(|post| post.get().cloned()) }, received)
}

/// Where a reply goes.
pub struct Reply<T> {
    last_step: oneshot::Sender<T>,
    post: Option<UnboundedSender<Delivered>>,
}

impl<T: Send + 'static> Reply<T> {
    /// Sends it. Whoever asked may have given up waiting.
    pub fn send(self, reply: T) {
        let Self { last_step, post } = self;
        let deliver = || drop(last_step.send(reply));
        match post {
            // A worker that is gone has nobody who waits.
            Some(post) => drop(post.send(Box::new(deliver))),
            None => deliver(),
        }
    }
}
