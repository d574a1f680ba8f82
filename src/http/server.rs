//! Server assembly: listeners, connection limits and the route table.

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
use tokio::task::LocalSet;

use super::app_state::Service;
use super::connection::{Limits, Registry, Worker};
use super::problem::Problem;
use super::shedding::Lateness;
use super::{api, app_state, connection, front, ops, ui, webhook};
use crate::http::ops::{docs, health};
use crate::memory_budget::Share;
use crate::store::reply;

/// TCP user timeout, in milliseconds: a client that does not acknowledge sent data for this long is
/// disconnected.
const TCP_USER_TIMEOUT_MILLIS: u32 = 60_000;
/// Drain timeout for requests in flight at shutdown, in seconds.
const SHUTDOWN_SECONDS: u64 = 7;

/// Listening sockets of the service.
pub struct Listeners {
    /// Sockets for webhooks and probes; for all other routes too if `internal` is empty.
    pub public: Vec<TcpListener>,
    /// Sockets for probes and all routes but webhooks; may be empty.
    pub internal: Vec<TcpListener>,
}

/// Connection limits of a server.
#[derive(Debug, Clone, Copy)]
pub struct Connections {
    /// Soft limit: beyond it, connections that wait for their clients are closed.
    pub soft_limit: usize,
    /// Hard limit of accepted connections; further ones wait in the kernel.
    pub hard_limit: usize,
}

impl Connections {
    /// Splits the limits into those of the public listeners and those of the internal ones, which get a
    /// quarter.
    fn split(self) -> (Self, Self) {
        let internal = Self { soft_limit: self.soft_limit / 4, hard_limit: self.hard_limit / 4 };
        let public = Self {
            soft_limit: self.soft_limit - internal.soft_limit,
            hard_limit: self.hard_limit - internal.hard_limit,
        };
        (public, internal)
    }
}

/// Creates the servers on these listeners, within these connection limits; they run when awaited.
///
/// Internal listeners have a server of their own, with its own workers and connections, so clients of the
/// public server cannot use them up.
pub fn servers(
    service: &Data<Service>,
    listeners: Listeners,
    connections: Connections,
) -> std::io::Result<Vec<Server>> {
    let Listeners { public, internal } = listeners;
    if internal.is_empty() {
        return Ok(vec![server(service, public, all, connections, 1)?]);
    }
    let (at_public, at_internal) = connections.split();
    Ok(vec![
        server(service, public, webhooks_and_probes, at_public, 2)?,
        server(service, internal, all_but_webhooks, at_internal, 2)?,
    ])
}

/// Builds one server: the framework's `HttpServer` with our own connections (see [`connection`]). `servers`
/// is the number of servers that share the memory for unfinished requests.
fn server(
    service: &Data<Service>,
    listeners: Vec<TcpListener>,
    routes: Routes,
    connections: Connections,
    servers: usize,
) -> std::io::Result<Server> {
    let workers = thread::available_parallelism()?.get();
    let soft_limit = (connections.soft_limit / workers).max(1);
    let head_bytes = Share::Heads.limit() / (workers * servers);
    let mut server = Server::build()
        .workers(workers)
        .max_concurrent_connections((connections.hard_limit / workers).max(1))
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals();
    for listener in listeners {
        let service = Data::clone(service);
        server = server.listen("http", listener, move || {
            // Runs at the start of each worker.
            reply::start_reply_task();
            let limits = Limits { connections: soft_limit, head_bytes };
            let charged = service.budget.reservation(Share::Heads);
            let registry = Registry::of_this_thread(limits, charged);
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
                        worker: Worker { config: codec_config(), registry },
                        service,
                    });
                    Ok::<_, ()>(fn_service(move |io: TcpStream| serve(Rc::clone(&shared), io)))
                }
            })
        })?;
    }
    Ok(server.run())
}

/// State shared by the connections of a worker.
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
    // Boxed: otherwise the framework's connection task would reserve room for the future twice.
    Box::pin(connection::serve(worker, io, peer, answer)).await;
    Ok(())
}

/// Codec settings. Timeouts and the `Date` of answers are those of [`connection`]. The task that would renew
/// the codec's own date is spawned on a local set that is never run.
fn codec_config() -> ServiceConfig {
    let never_run = LocalSet::new();
    let _guard = never_run.enter();
    ServiceConfig::new(KeepAlive::Os, Duration::ZERO, Duration::ZERO, false, None)
}

fn set_up(connection: &TcpStream) -> std::io::Result<()> {
    // Without `TCP_NODELAY`, answers wait for the client's acknowledgements.
    connection.set_nodelay(true)?;
    // Only this timeout ends the connection of a client that listens to events and has stopped reading.
    Ok(set_tcp_user_timeout(connection, TCP_USER_TIMEOUT_MILLIS)?)
}

/// Route table of the service, without patterns: the framework tries one regular expression after the other
/// on every path, which can be more work than the answer.
pub type Routes = fn(&mut Routing);

/// Creates the application that answers requests, without the server around it.
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
        .wrap_fn(move |request, next| {
            app_state::count_request(Data::clone(&service), request, next)
        })
}

/// Registers every route of the service.
pub fn all(config: &mut Routing) {
    config.configure(webhooks).configure(all_but_webhooks);
}

/// Registers the routes of the public server when there are internal listeners: webhooks and probes.
fn webhooks_and_probes(config: &mut Routing) {
    config.configure(webhooks).configure(probes);
}

/// Registers every route but the webhooks.
fn all_but_webhooks(config: &mut Routing) {
    config
        .configure(probes)
        .configure(metrics_routes)
        .configure(api)
        .configure(documents)
        .configure(page_routes);
}

fn webhooks(config: &mut Routing) {
    config.service(web::scope("/webhooks").default_service(web::to(webhook::receive)));
}

fn probes(config: &mut Routing) {
    config.service(resource("/livez", get().to(health::live), "GET, HEAD")).service(resource(
        "/readyz",
        get().to(health::ready),
        "GET, HEAD",
    ));
}

fn metrics_routes(config: &mut Routing) {
    config.service(resource("/metrics", get().to(ops::show), "GET, HEAD"));
}

fn api(config: &mut Routing) {
    config.service(web::scope("/api").default_service(web::to(api::answer::answer)));
}

fn documents(config: &mut Routing) {
    config
        .service(resource("/openapi.json", get().to(docs::document), "GET, HEAD"))
        .service(resource("/docs", get().to(docs::page), "GET, HEAD"))
        .service(resource("/docs/{file}", get().to(docs::file), "GET, HEAD"));
}

fn page_routes(config: &mut Routing) {
    config
        .service(resource("/", get().to(ui::shell), "GET, HEAD"))
        .service(resource("/page/{file}", get().to(ui::file), "GET, HEAD"))
        .service(web::scope("/ui").default_service(web::to(ui::answer)));
}

fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Creates a resource that answers other methods with 405 and the methods it allows.
fn resource(path: &str, route: Route, allowed: &'static str) -> Resource {
    let reject = move || async move { Problem::Method { allowed: allowed.to_owned() }.response() };
    web::resource(path).route(route).default_service(web::to(reject))
}

async fn not_found() -> HttpResponse {
    Problem::NoRoute.response()
}
