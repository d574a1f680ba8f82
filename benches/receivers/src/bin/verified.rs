//! `verified`: server that verifies and parses a webhook and stores nothing. It shows the cost of the API
//! without durability, with the web framework used as in its guide.

use std::io;

use actix_web::HttpRequest;
use actix_web::web::{self, Bytes, Data, Json, ServiceConfig};
use receivers::webhook::{Outcome, Receipt};
use receivers::{Rejection, Settings, Verifier, serve};

#[actix_web::main]
async fn main() -> io::Result<()> {
    serve(Settings::read()?, |config: &mut ServiceConfig| {
        config.route("/webhooks/bench", web::post().to(receive));
    })
    .await
}

async fn receive(
    verifier: Data<Verifier>,
    request: HttpRequest,
    body: Bytes,
) -> Result<Json<Receipt>, Rejection> {
    let message = verifier.webhook(&request, &body)?.message;
    Ok(Json(Receipt::new(message.id, Outcome::Applied, message.status)))
}
