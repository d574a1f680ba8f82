//! Shared code of the receivers written in Rust: settings, verification, types of the webhook, and the
//! server.
//!
//! It follows the guide of actix-web: extractors, `HttpServer` with a worker for each core, shared state in
//! `Data`. Each program in `bin` adds its own way of storing.

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

/// Maximum size of a body in bytes, as in statusmirror.
const MAX_BODY: usize = 256 << 10;
/// Maximum time for requests in flight when the server is stopped, in seconds.
const SHUTDOWN_SECONDS: u64 = 5;

/// Settings from environment variables.
pub struct Settings {
    /// `LISTEN`: address to listen on.
    pub listen: SocketAddr,
    /// `SECRET`: secret of the webhooks' signatures.
    pub verifier: Verifier,
}

impl Settings {
    /// Reads the environment variables.
    pub fn read() -> io::Result<Self> {
        let listen = variable("LISTEN")?.parse().map_err(io::Error::other)?;
        Ok(Self { listen, verifier: Verifier::new(&variable("SECRET")?)? })
    }
}

/// Value of an environment variable, which must be set.
pub fn variable(name: &str) -> io::Result<String> {
    std::env::var(name).map_err(|error| io::Error::other(format!("{name}: {error}")))
}

/// Verification of webhooks: `X-Signature` is the HMAC-SHA256 of the body in hex.
#[derive(Clone)]
pub struct Verifier(Hmac<Sha256>);

impl Verifier {
    fn new(secret: &str) -> io::Result<Self> {
        Hmac::new_from_slice(secret.as_bytes()).map(Self).map_err(io::Error::other)
    }

    /// Verifies the signature of a request, and parses its webhook.
    pub fn webhook(&self, request: &HttpRequest, body: &Bytes) -> Result<Webhook, Rejection> {
        let signature = request.headers().get("X-Signature").ok_or(Rejection::InvalidSignature)?;
        let signature = hex::decode(signature).map_err(|_error| Rejection::InvalidSignature)?;
        let mut mac = self.0.clone();
        mac.update(body);
        mac.verify_slice(&signature).map_err(|_error| Rejection::InvalidSignature)?;
        Webhook::parse(body)
    }
}

/// Reason for rejecting a request.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// The signature is missing or wrong.
    #[error("invalid signature")]
    InvalidSignature,
    /// The body is not a webhook of the gateway.
    #[error("malformed webhook: {0}")]
    Malformed(#[from] serde_json::Error),
    /// No message has this id.
    #[error("unknown message")]
    UnknownMessage,
    /// The database failed.
    #[error("database error: {0}")]
    Store(String),
}

impl Rejection {
    /// Rejection because of a database error.
    pub fn store(error: impl Error) -> Self {
        Self::Store(error.to_string())
    }
}

impl ResponseError for Rejection {
    fn error_response(&self) -> HttpResponse {
        let mut response = match self {
            Self::InvalidSignature => HttpResponse::Unauthorized(),
            Self::Malformed(_) => HttpResponse::BadRequest(),
            Self::UnknownMessage => HttpResponse::NotFound(),
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
    let verifier = Data::new(settings.verifier);
    HttpServer::new(move || {
        App::new()
            .app_data(Data::clone(&verifier))
            .app_data(web::PayloadConfig::new(MAX_BODY))
            .configure(routes.clone())
    })
    .tcp_nodelay(true)
    .shutdown_timeout(SHUTDOWN_SECONDS)
    .bind(settings.listen)?
    .run()
    .await
}
