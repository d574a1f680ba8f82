//! Who asks: everything under `/api` needs a key, before anything else is judged.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage};

use super::key::Scope;
use super::problem::Problem;
use super::state::Service;

/// The name of the key that a request carries.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) String);

/// Lets a request pass whose key may do what it asks for.
pub(crate) async fn require_key(
    service: Data<Service>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    match caller(&service, &request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            Ok(next.call(request).await?.map_into_left_body())
        }
        Err(problem) => Ok(request.into_response(problem.response()).map_into_right_body()),
    }
}

fn caller(service: &Service, request: &ServiceRequest) -> Result<Caller, Problem> {
    let presented = request.headers().get("X-Api-Key").ok_or(Problem::NoKey)?;
    // Every key is looked at, so that the time does not tell which one it was.
    let found = service
        .keys
        .iter()
        .fold(None, |found, key| if key.matches(presented.as_bytes()) { Some(key) } else { found });
    let key = found.ok_or(Problem::NoKey)?;
    let (scope, needed) = if request.method() == Method::PUT {
        (Scope::Register, "register")
    } else {
        (Scope::Read, "read")
    };
    if !key.scopes.contains(&scope) {
        return Err(Problem::Scope { needed });
    }
    Ok(Caller(key.name.clone()))
}
