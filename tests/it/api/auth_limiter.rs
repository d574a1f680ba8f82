//! Limit of failed attempts per client, and the address that identifies a client.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use statusmirror::access::auth_limiter::{
    Attempts, BURST_FAILURES, MAX_ADDRESSES, REFILL_INTERVAL,
};
use statusmirror::access::trusted_proxies::TrustedProxies;

use crate::support::*;

const PATH: &str = "/api/messagestatus/reference/x";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Sends a query with this key and these `X-Forwarded-For` headers.
fn query(connection: &mut Connection, key: &str, forwarded: &[&str]) -> Answer {
    let mut headers = vec![("X-Api-Key", key)];
    headers.extend(forwarded.iter().map(|value| ("X-Forwarded-For", *value)));
    connection.send("GET", PATH, &headers, b"")
}

/// Sends wrong keys until the answer is 429; returns the number of failed attempts.
fn exhaust(connection: &mut Connection, forwarded: impl Fn(u32) -> String) -> u32 {
    let since = Instant::now();
    let mut failures = 0;
    loop {
        let answer = query(connection, "an-unknown-key", &[&forwarded(failures)]);
        if answer.status == 429 {
            return failures;
        }
        answer.assert_problem(403);
        failures += 1;
        let max = BURST_FAILURES + u32::try_from(since.elapsed().as_secs()).unwrap();
        assert!(failures <= max, "{failures} failed attempts, and none got 429");
    }
}

#[test]
fn failed_attempts_are_limited_and_valid_keys_and_webhooks_are_not() {
    let server = Server::start(GATEWAY);
    let mut connection = server.connect();
    assert!(exhaust(&mut connection, |_| String::new()) >= BURST_FAILURES);
    for path in [PATH, "/api", "/api/nothing", "/api/messages/x", "/api//x"] {
        // On every path. One attempt is refilled each second.
        for headers in [&[("X-Api-Key", "an-unknown-key")][..], &[]] {
            let answer = wait_for(|| {
                Some(connection.send("PUT", path, headers, b""))
                    .filter(|answer| answer.status != 403)
            });
            answer.assert_problem(429);
            assert_eq!(answer.header("retry-after"), Some("1"));
            assert_eq!(query(&mut connection, KEY, &[]).status, 200);
        }
    }
    assert_eq!(server.send("GET", "/livez", &[], b"").status, 200);
    assert_eq!(server.send("GET", "/readyz", &[], b"").status, 200);
    for _ in 0..100 {
        server.send("POST", "/webhooks/gateway?token=no-token", JSON, b"{}").assert_problem(401);
    }
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    let query_with_wrong_key = || query(&mut server.connect(), "an-unknown-key", &[]);
    let answer = wait_for(|| Some(query_with_wrong_key()).filter(|answer| answer.status != 429));
    answer.assert_problem(403);
}

#[test]
fn valid_keys_are_never_limited() {
    let server = Server::start(GATEWAY);
    let mut connection = server.connect();
    for _ in 0..3 * BURST_FAILURES {
        assert_eq!(query(&mut connection, KEY, &[]).status, 200);
    }
    // Another error with a valid key is not a failed attempt.
    for _ in 0..3 * BURST_FAILURES {
        let headers = [("X-Api-Key", KEY)];
        assert_eq!(connection.send("DELETE", "/api/nothing", &headers, b"").status, 404);
    }
}

#[test]
fn forwarded_headers_of_untrusted_clients_are_ignored() {
    let server = Server::start(GATEWAY);
    let failures = exhaust(&mut server.connect(), |n| format!("10.1.{}.{}", n / 256, n % 256));
    assert!(failures >= BURST_FAILURES);
}

#[test]
fn behind_a_trusted_proxy_each_client_has_attempts_of_its_own() {
    let envs = [("STATUSMIRROR__SERVER__TRUSTED_PROXIES", "127.0.0.0/8".to_owned())];
    let server = Server::start_with(GATEWAY, &envs);
    let mut connection = server.connect();
    // Addresses that the client writes are to the left of the one that the proxy adds.
    assert!(
        exhaust(&mut connection, |n| format!("10.9.9.{}, 203.0.113.7", n % 256)) >= BURST_FAILURES
    );
    // A valid key is accepted, even from the client that failed.
    for client in ["203.0.113.7", "10.9.9.9, 203.0.113.7", "203.0.113.8", "no address"] {
        assert_eq!(query(&mut connection, KEY, &[client]).status, 200, "{client}");
    }
    assert_eq!(query(&mut connection, KEY, &["203.0.113.7, 203.0.113.8"]).status, 200);
    assert_eq!(query(&mut connection, KEY, &["203.0.113.7", "203.0.113.8"]).status, 200);
    assert_eq!(query(&mut connection, KEY, &[]).status, 200);
    let log = server.log();
    assert!(log.contains("\"client\":\"203.0.113.7\"") && !log.contains("10.9.9."), "{log}");
}

#[test]
fn the_client_is_the_last_address_that_is_no_trusted_proxy() {
    let texts = ["192.0.2.1", "10.0.0.0/8", "fd00::/8", "2001:db8::7", "::ffff:172.16.0.0/108"];
    let proxies = TrustedProxies::new(&texts.map(str::to_owned)).unwrap();
    for (peer, forwarded, client) in [
        // The header of an untrusted peer is ignored.
        ("198.51.100.1", &["203.0.113.7"][..], "198.51.100.1"),
        ("192.0.2.2", &["203.0.113.7"], "192.0.2.2"),
        ("192.0.2.1", &["203.0.113.7"], "203.0.113.7"),
        ("192.0.2.1", &[], "192.0.2.1"),
        ("192.0.2.1", &[""], "192.0.2.1"),
        // The rightmost address that is not trusted.
        ("192.0.2.1", &["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        ("192.0.2.1", &["1.1.1.1, 203.0.113.7, 10.1.2.3"], "203.0.113.7"),
        ("192.0.2.1", &["1.1.1.1,203.0.113.7 ,\t10.1.2.3,fd00::9"], "203.0.113.7"),
        // Several headers are one list.
        ("192.0.2.1", &["1.1.1.1", "203.0.113.7", "10.1.2.3"], "203.0.113.7"),
        ("192.0.2.1", &["1.1.1.1, 203.0.113.7", "10.1.2.3, 10.1.2.4"], "203.0.113.7"),
        // If all addresses are trusted, the first one.
        ("192.0.2.1", &["10.0.0.9, 10.1.2.3"], "10.0.0.9"),
        // The search from the right stops at an invalid address. The last valid address is the client.
        ("192.0.2.1", &["203.0.113.7, unknown"], "192.0.2.1"),
        ("192.0.2.1", &["203.0.113.7, unknown, 10.1.2.3"], "10.1.2.3"),
        ("192.0.2.1", &["203.0.113.7, 203.0.113.7:port"], "192.0.2.1"),
        ("192.0.2.1", &["203.0.113.7, 999.1.1.1, 10.1.2.3"], "10.1.2.3"),
        // Empty elements of a list are ignored.
        ("192.0.2.1", &["203.0.113.7,, ,"], "203.0.113.7"),
        // Ports and brackets are removed.
        ("192.0.2.1", &["203.0.113.7:4711"], "203.0.113.7"),
        ("192.0.2.1", &["[2001:db8::1]"], "2001:db8::1"),
        ("192.0.2.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
        ("192.0.2.1", &["2001:db8::1, [fd00::1]:4711"], "2001:db8::1"),
        ("2001:db8::7", &["2001:db8::1"], "2001:db8::1"),
        ("2001:db8::8", &["2001:db8::1"], "2001:db8::8"),
        // An IPv4 address in IPv6 notation is an IPv4 address.
        ("::ffff:192.0.2.1", &["203.0.113.7"], "203.0.113.7"),
        ("::ffff:192.0.2.2", &["203.0.113.7"], "192.0.2.2"),
        ("192.0.2.1", &["::ffff:203.0.113.7, ::ffff:10.0.0.1"], "203.0.113.7"),
        ("172.17.0.1", &["203.0.113.7"], "203.0.113.7"),
        ("172.32.0.1", &["203.0.113.7"], "172.32.0.1"),
    ] {
        let headers = forwarded.iter().map(|value| value.as_bytes());
        assert_eq!(proxies.client(ip(peer), headers), ip(client), "{peer} {forwarded:?}");
    }
    let no_proxies = TrustedProxies::default();
    assert_eq!(no_proxies.client(ip("127.0.0.1"), [&b"1.1.1.1"[..]].into_iter()), ip("127.0.0.1"));
}

#[test]
fn an_address_without_attempts_waits_for_the_next_and_others_do_not() {
    let attempts = Attempts::default();
    let (start, address) = (Instant::now(), ip("203.0.113.7"));
    for _ in 0..BURST_FAILURES {
        assert_eq!(attempts.wait(address, start), None);
        attempts.count_failure(address, start);
    }
    assert_eq!(attempts.wait(address, start), Some(REFILL_INTERVAL));
    assert_eq!(attempts.wait(address, start + REFILL_INTERVAL / 4), Some(REFILL_INTERVAL * 3 / 4));
    assert_eq!(attempts.wait(ip("203.0.113.8"), start), None);
    assert_eq!(attempts.wait(ip("::ffff:203.0.113.7"), start), Some(REFILL_INTERVAL));
    // One attempt is refilled and used.
    assert_eq!(attempts.wait(address, start + REFILL_INTERVAL), None);
    attempts.count_failure(address, start + REFILL_INTERVAL);
    assert_eq!(attempts.wait(address, start + REFILL_INTERVAL), Some(REFILL_INTERVAL));
    // A failure beyond the limit must refill, too.
    attempts.count_failure(address, start + REFILL_INTERVAL);
    assert_eq!(attempts.wait(address, start + REFILL_INTERVAL), Some(2 * REFILL_INTERVAL));
    // At most `BURST_FAILURES` attempts are refilled.
    let later = start + Duration::from_hours(24);
    for _ in 0..BURST_FAILURES {
        assert_eq!(attempts.wait(address, later), None);
        attempts.count_failure(address, later);
    }
    assert!(attempts.wait(address, later).is_some());
}

#[test]
fn the_2_to_the_64_addresses_of_one_network_are_one_client() {
    let attempts = Attempts::default();
    let start = Instant::now();
    for n in 0..BURST_FAILURES {
        attempts.count_failure(ip(&format!("2001:db8:0:1:{n:x}::{n:x}")), start);
    }
    assert!(attempts.wait(ip("2001:db8:0:1:ffff::"), start).is_some());
    assert_eq!(attempts.wait(ip("2001:db8:0:2::"), start), None);
    assert_eq!(attempts.addresses(), 1);
}

#[test]
fn the_number_of_addresses_is_bounded_and_the_stalest_is_evicted() {
    let attempts = Attempts::default();
    let start = Instant::now();
    let nth = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
    for address in [nth(0), nth(1)] {
        (0..BURST_FAILURES).for_each(|_| attempts.count_failure(address, start));
    }
    for n in 2..MAX_ADDRESSES {
        attempts.count_failure(nth(n), start);
    }
    assert_eq!(attempts.addresses(), MAX_ADDRESSES);
    assert!(attempts.wait(nth(0), start).is_some());
    // Now address 1 is the stalest.
    attempts.count_failure(nth(0), start);
    for n in MAX_ADDRESSES..MAX_ADDRESSES + 2 {
        attempts.count_failure(nth(n), start);
        assert_eq!(attempts.addresses(), MAX_ADDRESSES);
    }
    assert!(attempts.wait(nth(0), start).is_some());
    assert_eq!(attempts.wait(nth(1), start), None);
}

proptest! {
    #[test]
    fn failures_in_any_period_stay_within_burst_and_refill(
        steps in prop::collection::vec((0_u64..3_000, 0_u8..3), 1..400),
    ) {
        let attempts = Attempts::default();
        let start = Instant::now();
        let mut now = start;
        let mut failures: Vec<(Instant, u8)> = Vec::new();
        for (pause, host) in steps {
            now += Duration::from_millis(pause / 10);
            let address = IpAddr::from([10, 0, 0, host]);
            if attempts.wait(address, now).is_none() {
                attempts.count_failure(address, now);
                failures.push((now, host));
            }
            // Every period from a failure of this address until now.
            let own: Vec<_> = failures.iter().filter(|(_, other)| *other == host).collect();
            for (index, (at, _)) in own.iter().enumerate() {
                let count = u64::try_from(own.len() - index).unwrap();
                let refilled = now.duration_since(*at).as_secs();
                prop_assert!(count <= u64::from(BURST_FAILURES) + refilled, "{count} in {refilled} s");
            }
        }
    }
}
