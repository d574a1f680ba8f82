//! The limit of failed attempts per client, and which requests count as one client.

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

/// Asks with this key, as forwarded for these clients.
fn ask(connection: &mut Connection, key: &str, forwarded: &[&str]) -> Answer {
    let mut headers = vec![("X-Api-Key", key)];
    headers.extend(forwarded.iter().map(|line| ("X-Forwarded-For", *line)));
    connection.send("GET", PATH, &headers, b"")
}

/// Fails until no attempt is left; says how often that was.
fn exhaust(connection: &mut Connection, forwarded: impl Fn(u32) -> String) -> u32 {
    let since = Instant::now();
    let mut failed = 0;
    loop {
        let answer = ask(connection, "a-key-that-nobody-has", &[&forwarded(failed)]);
        if answer.status == 429 {
            return failed;
        }
        answer.assert_problem(403);
        failed += 1;
        let most = BURST_FAILURES + u32::try_from(since.elapsed().as_secs()).unwrap();
        assert!(failed <= most, "{failed} attempts failed, and guessing goes on");
    }
}

#[test]
fn failed_attempts_are_limited_and_valid_keys_and_webhooks_are_not() {
    let server = Server::start(GATEWAY);
    let mut open = server.connect();
    assert!(exhaust(&mut open, |_| String::new()) >= BURST_FAILURES);
    for path in [PATH, "/api", "/api/nothing", "/api/messages/x", "/api//x"] {
        // Whatever is asked for. One attempt comes back each second.
        for wrong in [&[("X-Api-Key", "a-key-that-nobody-has")][..], &[]] {
            let told = eventually(|| {
                Some(open.send("PUT", path, wrong, b"")).filter(|told| told.status != 403)
            });
            told.assert_problem(429);
            assert_eq!(told.header("retry-after"), Some("1"));
            assert_eq!(ask(&mut open, KEY, &[]).status, 200);
        }
    }
    assert_eq!(server.send("GET", "/livez", &[], b"").status, 200);
    assert_eq!(server.send("GET", "/readyz", &[], b"").status, 200);
    for _ in 0..100 {
        server.send("POST", "/webhooks/gateway?token=no-token", JSON, b"{}").assert_problem(401);
    }
    assert_eq!(server.post(EXAMPLE).outcome(), "applied");
    let wrong = || ask(&mut server.connect(), "a-key-that-nobody-has", &[]);
    let again = eventually(|| Some(wrong()).filter(|told| told.status != 429));
    again.assert_problem(403);
}

#[test]
fn valid_keys_are_never_limited() {
    let server = Server::start(GATEWAY);
    let mut open = server.connect();
    for _ in 0..3 * BURST_FAILURES {
        assert_eq!(ask(&mut open, KEY, &[]).status, 200);
    }
    // A key that may not do this is a right one.
    for _ in 0..3 * BURST_FAILURES {
        let headers = [("X-Api-Key", KEY)];
        assert_eq!(open.send("DELETE", "/api/nothing", &headers, b"").status, 404);
    }
}

#[test]
fn forwarded_headers_of_untrusted_clients_are_ignored() {
    let server = Server::start(GATEWAY);
    let failed = exhaust(&mut server.connect(), |n| format!("10.1.{}.{}", n / 256, n % 256));
    assert!(failed >= BURST_FAILURES);
}

#[test]
fn behind_a_trusted_proxy_each_client_has_attempts_of_its_own() {
    let envs = [("STATUSMIRROR__SERVER__TRUSTED_PROXIES", "127.0.0.0/8".to_owned())];
    let server = Server::start_with(GATEWAY, &envs);
    let mut open = server.connect();
    // What it writes itself stands to the left of what the proxy adds.
    assert!(exhaust(&mut open, |n| format!("10.9.9.{}, 203.0.113.7", n % 256)) >= BURST_FAILURES);
    // A right key is let in, whoever failed behind the same proxy.
    for client in ["203.0.113.7", "10.9.9.9, 203.0.113.7", "203.0.113.8", "no address"] {
        assert_eq!(ask(&mut open, KEY, &[client]).status, 200, "{client}");
    }
    assert_eq!(ask(&mut open, KEY, &["203.0.113.7, 203.0.113.8"]).status, 200);
    assert_eq!(ask(&mut open, KEY, &["203.0.113.7", "203.0.113.8"]).status, 200);
    assert_eq!(ask(&mut open, KEY, &[]).status, 200);
    let log = server.log();
    assert!(log.contains("\"client\":\"203.0.113.7\"") && !log.contains("10.9.9."), "{log}");
}

#[test]
fn the_client_is_the_last_address_that_is_no_trusted_proxy() {
    let texts = ["192.0.2.1", "10.0.0.0/8", "fd00::/8", "2001:db8::7", "::ffff:172.16.0.0/108"];
    let proxies = TrustedProxies::new(&texts.map(str::to_owned)).unwrap();
    for (peer, forwarded, client) in [
        // A stranger speaks for itself alone.
        ("198.51.100.1", &["203.0.113.7"][..], "198.51.100.1"),
        ("192.0.2.2", &["203.0.113.7"], "192.0.2.2"),
        ("192.0.2.1", &["203.0.113.7"], "203.0.113.7"),
        ("192.0.2.1", &[], "192.0.2.1"),
        ("192.0.2.1", &[""], "192.0.2.1"),
        // The rightmost that is not trusted.
        ("192.0.2.1", &["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        ("192.0.2.1", &["1.1.1.1, 203.0.113.7, 10.1.2.3"], "203.0.113.7"),
        ("192.0.2.1", &["1.1.1.1,203.0.113.7 ,\t10.1.2.3,fd00::9"], "203.0.113.7"),
        // Several lines are one list.
        ("192.0.2.1", &["1.1.1.1", "203.0.113.7", "10.1.2.3"], "203.0.113.7"),
        ("192.0.2.1", &["1.1.1.1, 203.0.113.7", "10.1.2.3, 10.1.2.4"], "203.0.113.7"),
        // Where all are trusted, the first.
        ("192.0.2.1", &["10.0.0.9, 10.1.2.3"], "10.0.0.9"),
        // What is no address ends the walk at the last that is one.
        ("192.0.2.1", &["203.0.113.7, unknown"], "192.0.2.1"),
        ("192.0.2.1", &["203.0.113.7, unknown, 10.1.2.3"], "10.1.2.3"),
        ("192.0.2.1", &["203.0.113.7, 203.0.113.7:port"], "192.0.2.1"),
        ("192.0.2.1", &["203.0.113.7, 999.1.1.1, 10.1.2.3"], "10.1.2.3"),
        // An empty element of a list is none.
        ("192.0.2.1", &["203.0.113.7,, ,"], "203.0.113.7"),
        // Ports, and brackets.
        ("192.0.2.1", &["203.0.113.7:4711"], "203.0.113.7"),
        ("192.0.2.1", &["[2001:db8::1]"], "2001:db8::1"),
        ("192.0.2.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
        ("192.0.2.1", &["2001:db8::1, [fd00::1]:4711"], "2001:db8::1"),
        ("2001:db8::7", &["2001:db8::1"], "2001:db8::1"),
        ("2001:db8::8", &["2001:db8::1"], "2001:db8::8"),
        // An address of IPv4 is one, however it is written.
        ("::ffff:192.0.2.1", &["203.0.113.7"], "203.0.113.7"),
        ("::ffff:192.0.2.2", &["203.0.113.7"], "192.0.2.2"),
        ("192.0.2.1", &["::ffff:203.0.113.7, ::ffff:10.0.0.1"], "203.0.113.7"),
        ("172.17.0.1", &["203.0.113.7"], "203.0.113.7"),
        ("172.32.0.1", &["203.0.113.7"], "172.32.0.1"),
    ] {
        let lines = forwarded.iter().map(|line| line.as_bytes());
        assert_eq!(proxies.client(ip(peer), lines), ip(client), "{peer} {forwarded:?}");
    }
    let nobody = TrustedProxies::default();
    assert_eq!(nobody.client(ip("127.0.0.1"), [&b"1.1.1.1"[..]].into_iter()), ip("127.0.0.1"));
}

#[test]
fn an_address_without_attempts_waits_for_the_next_and_others_do_not() {
    let attempts = Attempts::default();
    let (start, bad) = (Instant::now(), ip("203.0.113.7"));
    for _ in 0..BURST_FAILURES {
        assert_eq!(attempts.wait(bad, start), None);
        attempts.fail(bad, start);
    }
    assert_eq!(attempts.wait(bad, start), Some(REFILL_INTERVAL));
    assert_eq!(attempts.wait(bad, start + REFILL_INTERVAL / 4), Some(REFILL_INTERVAL * 3 / 4));
    assert_eq!(attempts.wait(ip("203.0.113.8"), start), None);
    assert_eq!(attempts.wait(ip("::ffff:203.0.113.7"), start), Some(REFILL_INTERVAL));
    // One is back, and gone again.
    assert_eq!(attempts.wait(bad, start + REFILL_INTERVAL), None);
    attempts.fail(bad, start + REFILL_INTERVAL);
    assert_eq!(attempts.wait(bad, start + REFILL_INTERVAL), Some(REFILL_INTERVAL));
    // What failed beyond what was left is paid back.
    attempts.fail(bad, start + REFILL_INTERVAL);
    assert_eq!(attempts.wait(bad, start + REFILL_INTERVAL), Some(2 * REFILL_INTERVAL));
    // Never more than all of them are back.
    let later = start + Duration::from_hours(24);
    for _ in 0..BURST_FAILURES {
        assert_eq!(attempts.wait(bad, later), None);
        attempts.fail(bad, later);
    }
    assert!(attempts.wait(bad, later).is_some());
}

#[test]
fn the_2_to_the_64_addresses_of_one_network_are_one_client() {
    let attempts = Attempts::default();
    let start = Instant::now();
    for n in 0..BURST_FAILURES {
        attempts.fail(ip(&format!("2001:db8:0:1:{n:x}::{n:x}")), start);
    }
    assert!(attempts.wait(ip("2001:db8:0:1:ffff::"), start).is_some());
    assert_eq!(attempts.wait(ip("2001:db8:0:2::"), start), None);
    assert_eq!(attempts.addresses(), 1);
}

#[test]
fn the_number_of_addresses_is_bounded_and_the_stalest_is_evicted() {
    let attempts = Attempts::default();
    let start = Instant::now();
    let number = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
    for address in [number(0), number(1)] {
        (0..BURST_FAILURES).for_each(|_| attempts.fail(address, start));
    }
    for n in 2..MAX_ADDRESSES {
        attempts.fail(number(n), start);
    }
    assert_eq!(attempts.addresses(), MAX_ADDRESSES);
    assert!(attempts.wait(number(0), start).is_some());
    // That makes number 1 the stalest.
    attempts.fail(number(0), start);
    for n in MAX_ADDRESSES..MAX_ADDRESSES + 2 {
        attempts.fail(number(n), start);
        assert_eq!(attempts.addresses(), MAX_ADDRESSES);
    }
    assert!(attempts.wait(number(0), start).is_some());
    assert_eq!(attempts.wait(number(1), start), None);
}

proptest! {
    #[test]
    fn failures_in_any_period_stay_within_burst_and_refill(
        steps in prop::collection::vec((0_u64..3_000, 0_u8..3), 1..400),
    ) {
        let attempts = Attempts::default();
        let start = Instant::now();
        let mut now = start;
        let mut failed: Vec<(Instant, u8)> = Vec::new();
        for (pause, last) in steps {
            now += Duration::from_millis(pause / 10);
            let address = IpAddr::from([10, 0, 0, last]);
            if attempts.wait(address, now).is_none() {
                attempts.fail(address, now);
                failed.push((now, last));
            }
            // Every stretch of time that ends here.
            let mine: Vec<_> = failed.iter().filter(|(_, who)| *who == last).collect();
            for (place, (at, _)) in mine.iter().enumerate() {
                let so_many = u64::try_from(mine.len() - place).unwrap();
                let back = now.duration_since(*at).as_secs();
                prop_assert!(so_many <= u64::from(BURST_FAILURES) + back, "{so_many} in {back} s");
            }
        }
    }
}
