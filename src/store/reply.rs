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
pub fn start_reply_task() {
    REPLY_QUEUE.with(|post| {
        post.get_or_init(|| {
            let (post, mut receiver) = unbounded_channel::<Vec<Deliver>>();
            spawn_local(async move {
                while let Some(delivers) = receiver.recv().await {
                    for deliver in delivers {
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
    let (sender, received) = oneshot::channel();
    (Reply { sender, post: REPLY_QUEUE.with(|post| post.get().cloned()) }, received)
}

/// Sender of one reply.
pub struct Reply<T> {
    sender: oneshot::Sender<T>,
    post: Option<Post>,
}

impl<T: Send + 'static> Reply<T> {
    /// Whether the caller has stopped waiting.
    pub fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends the reply. The caller may have stopped waiting.
    pub fn send(self, reply: T) {
        let mut replies = Replies::default();
        replies.add(self, reply);
        replies.send();
    }
}

/// Replies that are sent together, so that each worker is woken once for all of its replies.
#[derive(Default)]
pub struct Replies(Vec<(Option<Post>, Vec<Deliver>)>);

impl Replies {
    /// Adds a reply.
    pub fn add<T: Send + 'static>(&mut self, to: Reply<T>, reply: T) {
        let Reply { sender, post } = to;
        let deliver: Deliver = Box::new(|| drop(sender.send(reply)));
        let is_same_queue = |other: &Option<Post>| match (other, &post) {
            (Some(other), Some(post)) => other.same_channel(post),
            (other, post) => other.is_none() && post.is_none(),
        };
        match self.0.iter_mut().find(|(other, _)| is_same_queue(other)) {
            Some((_, delivers)) => delivers.push(deliver),
            None => self.0.push((post, vec![deliver])),
        }
    }

    /// Sends the replies. The callers may have stopped waiting.
    pub fn send(&mut self) {
        for (post, delivers) in self.0.drain(..) {
            match post {
                // A worker that has ended has no waiting callers.
                Some(post) => drop(post.send(delivers)),
                None => delivers.into_iter().for_each(|deliver| deliver()),
            }
        }
    }
}
