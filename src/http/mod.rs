//! The service as its clients see it: routes, limits, and the server that has them.
//!
//! The only floor that knows the web framework, status codes and JSON.

mod api;
pub mod attempts;
mod auth;
mod bodies;
mod body;
mod connection;
mod csv;
mod cursor;
pub mod docs;
mod events;
mod export;
mod files;
mod front;
mod health;
mod history;
pub mod key;
mod line;
mod messages;
mod metrics;
#[cfg(test)]
mod openapi;
mod page;
mod path;
mod places;
mod problem;
pub mod proxies;
mod query;
mod register;
mod search;
mod shedding;
pub mod state;
mod view;
mod waiting;
mod waiting_bodies;
mod webhook;
mod written;

use std::net::TcpListener;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use actix_http::{KeepAlive, ServiceConfig};
use actix_server::Server;
use actix_service::{IntoServiceFactory, ServiceFactory, fn_factory, fn_service, map_config};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceRequest, ServiceResponse};
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, Data, ServiceConfig as Routing};
use actix_web::{App, Error, HttpResponse, Resource, Route, guard};
use rustix::net::sockopt::set_tcp_user_timeout;

use self::connection::{Registry, Worker};
use self::problem::Problem;
use self::shedding::Lateness;
use self::state::Service;
use crate::store::reply;

/// A client that does not acknowledge what it is sent for so long is given up, in milliseconds.
const ACKNOWLEDGED_TIME: u32 = 60_000;
/// How long requests under way may take when the service stops, in seconds.
const SHUTDOWN_SECONDS: u64 = 7;

/// Where the service can be reached.
pub struct Listeners {
    /// By everybody who posts webhooks, and by all others unless there are internal ones.
    pub public: Vec<TcpListener>,
    /// By all others; there need be none.
    pub internal: Vec<TcpListener>,
}

/// How many connections a server has at most.
#[derive(Debug, Clone, Copy)]
pub struct Connections {
    /// Beyond so many, connections that wait for their clients are closed.
    pub kept: usize,
    /// So many are accepted; further ones wait in the kernel.
    pub accepted: usize,
}

impl Connections {
    /// Part of these for internal listeners, and the rest.
    fn split(self) -> (Self, Self) {
        let internal = Self { kept: self.kept / 4, accepted: self.accepted / 4 };
        let public =
            Self { kept: self.kept - internal.kept, accepted: self.accepted - internal.accepted };
        (public, internal)
    }
}

/// The servers on these listeners, with at most so many connections; they run when awaited.
///
/// Internal listeners have a server of their own, with its own workers and connections: strangers at the
/// public one take none of them.
pub fn servers(
    service: &Data<Service>,
    listeners: Listeners,
    connections: Connections,
) -> std::io::Result<Vec<Server>> {
    let Listeners { public, internal } = listeners;
    if internal.is_empty() {
        return Ok(vec![server(service, public, all, connections)?]);
    }
    let (at_public, at_internal) = connections.split();
    Ok(vec![
        server(service, public, webhooks_alone, at_public)?,
        server(service, internal, all_but_webhooks, at_internal)?,
    ])
}

/// What the framework's own `HttpServer` does, with connections of ours (see [`connection`]).
fn server(
    service: &Data<Service>,
    listeners: Vec<TcpListener>,
    routes: Routes,
    connections: Connections,
) -> std::io::Result<Server> {
    let workers = thread::available_parallelism()?.get();
    let kept = (connections.kept / workers).max(1);
    let mut server = Server::build()
        .workers(workers)
        .max_concurrent_connections((connections.accepted / workers).max(1))
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals();
    for listener in listeners {
        let service = Data::clone(service);
        server = server.listen("http", listener, move || {
            // Here each worker begins.
            reply::gather_here();
            let registry = Registry::of_this_thread(kept);
            let factory = app(Data::clone(&service), routes).into_factory();
            let factory = map_config(factory, |()| AppConfig::default());
            let service = Data::clone(&service);
            fn_factory(move || {
                let app = factory.new_service(());
                let (service, registry) = (Data::clone(&service), Rc::clone(&registry));
                async move {
                    let shared = Rc::new(Shared {
                        app: app.await?,
                        lateness: Rc::new(Lateness::new()),
                        worker: Worker {
                            config: codec_config(),
                            registry,
                            budget: service.ingest.budget.clone(),
                        },
                        service,
                    });
                    Ok::<_, ()>(fn_service(move |io: TcpStream| serve(Rc::clone(&shared), io)))
                }
            })
        })?;
    }
    Ok(server.run())
}

/// What the connections of a worker share.
struct Shared<S> {
    app: S,
    lateness: Rc<Lateness>,
    worker: Worker,
    service: Data<Service>,
}

async fn serve<S, B>(shared: Rc<Shared<S>>, io: TcpStream) -> std::io::Result<()>
where
    S: actix_service::Service<actix_http::Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    set_up(&io)?;
    let peer = io.peer_addr().ok();
    let Shared { app, lateness, worker, service } = &*shared;
    let answer = |request| front::answer(service, lateness, request, app);
    connection::serve(worker, io, peer, answer).await;
    Ok(())
}

/// Settings of the codec; the times are those of [`connection`].
fn codec_config() -> ServiceConfig {
    ServiceConfig::new(KeepAlive::Os, Duration::ZERO, Duration::ZERO, false, None)
}

fn set_up(connection: &TcpStream) -> std::io::Result<()> {
    // Without it answers wait for the client's acknowledgements.
    connection.set_nodelay(true)?;
    // Nobody else ends the connection of a client that listens to events and has stopped to read.
    Ok(set_tcp_user_timeout(connection, ACKNOWLEDGED_TIME)?)
}

/// Routes of the service, without patterns: the framework tries one regular expression after the other
/// on every path, which can be more work than the answer.
pub type Routes = fn(&mut Routing);

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
        .wrap_fn(move |request, next| state::count_request(Data::clone(&service), request, next))
}

/// Every route of the service.
pub fn all(config: &mut Routing) {
    config.configure(webhooks).configure(all_but_webhooks);
}

/// What anybody may reach, where the rest has listeners of its own.
fn webhooks_alone(config: &mut Routing) {
    config.configure(webhooks).configure(probes);
}

/// The rest.
fn all_but_webhooks(config: &mut Routing) {
    config
        .configure(probes)
        .configure(watch)
        .configure(api)
        .configure(documents)
        .configure(looked_at);
}

fn webhooks(config: &mut Routing) {
    config.service(web::scope("/webhooks").default_service(web::to(webhook::receive)));
}

fn probes(config: &mut Routing) {
    config.service(answering("/livez", get().to(health::live), "GET, HEAD")).service(answering(
        "/readyz",
        get().to(health::ready),
        "GET, HEAD",
    ));
}

fn watch(config: &mut Routing) {
    config.service(answering("/metrics", get().to(metrics::show), "GET, HEAD"));
}

fn api(config: &mut Routing) {
    config.service(web::scope("/api").default_service(web::to(api::answer)));
}

fn documents(config: &mut Routing) {
    config
        .service(answering("/openapi.json", get().to(docs::document), "GET, HEAD"))
        .service(answering("/docs", get().to(docs::page), "GET, HEAD"))
        .service(answering("/docs/{file}", get().to(docs::file), "GET, HEAD"));
}

fn looked_at(config: &mut Routing) {
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
