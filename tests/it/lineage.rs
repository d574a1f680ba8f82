//! Event ids and cursors from before a restore: rejected with words, never skipped over.

use rusqlite::Connection;
use serde_json::json;

use crate::events::Listener;
use crate::support::*;

/// Gives the stopped server's database another lineage, as a restore does.
fn set_lineage(server: &Server, lineage: u32) {
    let file = Connection::open(server.database()).unwrap();
    assert_eq!(file.execute("UPDATE progress SET lineage = ?", [lineage]).unwrap(), 1);
}

fn cursor(server: &Server, path: &str) -> String {
    let answer = server.get(path);
    let link = answer.header("link").unwrap();
    link.split("cursor=").nth(1).unwrap().split('>').next().unwrap().to_owned()
}

#[test]
fn what_was_given_before_a_restore_is_rejected_and_what_is_given_after_it_is_not() {
    let mut server = Server::start(GATEWAY);
    for number in 1..=6 {
        let mut body = webhook(&id(number), "SENT", 1);
        body["message"]["reference"] = json!({"service": "s", "key": "k"});
        assert_eq!(server.post(&body.to_string()).outcome(), "applied");
    }
    let lists = ["/api/messages?count=2", "/api/messagestatus/reference/k?count=2"];
    let before = lists.map(|path| cursor(&server, path));
    for lineage in [1, 7, 8_191_u32] {
        assert_eq!(server.terminate(), Some(0));
        set_lineage(&server, lineage);
        server.start_again();
        let listen = |id: u64| {
            let headers = [("X-Api-Key", KEY), ("Last-Event-ID", &*id.to_string())];
            server.send("GET", "/api/events", &headers, b"")
        };
        for old in [1, 3, 6, 99, (u64::from(lineage) - 1) << 40 | 3] {
            let answer = listen(old);
            answer.assert_problem(400);
            assert!(answer.body.contains("restored from a backup"), "{old}: {}", answer.body);
        }
        for (path, cursor) in lists.iter().zip(&before) {
            let answer = server.get(&format!("{path}&cursor={cursor}"));
            answer.assert_problem(400);
            assert!(answer.body.contains("restored from a backup"), "{}", answer.body);
        }
        // All of it is told again, under names that are valid now.
        let first = u64::from(lineage) << 40;
        let mut listener = Listener::to(&server, "", Some(0));
        assert_eq!(listener.begin(), first);
        let told: Vec<_> = listener.changes(6).iter().map(|event| event.id).collect();
        assert_eq!(told, (first + 1..=first + 6).collect::<Vec<_>>());
        let mut again = Listener::to(&server, "", Some(told[3]));
        assert_eq!(again.begin(), told[3]);
        assert_eq!(again.changes(1)[0].id, told[4]);
        let beyond = listen(first + 7);
        beyond.assert_problem(400);
        assert!(beyond.body.contains("none that was given"), "{}", beyond.body);
        for path in lists {
            let next = cursor(&server, path);
            assert_eq!(server.get(&format!("{path}&cursor={next}")).status, 200);
        }
    }
}
