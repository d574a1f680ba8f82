//! Read and write buffers of a worker's connections. A connection has a buffer only while it reads or writes:
//! most connections wait, and a buffer for each would be more memory than everything else.

use std::cell::RefCell;

use actix_web::web::BytesMut;

/// Size in bytes above which a returned buffer is freed.
const MAX_POOLED_BUFFER_BYTES: usize = 16 << 10;
/// Number of buffers kept for reading, and of those kept for writing.
const MAX_POOLED_BUFFERS: usize = 64;

/// Pool of unused buffers.
pub(crate) struct Buffers(RefCell<Vec<BytesMut>>);

thread_local! {
    /// Buffers for reading.
    pub(crate) static READ_BUFFERS: Buffers = const { Buffers(RefCell::new(Vec::new())) };
    /// Buffers for writing.
    pub(crate) static WRITE_BUFFERS: Buffers = const { Buffers(RefCell::new(Vec::new())) };
}

impl Buffers {
    /// Takes an empty buffer. Its memory may be the rest of one whose first part a request still uses.
    pub(crate) fn take(&self) -> BytesMut {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Returns a buffer to the pool, or frees it.
    pub(crate) fn give_back(&self, mut buffer: BytesMut) {
        buffer.clear();
        let mut pool = self.0.borrow_mut();
        if pool.len() < MAX_POOLED_BUFFERS && !buffer.try_reclaim(MAX_POOLED_BUFFER_BYTES + 1) {
            pool.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_buffers_of_normal_size_are_reused() {
        let buffers = Buffers(RefCell::default());
        let mut small = BytesMut::with_capacity(8 << 10);
        small.extend_from_slice(b"head");
        let address = small.as_ptr();
        buffers.give_back(small);
        buffers.give_back(BytesMut::with_capacity(MAX_POOLED_BUFFER_BYTES + 1));
        assert_eq!(buffers.0.borrow().len(), 1);
        let reused = buffers.take();
        assert_eq!((reused.as_ptr(), reused.len()), (address, 0));
        for _ in 0..=MAX_POOLED_BUFFERS {
            buffers.give_back(BytesMut::new());
        }
        assert_eq!(buffers.0.borrow().len(), MAX_POOLED_BUFFERS);
    }
}
