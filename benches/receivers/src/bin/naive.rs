//! `naive`: naive design with SQLite, after actix-web's guide to databases: a pool of connections (`r2d2`),
//! `web::block`, and one transaction per request. `SYNCHRONOUS` is FULL or NORMAL; with NORMAL an
//! acknowledged webhook can be lost.

use std::io;

use actix_web::HttpRequest;
use actix_web::web::{self, Bytes, Data, Json, Path, ServiceConfig};
use r2d2_sqlite::SqliteConnectionManager;
use receivers::sql::{ADD_NOTIFICATION, MESSAGE, PUT_MESSAGE, STATUS};
use receivers::webhook::{
    Channel, Message, MessageAnswer, Outcome, Provider, Receipt, Reference, Sms, Status, Webhook,
};
use receivers::{Rejection, Settings, Verifier, serve, variable};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, TransactionBehavior};
use uuid::Uuid;

type Pool = r2d2::Pool<SqliteConnectionManager>;

const SCHEMA: &str = include_str!("../../schema.sql");

#[actix_web::main]
async fn main() -> io::Result<()> {
    let synchronous = match variable("SYNCHRONOUS")?.as_str() {
        "FULL" => "PRAGMA synchronous = FULL",
        "NORMAL" => "PRAGMA synchronous = NORMAL",
        other => return Err(io::Error::other(format!("SYNCHRONOUS: {other}"))),
    };
    let manager = SqliteConnectionManager::file(variable("DATABASE")?).with_init(|connection| {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.execute_batch(synchronous)
    });
    let pool = Pool::new(manager).map_err(io::Error::other)?;
    pool.get().map_err(io::Error::other)?.execute_batch(SCHEMA).map_err(io::Error::other)?;
    let pool = Data::new(pool);
    serve(Settings::read()?, move |config: &mut ServiceConfig| {
        config
            .app_data(Data::clone(&pool))
            .route("/webhooks/bench", web::post().to(receive))
            .route("/api/messagestatus/{id}", web::get().to(show));
    })
    .await
}

async fn receive(
    verifier: Data<Verifier>,
    pool: Data<Pool>,
    request: HttpRequest,
    body: Bytes,
) -> Result<Json<Receipt>, Rejection> {
    let message = verifier.webhook(&request, &body)?.message;
    let stored = web::block(move || {
        let mut connection = pool.get().map_err(Rejection::store)?;
        store(&mut connection, &message, &Webhook::identity(&body)).map_err(Rejection::store)
    });
    Ok(Json(stored.await.map_err(Rejection::store)??))
}

async fn show(pool: Data<Pool>, id: Path<Uuid>) -> Result<Json<MessageAnswer>, Rejection> {
    let found = web::block(move || {
        let connection = pool.get().map_err(Rejection::store)?;
        find(&connection, *id).map_err(Rejection::store)
    });
    let message = found.await.map_err(Rejection::store)??.ok_or(Rejection::UnknownMessage)?;
    Ok(Json(MessageAnswer { message }))
}

fn store(
    connection: &mut Connection,
    message: &Message,
    identity: &[u8; 32],
) -> rusqlite::Result<Receipt> {
    let Message { reference, provider, .. } = message;
    let id = message.id.to_string();
    let channel = message.channel.name();
    let number = message.status.number();
    let segments = message.sms.as_ref().map(|sms| sms.segments);
    let values: [&dyn ToSql; 15] = [
        &id,
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
    let identity: &dyn ToSql = identity;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let added = transaction
        .prepare_cached(ADD_NOTIFICATION)?
        .execute(&*[&values[..], &[identity]].concat())?;
    let outcome = if added == 0 {
        Outcome::Duplicate
    } else {
        match transaction.prepare_cached(PUT_MESSAGE)?.execute(values)? {
            0 => Outcome::Superseded,
            _ => Outcome::Applied,
        }
    };
    let status = if outcome == Outcome::Applied {
        message.status
    } else {
        transaction.prepare_cached(STATUS)?.query_row([&id], status)?
    };
    transaction.commit()?;
    Ok(Receipt::new(message.id, outcome, status))
}

fn find(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<Message>> {
    let read = |row: &Row<'_>| {
        let channel: String = row.get(3)?;
        Ok(Message {
            id,
            status: status(row)?,
            status_changed_at: row.get(1)?,
            provider_acceptance_at: row.get(2)?,
            channel: Channel::from_name(&channel).ok_or_else(|| invalid_value(3, Type::Text))?,
            reference: Reference { service: row.get(4)?, action: row.get(5)?, key: row.get(6)? },
            provider: Provider {
                name: row.get(7)?,
                id: row.get(8)?,
                status: row.get(9)?,
                code: row.get(10)?,
                message: row.get(11)?,
            },
            sms: row.get::<_, Option<u16>>(12)?.map(|segments| Sms { segments }),
            destination: None,
        })
    };
    connection.prepare_cached(MESSAGE)?.query_row([id.to_string()], read).optional()
}

/// Status in the first column of a row.
fn status(row: &Row<'_>) -> rusqlite::Result<Status> {
    Status::from_number(row.get(0)?).ok_or_else(|| invalid_value(0, Type::Integer))
}

fn invalid_value(column: usize, kind: Type) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, "unknown value".into())
}
