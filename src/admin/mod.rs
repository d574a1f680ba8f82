//! Admin socket: commands that change or inspect a running mirror, over a Unix socket beside the database.
//!
//! [`protocol`] defines commands and replies, one line of JSON each. [`mod@socket`] binds the socket, which
//! only the owner of the files may connect to, and reads one bounded command. [`service`] carries a command
//! out: in the running server, or on the opened file if no server runs. [`quarantine`] has the commands about
//! quarantined entries. [`mod@status`] describes the state of the server.

pub(crate) mod protocol;
pub(crate) mod quarantine;
pub(crate) mod service;
pub(crate) mod socket;
pub(crate) mod status;

pub use self::protocol::{
    BackUp, BackedUp, Command, CountErase, CountPrune, CountWaiting, DropEntries, Dropped, Entry,
    Erase, Line, List, Prune, Reload, Reloaded, Removed, Replay, Replayed, Request, Selection,
    Show, Status, Waiting,
};
pub use self::service::{Admin, ReloadOrder};
pub use self::socket::{bind, connect, socket};
pub use self::status::{Rejected, ServerStatus, SourceStatus, StoreStatus};
