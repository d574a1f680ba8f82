//! Notifier: wakes queries that wait for changes of one message or of any record.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::message::MessageId;

/// Wakes waiting queries after a commit. Each awaited message costs one map entry; messages that no query
/// waits for cost nothing.
#[derive(Clone, Default)]
pub struct Notifier {
    last: watch::Sender<i64>,
    awaited: Arc<Mutex<AwaitedMessages>>,
}

/// Messages that a query waits for.
type AwaitedMessages = HashMap<MessageId, watch::Sender<()>>;

impl Notifier {
    /// Announces changes of these messages, and the last number given in the sequence of changes.
    pub fn notify(&self, messages: impl Iterator<Item = MessageId>, last: i64) {
        let awaited = self.awaited();
        if !awaited.is_empty() {
            for sender in messages.filter_map(|message| awaited.get(&message)) {
                sender.send_replace(());
            }
        }
        drop(awaited);
        self.last.send_if_modified(|known| std::mem::replace(known, last) != last);
    }

    /// Subscribes to changes of a message, from now on.
    pub fn subscribe(&self, message: MessageId) -> Waiting {
        let receiver = self.awaited().entry(message).or_default().subscribe();
        Waiting { message, receiver: Some(receiver), notifier: self.clone() }
    }

    /// Subscribes to changes of any record.
    pub fn subscribe_latest(&self) -> LatestChange {
        LatestChange(self.last.subscribe())
    }

    fn awaited(&self) -> MutexGuard<'_, AwaitedMessages> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Subscription to changes of one message.
pub struct Waiting {
    message: MessageId,
    receiver: Option<watch::Receiver<()>>,
    notifier: Notifier,
}

impl Waiting {
    /// Waits until the message has changed since the last call, or since the subscription began.
    pub async fn changed(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            // The sender stays in the map as long as a receiver exists, so this cannot fail.
            drop(receiver.changed().await);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut awaited = self.notifier.awaited();
        self.receiver = None;
        if let Entry::Occupied(entry) = awaited.entry(self.message)
            && entry.get().receiver_count() == 0
        {
            entry.remove();
        }
    }
}

/// Subscription to the last number given in the sequence of changes.
pub struct LatestChange(watch::Receiver<i64>);

impl LatestChange {
    /// The current number.
    pub fn current(&self) -> i64 {
        *self.0.borrow()
    }

    /// Waits until the number exceeds this one; for ever, if the store has ended.
    pub async fn wait_until_above(&mut self, number: i64) {
        if self.0.wait_for(|last| *last > number).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_wait_leaves_nothing_behind() {
        let notifier = Notifier::default();
        let [one, other] = [1, 2].map(|byte| MessageId::from_bytes([byte; 16]));
        let waiting = [notifier.subscribe(one), notifier.subscribe(one), notifier.subscribe(other)];
        assert_eq!(notifier.awaited().len(), 2);
        let [first, second, third] = waiting;
        drop(first);
        assert_eq!(notifier.awaited().len(), 2);
        drop((second, third));
        assert!(notifier.awaited().is_empty());
    }
}
