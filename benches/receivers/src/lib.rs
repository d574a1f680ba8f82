//! What the receivers written in Rust share: settings, proof, the webhook's shape, and the server.
//!
//! It follows the guide of actix-web: extractors, `HttpServer` with a worker for each core, shared
//! state in `Data`. Each program in `bin` adds what it is there to show.

pub mod sql;
pub mod webhook;

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use actix_web::http::header::ContentType;
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, ResponseError};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::webhook::Webhook;

/// The largest body taken, as the program that all are compared with takes it.
const MAX_BODY: usize = 256 << 10;
/// How long requests under way may take when the server is stopped, in seconds.
const SHUTDOWN_SECONDS: u64 = 5;

/// What the environment says.
pub struct Settings {
    /// `LISTEN`: where to listen.
    pub listen: SocketAddr,
    /// `SECRET`: what webhooks are signed with.
    pub proof: Proof,
}

impl Settings {
    /// Reads them.
    pub fn read() -> io::Result<Self> {
        let listen = variable("LISTEN")?.parse().map_err(io::Error::other)?;
        Ok(Self { listen, proof: Proof::new(&variable("SECRET")?)? })
    }
}

/// A variable of the environment that must be set.
pub fn variable(name: &str) -> io::Result<String> {
    std::env::var(name).map_err(|error| io::Error::other(format!("{name}: {error}")))
}

/// The proof of a webhook: `X-Signature` is the HMAC-SHA256 of the body in hex.
#[derive(Clone)]
pub struct Proof(Hmac<Sha256>);

impl Proof {
    fn new(secret: &str) -> io::Result<Self> {
        Hmac::new_from_slice(secret.as_bytes()).map(Self).map_err(io::Error::other)
    }

    /// The webhook in this request, proven and parsed.
    pub fn webhook(&self, request: &HttpRequest, body: &Bytes) -> Result<Webhook, Refusal> {
        let signature = request.headers().get("X-Signature").ok_or(Refusal::Unproven)?;
        let signature = hex::decode(signature).map_err(|_error| Refusal::Unproven)?;
        let mut mac = self.0.clone();
        mac.update(body);
        mac.verify_slice(&signature).map_err(|_error| Refusal::Unproven)?;
        Webhook::parse(body)
    }
}

/// Why a request is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Its signature is missing or wrong.
    #[error("unproven")]
    Unproven,
    /// It is no webhook of the gateway.
    #[error("malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// There is no such message.
    #[error("unknown")]
    Unknown,
    /// The database failed.
    #[error("the database failed: {0}")]
    Store(String),
}

impl Refusal {
    /// What a failing database comes to.
    pub fn store(error: impl Error) -> Self {
        Self::Store(error.to_string())
    }
}

impl ResponseError for Refusal {
    fn error_response(&self) -> HttpResponse {
        let mut response = match self {
            Self::Unproven => HttpResponse::Unauthorized(),
            Self::Malformed(_) => HttpResponse::BadRequest(),
            Self::Unknown => HttpResponse::NotFound(),
            Self::Store(_) => HttpResponse::ServiceUnavailable(),
        };
        response.content_type(ContentType::plaintext()).body(self.to_string())
    }
}

/// Serves these routes until SIGTERM.
pub async fn serve<F>(settings: Settings, routes: F) -> io::Result<()>
where
    F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let proof = Data::new(settings.proof);
    HttpServer::new(move || {
        App::new()
            .app_data(Data::clone(&proof))
            .app_data(web::PayloadConfig::new(MAX_BODY))
            .configure(routes.clone())
    })
    .tcp_nodelay(true)
    .shutdown_timeout(SHUTDOWN_SECONDS)
    .bind(settings.listen)?
    .run()
    .await
}
