//! `postgres`: the same with PostgreSQL, as the guides of actix-web, `deadpool-postgres` and
//! `tokio-postgres` show it: a pool, cached prepared statements, one transaction a request.

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
    Channel, Found, Message, Outcome, Provider, Receipt, Reference, Sms, Status, Webhook,
};
use receivers::{Proof, Refusal, Settings, serve, variable};
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{NoTls, Row};
use uuid::Uuid;

/// How many connections to the database. Neither 4, 8, 32 nor 64 were quicker on two cores.
const CONNECTIONS: usize = 16;
/// How long the database may take to start.
const START: Duration = Duration::from_secs(30);
/// After how long it is asked again.
const PAUSE: Duration = Duration::from_millis(100);

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
    let client = started(&pool).await.map_err(io::Error::other)?;
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

/// A connection, as soon as the database has started.
async fn started(pool: &Pool) -> Result<Client, PoolError> {
    let until = Instant::now() + START;
    loop {
        match pool.get().await {
            Err(_) if Instant::now() < until => sleep(PAUSE).await,
            done => return done,
        }
    }
}

async fn receive(
    proof: Data<Proof>,
    pool: Data<Pool>,
    request: HttpRequest,
    body: Bytes,
) -> Result<Json<Receipt>, Refusal> {
    let message = proof.webhook(&request, &body)?.message;
    let identity = Webhook::identity(&body);
    let mut client = pool.get().await.map_err(Refusal::store)?;
    let transaction = client.transaction().await.map_err(Refusal::store)?;
    let (outcome, number) =
        store(&transaction, &message, &identity).await.map_err(Refusal::store)?;
    transaction.commit().await.map_err(Refusal::store)?;
    let status = Status::numbered(number).ok_or_else(|| unknown("status"))?;
    Ok(Json(Receipt::new(message.id, outcome, status)))
}

async fn show(pool: Data<Pool>, id: Path<Uuid>) -> Result<Json<Found>, Refusal> {
    let client = pool.get().await.map_err(Refusal::store)?;
    let statement = client.prepare_cached(MESSAGE).await.map_err(Refusal::store)?;
    let row = client.query_opt(&statement, &[&*id]).await.map_err(Refusal::store)?;
    let message = read(*id, &row.ok_or(Refusal::Unknown)?)?;
    Ok(Json(Found { message }))
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
    let said: [&(dyn ToSql + Sync); 15] = [
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
    let outcome = if transaction.execute(&statement, &[&said[..], &[identity]].concat()).await? == 0
    {
        Outcome::Duplicate
    } else {
        let statement = transaction.prepare_cached(PUT_MESSAGE).await?;
        match transaction.execute(&statement, &said).await? {
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

fn read(id: Uuid, row: &Row) -> Result<Message, Refusal> {
    let channel: String = get(row, 3)?;
    let segments: Option<i32> = get(row, 12)?;
    let segments = segments.map(u16::try_from).transpose().map_err(Refusal::store)?;
    Ok(Message {
        id,
        status: Status::numbered(get(row, 0)?).ok_or_else(|| unknown("status"))?,
        status_changed_at: get(row, 1)?,
        provider_acceptance_at: get(row, 2)?,
        channel: Channel::named(&channel).ok_or_else(|| unknown("channel"))?,
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

fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, Refusal> {
    row.try_get(column).map_err(Refusal::store)
}

fn unknown(what: &str) -> Refusal {
    Refusal::Store(format!("unknown {what}"))
}
