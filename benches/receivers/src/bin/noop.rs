//! `noop`: server that reads a webhook's body and answers, and answers queries with a constant. It shows the
//! cost of the web framework alone, used as in its guide.

use std::io;
use std::str::FromStr;

use actix_web::HttpResponse;
use actix_web::http::header::ContentType;
use actix_web::web::{self, Bytes, Data, Path, ServiceConfig};
use receivers::{Settings, serve};

/// Maximum length of a constant in bytes.
const MAX_CONSTANT_BYTES: usize = 1 << 20;

#[actix_web::main]
async fn main() -> io::Result<()> {
    // White space and an empty object. A suffix of any length from two bytes is JSON too.
    let mut longest = vec![b' '; MAX_CONSTANT_BYTES];
    longest.extend_from_slice(b"{}");
    let longest = Data::new(Bytes::from(longest));
    serve(Settings::read()?, move |config: &mut ServiceConfig| {
        config
            .app_data(Data::clone(&longest))
            .route("/webhooks/bench", web::post().to(receive))
            .route("/constant/{length}", web::get().to(constant));
    })
    .await
}

async fn receive(body: Bytes) -> HttpResponse {
    if body.is_empty() {
        return HttpResponse::BadRequest().finish();
    }
    HttpResponse::Ok().content_type(ContentType::json()).body(r#"{"results":[]}"#)
}

async fn constant(length: Path<String>, longest: Data<Bytes>) -> HttpResponse {
    let start = usize::from_str(&length).ok().and_then(|length| longest.len().checked_sub(length));
    match start {
        Some(start) => {
            HttpResponse::Ok().content_type(ContentType::json()).body(longest.slice(start..))
        }
        None => HttpResponse::NotFound().finish(),
    }
}
