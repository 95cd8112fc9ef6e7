//! A headless Chromium, driven over WebDriver (W3C) by Debian's `chromium-driver`.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::directory::{Reply, try_ask};
use crate::process::Process;
use crate::require::{find, require_peer};
use crate::sandbox::{Sandbox, free_port};
use crate::wait::{self, LONG};

/// What WebDriver calls an element in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window.
#[derive(Debug)]
pub struct Browser {
    addr: SocketAddr,
    session: String,
    _driver: Process,
}

/// Something on a page.
#[derive(Clone, Debug)]
pub struct Element(String);

impl Browser {
    /// Starts one; `None`: there is none, and the test that asks should return.
    ///
    /// # Panics
    /// If it is installed, and does not start; if it is not, and `SPRAT_REQUIRE_PEERS=1`.
    pub fn start(sandbox: &Sandbox) -> Option<Self> {
        if !(require_peer("chromium") && require_peer("chromedriver")) {
            return None;
        }
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut driver = Command::new(find("chromedriver")?);
        driver.arg(format!("--port={}", addr.port())).env("HOME", sandbox.root()).current_dir(sandbox.root());
        let driver = Process::spawn("chromedriver", &mut driver);
        wait::until("the driver", LONG, || TcpStream::connect(addr).is_ok().then_some(()));
        let profile = format!("--user-data-dir={}", sandbox.path("chromium").display());
        // In a container there is neither a sandbox nor much shared memory to be had.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            &profile,
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments, "binary": find("chromium")?},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let mut browser = Self { addr, session: String::new(), _driver: driver };
        let started = browser.ask("POST", "", Some(&wanted));
        browser.session =
            format!("/{}", started["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {started}")));
        Some(browser)
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.ask_for(method, path, body);
        answer.unwrap_or_else(|refusal| panic!("{method} {path}: {refusal}"))
    }

    /// The answer; or why there is none, if what is asked for is not there, or not any more.
    fn ask_for(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let target = format!("/session{}{path}", self.session);
        let reply: Reply =
            try_ask(self.addr, method, &target, &["Content-Type: application/json"], body.as_bytes())
                .unwrap_or_else(|| panic!("no answer to {method} {target}"));
        let text = || String::from_utf8_lossy(&reply.body).into_owned();
        if reply.status == 404 {
            return Err(text());
        }
        assert_eq!(reply.status, 200, "{method} {target}: {}", text());
        Ok(reply.json()["value"].take())
    }

    fn do_it(&self, path: &str, what: &Value) -> Value {
        self.ask("POST", path, Some(what))
    }

    /// Opens a page, and waits until it is there.
    pub fn open(&self, url: &str) {
        self.do_it("/url", &json!({"url": url}));
    }

    /// The size of what is seen of a page, and whether the system is dark.
    pub fn look(&self, width: u32, height: u32, dark: bool) {
        let command = |cmd: &str, params: Value| {
            drop(self.do_it("/goog/cdp/execute", &json!({"cmd": cmd, "params": params})));
        };
        command(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}),
        );
        let scheme = if dark { "dark" } else { "light" };
        command(
            "Emulation.setEmulatedMedia",
            json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]}),
        );
    }

    /// Runs this script, and gives what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.do_it("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The first element that this selector of CSS finds, once there is one: the page may be on its way.
    pub fn element(&self, selector: &str) -> Element {
        wait::until(selector, LONG, || self.find(selector))
    }

    fn find(&self, selector: &str) -> Option<Element> {
        let wanted = json!({"using": "css selector", "value": selector});
        let found = self.ask_for("POST", "/element", Some(&wanted)).ok()?;
        Some(Element(found[ELEMENT].as_str().expect("an element").to_owned()))
    }

    /// The text of the first element that this selector finds. A page that makes way for another takes its elements along: then that of the
    /// next.
    pub fn text(&self, selector: &str) -> String {
        wait::until(selector, LONG, || {
            let Element(id) = self.find(selector)?;
            let text = self.ask_for("GET", &format!("/element/{id}/text"), None).ok()?;
            Some(text.as_str().unwrap_or_default().to_owned())
        })
    }

    /// Types into an element; into one for files, a path.
    pub fn type_into(&self, selector: &str, text: &str) {
        let Element(id) = self.element(selector);
        self.do_it(&format!("/element/{id}/value"), &json!({"text": text}));
    }

    /// Presses keys, wherever the focus is. WebDriver has characters for those that write nothing, such as [`TAB`].
    pub fn press(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
            })
            .collect();
        self.do_it("/actions", &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}));
    }

    /// What the page wrote to its console at the level of errors: violations of its policy are among them.
    pub fn errors(&self) -> Vec<String> {
        let log = self.do_it("/se/log", &json!({"type": "browser"}));
        let entries = log.as_array().cloned().unwrap_or_default();
        let errors = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        errors.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Writes a picture of the whole page, as PNG.
    ///
    /// # Panics
    /// If it can't be written.
    pub fn screenshot(&self, file: &Path) {
        let shot = self.do_it(
            "/goog/cdp/execute",
            &json!({"cmd": "Page.captureScreenshot", "params": {"captureBeyondViewport": true}}),
        );
        let bytes = base64(shot["data"].as_str().expect("a picture"));
        std::fs::write(file, bytes).expect("a file");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser with the session; it may have failed already.
        let _ = try_ask(self.addr, "DELETE", &format!("/session{}", self.session), &[], b"");
    }
}

/// The key Tab.
pub const TAB: char = '\u{e004}';

/// The key Enter.
pub const ENTER: char = '\u{e007}';

fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bytes, mut bits, mut count) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0);
    for six in text.bytes().filter_map(value) {
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}
