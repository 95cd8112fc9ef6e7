//! What may come that should not (H41–H51).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use harness::directory::{Directory, torrent};
use harness::sandbox::Sandbox;
use harness::wait::SOON;

const UPLOAD: &str = "/api/v1/torrents";

#[test]
fn h41_an_upload_is_cut_at_ten_megabytes() {
    let sandbox = Sandbox::new();
    let directory = Directory::start(&sandbox, &["--open-publish"]);
    // Said at once, before a byte of it is sent.
    let mut stream = TcpStream::connect(directory.addr()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let head =
        format!("POST {UPLOAD} HTTP/1.1\r\nHost: {}\r\nContent-Length: 1073741824\r\n\r\n", directory.addr());
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // It may be reset rather than closed.
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
    // Where no length is said, it is counted.
    let mut stream = TcpStream::connect(directory.addr()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let head =
        format!("POST {UPLOAD} HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", directory.addr());
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = [&b"100000\r\n"[..], &vec![b'x'; 1 << 20], b"\r\n"].concat();
    let sent = (0..64).take_while(|_| stream.write_all(&chunk).is_ok()).count();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(
        sent < 64 || answer.starts_with(b"HTTP/1.1 413 "),
        "{sent}: {}",
        String::from_utf8_lossy(&answer)
    );
    let large = vec![b'x'; 10 * 1024 * 1024 + 1];
    directory.ask("POST", UPLOAD, &[], &large).expect(422);
    directory.tracker.assert_alive();
    assert_eq!(directory.titles(""), [""; 0]);
}

#[test]
fn h42_what_is_no_torrent_is_refused_with_what_is_wrong() {
    let sandbox = Sandbox::new();
    let directory = Directory::start(&sandbox, &["--open-publish"]);
    let deep = [&b"l".repeat(100_000)[..], &b"e".repeat(100_000)].concat();
    for (bytes, problem) in [
        (&b""[..], "bencode"),
        (b"hello", "bencode"),
        (b"de", "info"),
        (b"d4:infoi1ee", "info"),
        (b"d4:infod6:lengthi-1e4:name1:x12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee", "length"),
        (b"d4:infod6:lengthi1e4:name2:..12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee", "name"),
        (&deep, "bencode"),
    ] {
        let refused = directory.ask("POST", UPLOAD, &[], bytes).expect(422).json();
        let error = refused["error"].as_str().unwrap();
        assert!(error.contains(problem) || error.contains("torrent"), "{error}");
        assert!(!error.chars().any(char::is_control), "{error:?}");
    }
    for (remarks, problem) in [("title", "title"), ("tags", "tag"), ("description", "description")] {
        let long = "x".repeat(if remarks == "description" { 7000 } else { 300 });
        let reply = directory.ask("POST", &format!("{UPLOAD}?{remarks}={long}"), &[], &torrent("x", 1, 1));
        // 7,000 bytes of description are fine, and fill a head.
        assert_eq!(reply.status, if remarks == "description" { 201 } else { 422 }, "{problem}");
    }
}

#[test]
fn h44_names_with_markup_and_control_bytes_are_harmless_wherever_they_are_shown() {
    let sandbox = Sandbox::new();
    let directory = Directory::start(&sandbox, &["--open-publish"]);
    let name = "<script>alert(1)<img src=x onerror=alert(1)>\"'&\u{1b}[2J\u{202e}";
    let published = directory
        .ask(
            "POST",
            &format!("{UPLOAD}?title=%3Cscript%3Ealert(1)%3C%2Fscript%3E%1B&description=%3Cb%3E%1B%5B31m&tags=%3Ci%3Etag"),
            &[],
            &torrent(name, 1, 1),
        )
        .expect(201)
        .json();
    let hash = published["info_hash"].as_str().unwrap();
    for target in [
        "/",
        "/?q=script",
        &format!("/torrent/{hash}"),
        "/rss",
        "/torznab/api?t=search",
        "/?q=%3Cscript%3E%22",
    ] {
        let page = directory.get(target).expect(200);
        let text = page.text();
        assert!(
            !text.contains("<script>alert") && !text.contains("<img src=x") && !text.contains("<b>\u{fffd}"),
            "{target}: {text}"
        );
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{target}");
        assert!(!text.contains('\u{202e}'), "{target}");
        assert!(
            page.header("content-security-policy")
                .is_some_and(|policy| policy.contains("default-src 'none'"))
        );
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    }
    for target in [format!("{UPLOAD}?q=script"), format!("{UPLOAD}/{hash}")] {
        let json = directory.get(&target).expect(200);
        assert!(
            !json.text().contains('\u{1b}')
                && !json.text().contains("\\u001b")
                && !json.text().contains('\u{202e}')
        );
        assert_eq!(json.header("content-type"), Some("application/json"));
    }
    for arguments in [&["script"][..], &["-1", "script"], &["--json", "script"]] {
        let shown = directory.search(&sandbox, arguments).expect(0);
        assert!(!shown.stdout().chars().any(|c| c.is_control() && c != '\n'), "{:?}", shown.stdout());
    }
    // H51
    let disposition = directory
        .get(&format!("/torrent/{hash}.torrent"))
        .expect(200)
        .header("content-disposition")
        .unwrap()
        .to_owned();
    assert!(disposition.starts_with("attachment; filename=\"_script_alert(1)_img src_x"), "{disposition}");
    assert_eq!(disposition.matches('"').count(), 2, "{disposition}");
}

#[test]
fn h45_h46_no_query_breaks_or_stalls_it() {
    let sandbox = Sandbox::new();
    let directory = Directory::start(&sandbox, &["--open-publish"]);
    directory.ask("POST", UPLOAD, &[], &torrent("or 1 1 near a b", 1, 1)).expect(201);
    for query in [
        "%27%20OR%201=1%20--",
        "%25",
        "_",
        "%22",
        "%22%22%22",
        "a%22b%22c",
        "-",
        "%7C%7C%7C",
        "NEAR(a%20b)",
        "title:x",
        "{title}:x",
        "^a",
        "a*",
        "**",
        "(((((((((((((",
        "a%20AND%20NOT%20OR",
        "%00",
        "%FF%FE",
        "%F0%9F%92%A9",
        "%CC%81%CC%81",
        "\\",
        "$(reboot)",
        "a%20-a",
    ] {
        let reply = directory.get(&format!("{UPLOAD}?q={query}"));
        assert_eq!(reply.status, 200, "{query}: {}", String::from_utf8_lossy(&reply.body));
        let page = directory.get(&format!("/?q={query}"));
        assert_eq!(page.status, 200, "{query}");
    }
    for (query, status) in [
        (format!("q={}", "a+".repeat(300)), 400),
        (format!("q={}", "x%20".repeat(100)), 400),
        ("limit=-1".to_owned(), 400),
        ("limit=1000000000000000000".to_owned(), 400),
        ("cursor=ffffffffffffffffff-1".to_owned(), 400),
        ("cursor=ffffffffffffffff-ffffffff".to_owned(), 200),
        ("sort=seeders;drop".to_owned(), 400),
    ] {
        assert_eq!(directory.get(&format!("{UPLOAD}?{query}")).status, status, "{query}");
        assert_eq!(directory.get(&format!("/?{query}")).status, status, "{query}");
    }
    directory.get("/torrent/../../etc/passwd").expect(404);
    directory.get("/torrent/x").expect(400);
    directory.get(&format!("/torrent/{}", "0".repeat(40))).expect(404);
    assert_eq!(directory.titles("q=near").len(), 1);
}

#[test]
fn h48_h49_other_sites_and_other_names_change_nothing() {
    let sandbox = Sandbox::new();
    let directory = Directory::start(&sandbox, &["--open-publish"]);
    let (token, _) = directory.token(&sandbox, "admin");
    let bearer = format!("Authorization: Bearer {token}");
    let port = directory.addr().port();
    let bytes = torrent("x", 1, 1);
    let publish = |headers: &[&str]| directory.ask("POST", UPLOAD, headers, &bytes).status;
    assert_eq!(publish(&["Host: rebound.example"]), 421);
    assert_eq!(publish(&["Host: rebound.example", &bearer]), 421);
    assert_eq!(publish(&["Origin: http://evil.example"]), 403);
    assert_eq!(publish(&["Origin: null"]), 403);
    assert_eq!(publish(&[&format!("Origin: http://127.0.0.1:{}", port ^ 1)]), 403);
    assert_eq!(directory.ask("GET", UPLOAD, &["Host: rebound.example", &bearer], b"").status, 421);
    assert_eq!(directory.ask("GET", UPLOAD, &["Host: rebound.example"], b"").status, 200, "reading is free");
    assert_eq!(directory.titles(""), [""; 0]);
    let own = [format!("Host: localhost:{port}"), format!("Origin: http://localhost:{port}")];
    assert_eq!(publish(&[&own[0], &own[1]]), 201);
    let target =
        format!("{UPLOAD}/{}", torrent_format::Metainfo::from_bytes(&bytes).unwrap().info.info_hash());
    assert_eq!(directory.ask("DELETE", &target, &[&bearer, "Origin: http://evil.example"], b"").status, 403);
    assert_eq!(directory.ask("DELETE", &target, &[], b"").status, 401, "H47");
    let answer = directory.ask("GET", UPLOAD, &["Origin: http://evil.example"], b"");
    assert_eq!(
        answer.header("access-control-allow-origin"),
        None,
        "scripts of other sites don't get to read it"
    );
}

#[test]
fn the_operators_own_name_is_good() {
    let sandbox = Sandbox::new();
    let directory =
        Directory::start(&sandbox, &["--open-publish", "--public-url", "https://torrents.example"]);
    let headers = ["Host: torrents.example", "Origin: https://torrents.example"];
    let made = directory.ask("POST", UPLOAD, &headers, &torrent("x", 1, 1)).expect(201).json();
    assert!(made["url"].as_str().unwrap().starts_with("https://torrents.example/torrent/"), "{made}");
    assert!(
        made["magnet"].as_str().unwrap().contains("&tr=https%3A%2F%2Ftorrents.example%2Fannounce")
            || made["magnet"].as_str().unwrap().contains("&tr=https://torrents.example/announce"),
        "{made}"
    );
    directory.ask("POST", UPLOAD, &["Host: other.example"], &torrent("y", 1, 2)).expect(421);
}

#[test]
fn strangers_are_slowed_down_and_h50_nobody_has_a_token_by_default() {
    let sandbox = Sandbox::new();
    let directory = Directory::start(&sandbox, &["--trust-proxy", "127.0.0.1"]);
    let from = |ip: &str, method: &str| {
        directory.ask(method, UPLOAD, &[&format!("X-Forwarded-For: {ip}")], b"").status
    };
    let many: Vec<u16> = (0..150).map(|_| from("198.51.100.7", "GET")).collect();
    assert!(many[..100].iter().all(|&status| status == 200) && many.contains(&429), "{many:?}");
    assert_eq!((from("198.51.100.8", "GET"), from("10.0.0.1", "GET")), (200, 200));
    let tries: Vec<u16> = (0..30).map(|_| from("198.51.100.9", "POST")).collect();
    assert!(tries[..20].iter().all(|&status| status == 401) && tries[29] == 429, "{tries:?}");
    for guess in ["", "admin", "password", "sprat_", "token"] {
        directory.publish(guess, &torrent("x", 1, 1), "").expect(401);
    }
}
