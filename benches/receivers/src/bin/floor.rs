//! `floor`: server that verifies and parses a webhook, and answers once it is in a file and synced. It judges,
//! indexes and looks up nothing, so it shows what durable ingest costs at least on this machine and disk.
//!
//! One thread writes: it takes one webhook, drains the queue, appends everything to the file, calls
//! `fdatasync` once, and answers. A record of the file is the length of a body (32 bits, little-endian) and
//! the body.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use actix_web::HttpRequest;
use actix_web::web::{self, Bytes, Data, Json, ServiceConfig};
use receivers::webhook::{Outcome, Receipt};
use receivers::{Rejection, Settings, Verifier, serve, variable};
use tokio::sync::oneshot;

/// Length of the queue. A webhook for which it has no room is answered with 503.
const QUEUE_LENGTH: usize = 1024;

/// Verified webhook that waits for the writer.
struct Record {
    body: Bytes,
    reply: oneshot::Sender<Result<(), Arc<io::Error>>>,
}

#[actix_web::main]
async fn main() -> io::Result<()> {
    let file = OpenOptions::new().append(true).create(true).open(variable("DATABASE")?)?;
    let (queue, records) = sync_channel(QUEUE_LENGTH);
    let writer = thread::Builder::new().name("writer".to_owned()).spawn(|| write(file, records))?;
    let queue = Data::new(queue);
    serve(Settings::read()?, move |config: &mut ServiceConfig| {
        config.app_data(Data::clone(&queue)).route("/webhooks/bench", web::post().to(receive));
    })
    .await?;
    // The queue was dropped with the server, so the writer ends.
    writer.join().map_err(|_panic| io::Error::other("the writer panicked"))
}

async fn receive(
    verifier: Data<Verifier>,
    queue: Data<SyncSender<Record>>,
    request: HttpRequest,
    body: Bytes,
) -> Result<Json<Receipt>, Rejection> {
    let message = verifier.webhook(&request, &body)?.message;
    let (reply, result) = oneshot::channel();
    queue.try_send(Record { body, reply }).map_err(Rejection::store)?;
    result.await.map_err(Rejection::store)?.map_err(Rejection::store)?;
    Ok(Json(Receipt::new(message.id, Outcome::Applied, message.status)))
}

/// Appends records until the queue is closed.
#[expect(clippy::needless_pass_by_value, reason = "the thread owns the file and the queue")]
fn write(mut file: File, records: Receiver<Record>) {
    let mut buffer = Vec::new();
    let mut replies = Vec::new();
    while let Ok(first) = records.recv() {
        buffer.clear();
        // The queue is drained up to its length, so that a batch ends.
        for Record { body, reply } in
            std::iter::once(first).chain(records.try_iter().take(QUEUE_LENGTH))
        {
            let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
            buffer.extend_from_slice(&length.to_le_bytes());
            buffer.extend_from_slice(&body);
            replies.push(reply);
        }
        let result = file.write_all(&buffer).and_then(|()| file.sync_data()).map_err(Arc::new);
        for reply in replies.drain(..) {
            // The sender may have gone.
            reply.send(result.clone()).unwrap_or_default();
        }
    }
}
