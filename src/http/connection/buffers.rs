//! Read and write buffers of a worker's connections. A connection has a buffer only while it reads or writes:
//! most connections wait, and a buffer for each would be more memory than everything else.

use std::cell::RefCell;

use actix_web::web::BytesMut;

/// Size in bytes above which a returned buffer is freed.
const KEPT_BYTES: usize = 16 << 10;
/// Number of buffers kept for reading, and of those kept for writing.
const KEPT_BUFFERS: usize = 64;

/// Pool of unused buffers.
pub(crate) struct Buffers(RefCell<Vec<BytesMut>>);

thread_local! {
    /// Buffers for reading.
    pub(crate) static INPUT: Buffers = const { Buffers(RefCell::new(Vec::new())) };
    /// Buffers for writing.
    pub(crate) static OUTPUT: Buffers = const { Buffers(RefCell::new(Vec::new())) };
}

impl Buffers {
    /// Takes an empty buffer. Its memory may be the rest of one whose first part a request still uses.
    pub(crate) fn take(&self) -> BytesMut {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Returns a buffer to the pool, or frees it.
    pub(crate) fn give_back(&self, mut buffer: BytesMut) {
        buffer.clear();
        let mut kept = self.0.borrow_mut();
        if kept.len() < KEPT_BUFFERS && !buffer.try_reclaim(KEPT_BYTES + 1) {
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_buffers_of_the_usual_size_are_used_again() {
        let buffers = Buffers(RefCell::default());
        let mut small = BytesMut::with_capacity(8 << 10);
        small.extend_from_slice(b"head");
        let address = small.as_ptr();
        buffers.give_back(small);
        buffers.give_back(BytesMut::with_capacity(KEPT_BYTES + 1));
        assert_eq!(buffers.0.borrow().len(), 1);
        let again = buffers.take();
        assert_eq!((again.as_ptr(), again.len()), (address, 0));
        for _ in 0..=KEPT_BUFFERS {
            buffers.give_back(BytesMut::new());
        }
        assert_eq!(buffers.0.borrow().len(), KEPT_BUFFERS);
    }
}
