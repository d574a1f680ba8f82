//! Requests under `/api` and `/ui`, which need a key: answers them, logs their lines and counts them.

use actix_web::HttpResponse;

use super::app_state::Service;
use super::auth::{Caller, KeyRejection};
use super::problem::Problem;
use super::request_log::{About, Line};

/// Answers a caller, or rejects the request; logs the request's line and counts it in the metrics.
pub(crate) async fn answer(
    service: &Service,
    line: &Line<'_>,
    about: About,
    caller: Result<Caller, KeyRejection>,
    respond: impl AsyncFnOnce(&Caller) -> Result<HttpResponse, Problem>,
) -> HttpResponse {
    let answer = match caller {
        Ok(caller) => {
            let mut answer = respond(&caller).await.unwrap_or_else(|problem| {
                line.request_span(&caller.0).in_scope(|| problem.response())
            });
            line.answered(&caller.0, &about, &mut answer);
            answer
        }
        Err(rejection) => {
            let mut answer = rejection.problem.response();
            line.key_rejected(service, about.route, &rejection, &mut answer);
            answer
        }
    };
    service.metrics.answered(about.route, answer.status().as_u16(), line.elapsed());
    answer
}
