//! Requests rendered before a run.

/// Rendered requests, one after the other.
#[derive(Default)]
pub(crate) struct Requests {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Requests {
    /// Reserves room for `count` requests of about `length` bytes.
    pub(crate) fn with_capacity(count: usize, length: usize) -> Self {
        Self { bytes: Vec::with_capacity(count * length), ends: Vec::with_capacity(count) }
    }

    /// Adds a request, which `render` appends to the buffer.
    pub(crate) fn push(&mut self, render: impl FnOnce(&mut Vec<u8>)) {
        render(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Number of requests.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of one request.
    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        let start = match index.checked_sub(1) {
            Some(previous) => *self.ends.get(previous)?,
            None => 0,
        };
        self.bytes.get(start..*self.ends.get(index)?)
    }
}
