//! Memory mappings of a large database: bounded, and released under memory pressure.

use std::fs;

use crate::support::*;

/// Maximum size of the mapping of each of the two read threads, in bytes.
const MAX_MAPPING_BYTES: u64 = 64 << 20;

/// Sizes of the mappings of the database, in bytes; `None` if the kernel does not allow reading them.
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
        let [start, end] = [start, end].map(|address| u64::from_str_radix(address, 16).unwrap());
        Some(end - start)
    };
    Some(maps.lines().filter_map(size).collect())
}

/// Starts a server with a database larger than [`MAX_MAPPING_BYTES`].
fn start_with_large_database() -> Server {
    let server = Server::start(GATEWAY);
    let mut connection = server.connect();
    let pad = "x".repeat(240_000);
    let is_large =
        || fs::metadata(server.database()).unwrap().len() > MAX_MAPPING_BYTES + (8 << 20);
    for number in 0.. {
        let body = format!(r#"{{"type": "{number}", "pad": "{pad}"}}"#);
        connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
        if number % 16 == 0 && is_large() {
            break;
        }
        assert!(number < 2_000, "the database does not grow");
    }
    server
}

#[test]
fn the_mapping_is_bounded_and_given_up_under_pressure() {
    let server = start_with_large_database();
    let query = || assert_eq!(server.get("/api/messages?count=1").status, 200);
    // The read threads answer in turn. Each maps the file after a time without commits.
    let wait_for_mappings = |count: usize| {
        wait_for(|| {
            query();
            mappings(&server).is_none_or(|sizes| sizes.len() == count).then_some(())
        });
    };
    wait_for_mappings(2);
    let Some(sizes) = mappings(&server) else { return };
    assert_eq!(sizes, [MAX_MAPPING_BYTES; 2]);
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
    wait_for(|| mappings(&server).is_some_and(|sizes| sizes.is_empty()).then_some(()));
    drop(bodies);
    wait_for_mappings(2);
}
