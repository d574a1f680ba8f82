//! Who waits for what is going to be known: of one message, or of any.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::message::MessageId;

/// Tells those who wait what was committed. Whoever waits costs an entry in a map, and nothing is done
/// for messages that nobody waits for.
#[derive(Clone, Default)]
pub struct News {
    last: watch::Sender<i64>,
    awaited: Arc<Mutex<Awaited>>,
}

/// The messages that somebody waits for.
type Awaited = HashMap<MessageId, watch::Sender<()>>;

impl News {
    /// Tells that there is something new about these messages, and which number in the sequence of
    /// changes was the last one to be given.
    pub fn tell(&self, messages: impl Iterator<Item = MessageId>, last: i64) {
        let awaited = self.awaited();
        if !awaited.is_empty() {
            for teller in messages.filter_map(|message| awaited.get(&message)) {
                teller.send_replace(());
            }
        }
        drop(awaited);
        self.last.send_if_modified(|known| std::mem::replace(known, last) != last);
    }

    /// Waits for news of a message, from now on.
    pub fn of(&self, message: MessageId) -> Waiting {
        let told = self.awaited().entry(message).or_default().subscribe();
        Waiting { message, told: Some(told), news: self.clone() }
    }

    /// Waits for changes of any record.
    pub fn latest(&self) -> Latest {
        Latest(self.last.subscribe())
    }

    fn awaited(&self) -> MutexGuard<'_, Awaited> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits for news of a message.
pub struct Waiting {
    message: MessageId,
    told: Option<watch::Receiver<()>>,
    news: News,
}

impl Waiting {
    /// Returns when there was something new since this was called last, or since it was made.
    pub async fn news(&mut self) {
        if let Some(told) = &mut self.told {
            // Who tells is there for as long as anybody waits.
            drop(told.changed().await);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut awaited = self.news.awaited();
        self.told = None;
        if let Entry::Occupied(entry) = awaited.entry(self.message)
            && entry.get().receiver_count() == 0
        {
            entry.remove();
        }
    }
}

/// The number in the sequence of changes that was the last one to be given.
pub struct Latest(watch::Receiver<i64>);

impl Latest {
    /// As it is now.
    pub fn now(&self) -> i64 {
        *self.0.borrow()
    }

    /// Waits until it is greater than this; for ever, if nothing is stored any more.
    pub async fn exceeds(&mut self, number: i64) {
        if self.0.wait_for(|last| *last > number).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_of_those_who_wait_no_more() {
        let news = News::default();
        let [one, other] = [1, 2].map(|byte| MessageId::from_bytes([byte; 16]));
        let waiting = [news.of(one), news.of(one), news.of(other)];
        assert_eq!(news.awaited().len(), 2);
        let [first, second, third] = waiting;
        drop(first);
        assert_eq!(news.awaited().len(), 2);
        drop((second, third));
        assert!(news.awaited().is_empty());
    }
}
