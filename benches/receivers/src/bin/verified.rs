//! `verified`: a webhook is proven and parsed, and nothing is stored. What the contract costs without
//! durability, in the web framework as its guide shows it.

use std::io;

use actix_web::HttpRequest;
use actix_web::web::{self, Bytes, Data, Json, ServiceConfig};
use receivers::webhook::{Outcome, Receipt};
use receivers::{Proof, Refusal, Settings, serve};

#[actix_web::main]
async fn main() -> io::Result<()> {
    serve(Settings::read()?, |config: &mut ServiceConfig| {
        config.route("/webhooks/bench", web::post().to(receive));
    })
    .await
}

async fn receive(
    proof: Data<Proof>,
    request: HttpRequest,
    body: Bytes,
) -> Result<Json<Receipt>, Refusal> {
    let message = proof.webhook(&request, &body)?.message;
    Ok(Json(Receipt::new(message.id, Outcome::Applied, message.status)))
}
