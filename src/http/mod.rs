//! The service as its clients see it: routes, limits, and the server that has them.
//!
//! The only floor that knows the web framework, status codes and JSON.

mod api;
pub mod attempts;
mod auth;
mod body;
mod csv;
mod cursor;
pub mod docs;
mod events;
mod health;
pub mod key;
mod line;
mod messages;
mod metrics;
#[cfg(test)]
mod openapi;
mod page;
mod places;
mod problem;
pub mod proxies;
mod query;
mod register;
mod search;
mod shedding;
pub mod state;
mod unread;
mod view;
mod waiting;
mod waiting_bodies;
mod webhook;
mod wire;
mod written;

use std::future::ready;
use std::net::TcpListener;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use actix_http::HttpService;
use actix_http::error::DispatchError;
use actix_server::Server;
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt, apply_fn_factory, fn_service, map_config,
};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceRequest, ServiceResponse};
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, Error, HttpResponse, Resource, Route, guard};
use rustix::net::sockopt::set_tcp_user_timeout;

use self::problem::Problem;
use self::shedding::{Lateness, shed_or_call};
use self::state::Service;
use self::wire::Wire;
use crate::store::reply;

/// How long a request's headers may take.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// How long a connection that is to be closed is still read from.
const DISCONNECT_TIME: Duration = Duration::from_secs(1);
/// For so long a client may take nothing of what it is sent, or not say that it has, in milliseconds.
const TAKING_TIME: u32 = 60_000;
/// How long an idle connection stays open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long requests under way may take when the service stops, in seconds.
const SHUTDOWN_SECONDS: u64 = 7;

/// Where the service can be reached.
pub struct Listeners {
    /// By everybody who posts webhooks, and by all others unless there are internal ones.
    pub public: Vec<TcpListener>,
    /// By all others; there need be none.
    pub internal: Vec<TcpListener>,
}

/// The server on these listeners, with at most so many connections; it runs when awaited.
///
/// What the framework's own `HttpServer` does, on connections of ours (see [`wire`]).
pub fn server(
    service: &Data<Service>,
    listeners: Listeners,
    connections: usize,
) -> std::io::Result<Server> {
    let workers = thread::available_parallelism()?.get();
    let mut server = Server::build()
        .workers(workers)
        .max_concurrent_connections((connections / workers).max(1))
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals();
    let Listeners { public, internal } = listeners;
    let public_routes: Routes = if internal.is_empty() { all } else { webhooks_alone };
    let internal_routes: Routes = all_but_webhooks;
    let public = public.into_iter().map(|listener| (listener, public_routes));
    let internal = internal.into_iter().map(|listener| (listener, internal_routes));
    for (listener, routes) in public.chain(internal) {
        let service = Data::clone(service);
        server = server.listen("http", listener, move || {
            // Here each worker begins.
            reply::gather_here();
            let app = app(Data::clone(&service), routes)
                .into_factory()
                .map_err(|error: Error| error.error_response());
            let app = map_config(app, |()| AppConfig::default());
            let (service, lateness) = (Data::clone(&service), Rc::new(Lateness::new()));
            let http = HttpService::build()
                .keep_alive(KEEP_ALIVE)
                .client_request_timeout(HEADER_TIME)
                .client_disconnect_timeout(DISCONNECT_TIME)
                .h1(apply_fn_factory(app, move |request, app: &_| {
                    shed_or_call(&service, &lateness, request, app)
                }));
            fn_service(|io: TcpStream| {
                let peer = io.peer_addr().ok();
                ready(set_up(&io).map(|()| (Wire::new(io), peer)).map_err(DispatchError::Io))
            })
            .and_then(http)
        })?;
    }
    Ok(server.run())
}

fn set_up(connection: &TcpStream) -> std::io::Result<()> {
    // Without it answers wait for the client's acknowledgements.
    connection.set_nodelay(true)?;
    // Nobody else ends the connection of a client that listens to events and has stopped to read.
    Ok(set_tcp_user_timeout(connection, TAKING_TIME)?)
}

/// Routes of the service, without patterns: the framework tries one regular expression after the other
/// on every path, which can be more work than the answer.
pub type Routes = fn(&mut ServiceConfig);

/// What the server does with a request, without the server.
pub fn app(
    service: Data<Service>,
    routes: Routes,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    App::new()
        .app_data(Data::clone(&service))
        .configure(routes)
        .default_service(web::to(not_found))
        .wrap_fn(unread::close)
        .wrap_fn(move |request, next| state::count_request(Data::clone(&service), request, next))
}

/// Every route of the service.
pub fn all(config: &mut ServiceConfig) {
    config.configure(webhooks).configure(all_but_webhooks);
}

/// What anybody may reach, where the rest has listeners of its own.
fn webhooks_alone(config: &mut ServiceConfig) {
    config.configure(webhooks).configure(probes);
}

/// The rest.
fn all_but_webhooks(config: &mut ServiceConfig) {
    config
        .configure(probes)
        .configure(watch)
        .configure(api)
        .configure(documents)
        .configure(looked_at);
}

fn webhooks(config: &mut ServiceConfig) {
    config.service(web::scope("/webhooks").default_service(web::to(webhook::receive)));
}

fn probes(config: &mut ServiceConfig) {
    config.service(answering("/livez", get().to(health::live), "GET, HEAD")).service(answering(
        "/readyz",
        get().to(health::ready),
        "GET, HEAD",
    ));
}

fn watch(config: &mut ServiceConfig) {
    config.service(answering("/metrics", get().to(metrics::show), "GET, HEAD"));
}

fn api(config: &mut ServiceConfig) {
    config.service(web::scope("/api").default_service(web::to(api::answer)));
}

fn documents(config: &mut ServiceConfig) {
    config
        .service(answering("/openapi.json", get().to(docs::document), "GET, HEAD"))
        .service(answering("/docs", get().to(docs::page), "GET, HEAD"))
        .service(answering("/docs/{file}", get().to(docs::file), "GET, HEAD"));
}

fn looked_at(config: &mut ServiceConfig) {
    config
        .service(answering("/", get().to(page::shell), "GET, HEAD"))
        .service(answering("/page/{file}", get().to(page::file), "GET, HEAD"))
        .service(web::scope("/ui").default_service(web::to(page::answer)));
}

fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A resource that answers other methods with what it allows.
fn answering(path: &str, route: Route, allowed: &'static str) -> Resource {
    let refuse = move || async move { Problem::Method { allowed: allowed.to_owned() }.response() };
    web::resource(path).route(route).default_service(web::to(refuse))
}

async fn not_found() -> HttpResponse {
    Problem::NoRoute.response()
}
