//! Replies from a thread of the store to the caller.
//!
//! A server worker polls tasks that another thread has woken only now and then while it has work of its own,
//! and every such wake takes a lock. So replies to a worker go to one task there, which distributes them: one
//! wake for all replies of one commit.

use std::cell::OnceCell;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::spawn_local;

/// Last step of a reply: passes it to the caller.
type Deliver = Box<dyn FnOnce() + Send>;
/// Queue of the replies to one thread.
type Post = UnboundedSender<Vec<Deliver>>;

thread_local! {
    /// Reply queue of this thread, if it has a task for replies.
    static REPLY_QUEUE: OnceCell<Post> = const { OnceCell::new() };
}

/// Starts a task on this thread through which all replies to it go from now on. The thread must be able to
/// run local tasks.
pub fn gather_here() {
    REPLY_QUEUE.with(|post| {
        post.get_or_init(|| {
            let (post, mut arriving) = unbounded_channel::<Vec<Deliver>>();
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

/// Makes the channel for one reply to the calling thread.
pub fn channel<T: Send + 'static>() -> (Reply<T>, oneshot::Receiver<T>) {
    let (last_step, received) = oneshot::channel();
    (Reply { last_step, post: REPLY_QUEUE.with(|post| post.get().cloned()) }, received)
}

/// Sender of one reply.
pub struct Reply<T> {
    last_step: oneshot::Sender<T>,
    post: Option<Post>,
}

impl<T: Send + 'static> Reply<T> {
    /// Whether the caller has stopped waiting.
    pub fn is_gone(&self) -> bool {
        self.last_step.is_closed()
    }

    /// Sends the reply. The caller may have stopped waiting.
    pub fn send(self, reply: T) {
        let mut alone = Replies::default();
        alone.add(self, reply);
        alone.send();
    }
}

/// Replies that are sent together, so that each worker is woken once for all of its replies.
#[derive(Default)]
pub struct Replies(Vec<(Option<Post>, Vec<Deliver>)>);

impl Replies {
    /// Adds a reply.
    pub fn add<T: Send + 'static>(&mut self, to: Reply<T>, reply: T) {
        let Reply { last_step, post } = to;
        let deliver: Deliver = Box::new(|| drop(last_step.send(reply)));
        let is_there = |other: &Option<Post>| match (other, &post) {
            (Some(other), Some(post)) => other.same_channel(post),
            (other, post) => other.is_none() && post.is_none(),
        };
        match self.0.iter_mut().find(|(other, _)| is_there(other)) {
            Some((_, together)) => together.push(deliver),
            None => self.0.push((post, vec![deliver])),
        }
    }

    /// Sends the replies. The callers may have stopped waiting.
    pub fn send(&mut self) {
        for (post, together) in self.0.drain(..) {
            match post {
                // A worker that has ended has no waiting callers.
                Some(post) => drop(post.send(together)),
                None => together.into_iter().for_each(|deliver| deliver()),
            }
        }
    }
}
