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
/// Where the replies to a thread go.
type Post = UnboundedSender<Vec<Delivered>>;

thread_local! {
    /// Where those to this thread go, if it has a task for them.
    static POST: OnceCell<Post> = const { OnceCell::new() };
}

/// From now on replies to what is asked on this thread go through a task of its own, which must be
/// able to have local tasks.
pub fn gather_here() {
    POST.with(|post| {
        post.get_or_init(|| {
            let (post, mut arriving) = unbounded_channel::<Vec<Delivered>>();
            spawn_local(async move {
                while let Some(together) = arriving.recv().await {
                    for deliver in together {
                        deliver();
                    }
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
    post: Option<Post>,
}

impl<T: Send + 'static> Reply<T> {
    /// Whether whoever asked has given up waiting.
    pub fn is_gone(&self) -> bool {
        self.last_step.is_closed()
    }

    /// Sends it. Whoever asked may have given up waiting.
    pub fn send(self, reply: T) {
        let mut alone = Replies::default();
        alone.add(self, reply);
        alone.send();
    }
}

/// Replies that go out together, so that each worker is woken once for all of its.
#[derive(Default)]
pub struct Replies(Vec<(Option<Post>, Vec<Delivered>)>);

impl Replies {
    /// Adds one.
    pub fn add<T: Send + 'static>(&mut self, to: Reply<T>, reply: T) {
        let Reply { last_step, post } = to;
        let deliver: Delivered = Box::new(|| drop(last_step.send(reply)));
        let is_there = |other: &Option<Post>| match (other, &post) {
            (Some(other), Some(post)) => other.same_channel(post),
            (other, post) => other.is_none() && post.is_none(),
        };
        match self.0.iter_mut().find(|(other, _)| is_there(other)) {
            Some((_, together)) => together.push(deliver),
            None => self.0.push((post, vec![deliver])),
        }
    }

    /// Sends them. Whoever asked may have given up waiting.
    pub fn send(&mut self) {
        for (post, together) in self.0.drain(..) {
            match post {
                // A worker that is gone has nobody who waits.
                Some(post) => drop(post.send(together)),
                None => together.into_iter().for_each(|deliver| deliver()),
            }
        }
    }
}
