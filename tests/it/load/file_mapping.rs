//! The mapping of a large database: bounded, and given up when memory is needed for something else.

use std::fs;

use crate::support::*;

/// Bytes of the file that each of the two read threads maps at most.
const MAPPED_EACH: u64 = 64 << 20;

/// The sizes of the mappings of the database; none where the kernel does not let us look.
fn mappings(server: &Server) -> Option<Vec<u64>> {
    let maps = match fs::read_to_string(format!("/proc/{}/maps", server.process())) {
        Ok(maps) => maps,
        Err(error) => {
            eprintln!("SKIPPED: the mappings of the server cannot be read: {error}");
            return None;
        }
    };
    let database = server.database();
    let size = |line: &str| {
        let range = line.strip_suffix(database.to_str().unwrap())?.split(' ').next()?;
        let (start, end) = range.split_once('-')?;
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
        Some(end - start)
    };
    Some(maps.lines().filter_map(size).collect())
}

/// A server with a database that is larger than what a thread may map of it.
fn with_large_database() -> Server {
    let server = Server::start(GATEWAY);
    let mut connection = server.connect();
    let pad = "x".repeat(240_000);
    let large = || fs::metadata(server.database()).unwrap().len() > MAPPED_EACH + (8 << 20);
    for number in 0.. {
        let body = format!(r#"{{"type": "{number}", "pad": "{pad}"}}"#);
        connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
        if number % 16 == 0 && large() {
            break;
        }
        assert!(number < 2_000, "the database does not grow");
    }
    server
}

#[test]
fn the_mapping_is_bounded_and_given_up_under_pressure() {
    let server = with_large_database();
    let ask = || assert_eq!(server.get("/api/messages?count=1").status, 200);
    // The threads answer in turn, and map the file once nothing was committed for a while.
    let both = |wanted: usize| {
        eventually(|| {
            ask();
            mappings(&server).is_none_or(|sizes| sizes.len() == wanted).then_some(())
        });
    };
    both(2);
    let Some(sizes) = mappings(&server) else { return };
    assert_eq!(sizes, [MAPPED_EACH; 2]);
    // Unfinished bodies bring the memory budget under pressure, while no query arrives.
    let head = "Host: t\r\nContent-Type: application/json\r\nContent-Length: 250000\r\n\r\n";
    let body = vec![b' '; 240_000];
    let bodies: Vec<_> = (0..80)
        .map(|_| {
            let mut connection = server.connect();
            connection.write(format!("POST {} HTTP/1.1\r\n{head}", webhook_path("")).as_bytes());
            // The server may shed load, and close the connection.
            drop(connection.try_write(&body));
            connection
        })
        .collect();
    eventually(|| mappings(&server).is_some_and(|sizes| sizes.is_empty()).then_some(()));
    drop(bodies);
    both(2);
}
