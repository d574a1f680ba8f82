//! `postgres`: receiver with PostgreSQL, after the guides of actix-web, `deadpool-postgres` and
//! `tokio-postgres`: a pool, cached prepared statements, and one transaction per request.

use std::io;
use std::str::FromStr;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::rt::time::sleep;
use actix_web::web::{self, Bytes, Data, Json, Path, ServiceConfig};
use deadpool_postgres::{
    Client, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Transaction,
};
use receivers::sql::{ADD_NOTIFICATION, MESSAGE, PUT_MESSAGE, STATUS};
use receivers::webhook::{
    Channel, Message, MessageAnswer, Outcome, Provider, Receipt, Reference, Sms, Status, Webhook,
};
use receivers::{Rejection, Settings, Verifier, serve, variable};
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{NoTls, Row};
use uuid::Uuid;

/// Number of connections to the database. 4, 8, 32 and 64 were not faster on two cores.
const CONNECTIONS: usize = 16;
/// Maximum time for the database to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between two attempts to connect.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

const SCHEMA: &str = include_str!("../../postgres/schema.sql");

#[actix_web::main]
async fn main() -> io::Result<()> {
    let database =
        tokio_postgres::Config::from_str(&variable("DATABASE")?).map_err(io::Error::other)?;
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let pool = Pool::builder(Manager::from_config(database, NoTls, recycling))
        .max_size(CONNECTIONS)
        .build()
        .map_err(io::Error::other)?;
    let client = connect(&pool).await.map_err(io::Error::other)?;
    client.batch_execute(SCHEMA).await.map_err(io::Error::other)?;
    drop(client);
    let pool = Data::new(pool);
    serve(Settings::read()?, move |config: &mut ServiceConfig| {
        config
            .app_data(Data::clone(&pool))
            .route("/webhooks/bench", web::post().to(receive))
            .route("/api/messagestatus/{id}", web::get().to(show));
    })
    .await
}

/// Connects to the database, and retries until it has started.
async fn connect(pool: &Pool) -> Result<Client, PoolError> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        match pool.get().await {
            Err(_) if Instant::now() < deadline => sleep(RETRY_INTERVAL).await,
            result => return result,
        }
    }
}

async fn receive(
    verifier: Data<Verifier>,
    pool: Data<Pool>,
    request: HttpRequest,
    body: Bytes,
) -> Result<Json<Receipt>, Rejection> {
    let message = verifier.webhook(&request, &body)?.message;
    let identity = Webhook::identity(&body);
    let mut client = pool.get().await.map_err(Rejection::store)?;
    let transaction = client.transaction().await.map_err(Rejection::store)?;
    let (outcome, number) =
        store(&transaction, &message, &identity).await.map_err(Rejection::store)?;
    transaction.commit().await.map_err(Rejection::store)?;
    let status = Status::from_number(number).ok_or_else(|| invalid_value("status"))?;
    Ok(Json(Receipt::new(message.id, outcome, status)))
}

async fn show(pool: Data<Pool>, id: Path<Uuid>) -> Result<Json<MessageAnswer>, Rejection> {
    let client = pool.get().await.map_err(Rejection::store)?;
    let statement = client.prepare_cached(MESSAGE).await.map_err(Rejection::store)?;
    let row = client.query_opt(&statement, &[&*id]).await.map_err(Rejection::store)?;
    let message = read(*id, &row.ok_or(Rejection::UnknownMessage)?)?;
    Ok(Json(MessageAnswer { message }))
}

async fn store(
    transaction: &Transaction<'_>,
    message: &Message,
    identity: &[u8; 32],
) -> Result<(Outcome, i16), tokio_postgres::Error> {
    let Message { reference, provider, .. } = message;
    let channel = message.channel.name();
    let number = message.status.number();
    let segments = message.sms.as_ref().map(|sms| i32::from(sms.segments));
    let values: [&(dyn ToSql + Sync); 15] = [
        &message.id,
        &number,
        &message.status_changed_at,
        &message.provider_acceptance_at,
        &channel,
        &message.destination,
        &reference.service,
        &reference.action,
        &reference.key,
        &provider.name,
        &provider.id,
        &provider.status,
        &provider.code,
        &provider.message,
        &segments,
    ];
    let identity: &(dyn ToSql + Sync) = &identity.as_slice();
    let statement = transaction.prepare_cached(ADD_NOTIFICATION).await?;
    let outcome =
        if transaction.execute(&statement, &[&values[..], &[identity]].concat()).await? == 0 {
            Outcome::Duplicate
        } else {
            let statement = transaction.prepare_cached(PUT_MESSAGE).await?;
            match transaction.execute(&statement, &values).await? {
                0 => Outcome::Superseded,
                _ => Outcome::Applied,
            }
        };
    if outcome == Outcome::Applied {
        return Ok((outcome, number));
    }
    let statement = transaction.prepare_cached(STATUS).await?;
    let row = transaction.query_one(&statement, &[&message.id]).await?;
    Ok((outcome, row.try_get(0)?))
}

fn read(id: Uuid, row: &Row) -> Result<Message, Rejection> {
    let channel: String = get(row, 3)?;
    let segments: Option<i32> = get(row, 12)?;
    let segments = segments.map(u16::try_from).transpose().map_err(Rejection::store)?;
    Ok(Message {
        id,
        status: Status::from_number(get(row, 0)?).ok_or_else(|| invalid_value("status"))?,
        status_changed_at: get(row, 1)?,
        provider_acceptance_at: get(row, 2)?,
        channel: Channel::from_name(&channel).ok_or_else(|| invalid_value("channel"))?,
        reference: Reference { service: get(row, 4)?, action: get(row, 5)?, key: get(row, 6)? },
        provider: Provider {
            name: get(row, 7)?,
            id: get(row, 8)?,
            status: get(row, 9)?,
            code: get(row, 10)?,
            message: get(row, 11)?,
        },
        sms: segments.map(|segments| Sms { segments }),
        destination: None,
    })
}

fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, Rejection> {
    row.try_get(column).map_err(Rejection::store)
}

fn invalid_value(column: &str) -> Rejection {
    Rejection::Store(format!("unknown value in column {column}"))
}
