//! The pages in headless Chromium: searched and published by keyboard, numbers that follow a seeder, and nothing that overlaps,
//! overflows or goes off the screen, in light and dark, at the widths of a telephone, a tablet and a desktop. Pictures are kept in
//! `screenshots` of the target directory.

use std::path::PathBuf;

use harness::browser::{Browser, ENTER, TAB};
use harness::directory::{Directory, torrent};
use harness::sandbox::Sandbox;
use harness::wait::{self, LONG};
use torrent_format::Metainfo;

/// Widths and heights of what is looked at.
const SCREENS: [(u32, u32); 3] = [(360, 740), (768, 1024), (1440, 900)];

/// What is wrong with a page's layout: a list of words, empty if nothing is.
const LAYOUT: &str = r#"
const wrong = [];
const name = (it) => it.tagName.toLowerCase() + (it.className && it.className.baseVal === undefined ? "." + it.className : "") + " " + it.textContent.trim().slice(0, 40);
const width = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth > width) wrong.push(`the page is ${document.documentElement.scrollWidth} wide, of ${width}`);
const seen = (it) => {
  const box = it.getBoundingClientRect();
  return box.width > 1 && box.height > 1 && it.checkVisibility();
};
const scrolls = (it) => it.closest(".copy code, pre");
// For those who listen, not for those who look.
const clipped = (it) => it && (getComputedStyle(it).clipPath !== "none" || clipped(it.parentElement));
const leaves = [...document.querySelectorAll("body *")].filter((it) =>
  seen(it) && !it.closest("svg") && !it.closest(".skip") && !clipped(it)
  && [...it.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()));
const boxes = [];
for (const leaf of leaves) {
  const box = leaf.getBoundingClientRect();
  if ((box.left < -1 || box.right > width + 1) && !scrolls(leaf)) wrong.push(`off the screen: ${name(leaf)}`);
  const style = getComputedStyle(leaf);
  if (leaf.scrollWidth > leaf.clientWidth + 1 && style.display !== "inline" && !scrolls(leaf)) wrong.push(`wider than its box: ${name(leaf)}`);
  const range = document.createRange();
  for (const node of leaf.childNodes) {
    if (node.nodeType !== 3 || !node.textContent.trim() || scrolls(leaf)) continue;
    range.selectNodeContents(node);
    for (const part of range.getClientRects()) boxes.push([part, leaf]);
  }
}
for (let a = 0; a < boxes.length; a++) for (let b = a + 1; b < boxes.length; b++) {
  const [[p, x], [q, y]] = [boxes[a], boxes[b]];
  if (x === y || x.contains(y) || y.contains(x)) continue;
  const across = Math.min(p.right, q.right) - Math.max(p.left, q.left);
  const down = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
  if (across > 2 && down > 4) wrong.push(`overlap: ${name(x)} / ${name(y)}`);
}
const rgb = (text) => {
  const canvas = rgb.canvas ||= Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.clearRect(0, 0, 1, 1);
  context.fillStyle = text;
  context.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
  return { r, g, b, a };
};
const luminance = ({ r, g, b }) => [r, g, b].map((v) => v / 255)
  .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
for (const leaf of leaves) {
  let under = leaf;
  while (under && rgb(getComputedStyle(under).backgroundColor).a < 255) under = under.parentElement;
  const [front, back] = [rgb(getComputedStyle(leaf).color), under ? rgb(getComputedStyle(under).backgroundColor) : { r: 255, g: 255, b: 255 }];
  const [x, y] = [luminance(front), luminance(back)].sort((a, b) => b - a);
  const contrast = (x + 0.05) / (y + 0.05);
  if (contrast < 4.5) wrong.push(`contrast ${contrast.toFixed(2)}: ${name(leaf)}`);
}
for (const control of document.querySelectorAll("a, button, input:not([type=hidden]), select, textarea")) {
  if (!seen(control) && !control.matches(".unseen, .skip")) continue;
  const label = control.textContent.trim() || control.getAttribute("aria-label") || control.labels?.[0]?.textContent.trim();
  if (!label) wrong.push(`no name: ${control.outerHTML.slice(0, 80)}`);
}
if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
return wrong;
"#;

fn screenshots() -> PathBuf {
    // TARGET/PROFILE/deps/NAME-HASH
    let this = std::env::current_exe().expect("a test has an executable");
    let dir = this.ancestors().nth(3).expect("it lies in PROFILE/deps").join("screenshots");
    std::fs::create_dir_all(&dir).expect("a directory");
    dir
}

/// Torrents with titles of all kinds; gives the hash of one with many files and some peers.
fn populate(directory: &Directory, sandbox: &Sandbox) -> String {
    for (number, (name, remarks)) in [
        ("debian-12.7.0-amd64-netinst.iso", "title=Debian%2012.7%20netinst&tags=linux,iso,debian"),
        ("Ubuntu.24.04.1.LTS.Desktop.x64", "tags=linux,iso"),
        ("A_very.long-name.without.any.blank.in.it.that.goes.on.and.on.until.nobody.reads.it.any.more.2160p.x265.10bit.DTS-HD.MA.7.1-GROUP", "tags=video"),
        ("東京の夜 – café “été” Ünïcödé", "tags=audio,a-tag-that-is-rather-long"),
        ("<script>alert(1)", "title=%3Cscript%3Ealert(1)%3C%2Fscript%3E"),
    ]
    .iter()
    .enumerate()
    {
        let bytes = torrent(name, 1 << (14 + 2 * number), number as u32);
        directory.ask("POST", &format!("/api/v1/torrents?{remarks}"), &[], &bytes).expect(201);
    }
    let root = sandbox.path("data/survey-2026");
    for (path, length) in [
        ("README.txt", 1200),
        ("raw/north/station-0001-a-file-with-a-name-that-is-long-enough-to-wrap-on-a-telephone.csv", 30_000),
        ("raw/north/station-0002.csv", 29_000),
        ("raw/south/deeper/and/deeper/still/station-0003.csv", 28_000),
        ("plots/overview.png", 90_000),
    ] {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, vec![7; length]).unwrap();
    }
    let create = sandbox.sprat("create").arg(&root).args([
        "-t",
        "http://tracker.elsewhere.example/announce",
        "-w",
        "http://seed.example/",
        "-o",
    ]);
    create.arg(sandbox.path("survey.torrent")).run(LONG).expect(0);
    let bytes = std::fs::read(sandbox.path("survey.torrent")).unwrap();
    let remarks = "title=The%20Survey%20of%202026&tags=data,science&description=Measured%20by%20hand.%0A%0A%20%20station%20%20value";
    directory.ask("POST", &format!("/api/v1/torrents?{remarks}"), &[], &bytes).expect(201);
    let hash = Metainfo::from_bytes(&bytes).unwrap().info.info_hash();
    let client = directory.tracker.client();
    for port in 1..=12 {
        client.join(&hash.0, 3000 + port, "left=0");
    }
    for port in 1..=3 {
        client.join(&hash.0, 4000 + port, "left=9");
    }
    hash.to_string()
}

#[test]
fn every_page_fits_and_can_be_read_on_every_screen() {
    let sandbox = Sandbox::new();
    let Some(browser) = Browser::start(&sandbox) else { return };
    let directory = Directory::start(&sandbox, &["--open-publish"]);
    let empty = directory.url();
    browser.look(360, 740, false);
    browser.open(&empty);
    assert_eq!(browser.run(LAYOUT), serde_json::json!([]), "with nothing in it");
    let hash = populate(&directory, &sandbox);
    let (dir, url) = (screenshots(), directory.url());
    let mut problems = Vec::new();
    for (name, path) in [
        ("search", "/".to_owned()),
        ("filters", "/?q=iso&min_seeders=0&sort=seeders".to_owned()),
        ("nothing", "/?q=nothing-is-like-this".to_owned()),
        ("torrent", format!("/torrent/{hash}")),
        ("upload", "/upload".to_owned()),
        ("status", "/status".to_owned()),
        ("about", "/about".to_owned()),
        ("problem", format!("/torrent/{}", "0".repeat(40))),
    ] {
        for (width, height) in SCREENS {
            for dark in [false, true] {
                browser.look(width, height, dark);
                browser.open(&format!("{url}{path}"));
                let scheme = if dark { "dark" } else { "light" };
                browser.screenshot(&dir.join(format!("{name}-{width}-{scheme}.png")));
                let wrong = browser.run(LAYOUT);
                let wrong = wrong.as_array().expect("a list");
                problems.extend(wrong.iter().map(|wrong| format!("{name} {width} {scheme}: {wrong}")));
            }
        }
    }
    // A missing page is one, of course.
    let errors: Vec<String> = browser.errors().into_iter().filter(|error| !error.contains("404")).collect();
    assert_eq!(errors, [""; 0], "nothing is against the policy");
    assert_eq!(problems, [""; 0]);
}

#[test]
fn it_is_searched_by_keyboard_and_numbers_follow_the_swarm() {
    let sandbox = Sandbox::new();
    let Some(browser) = Browser::start(&sandbox) else { return };
    let directory = Directory::start(&sandbox, &["--open-publish"]);
    let hash = populate(&directory, &sandbox);
    browser.open(&directory.url());
    // The search has the focus.
    browser.press(&format!("2026 surv{ENTER}"));
    wait::until("the results", LONG, || (browser.text("h1") == "1 torrent").then_some(()));
    assert_eq!(browser.text("td.name a"), "The Survey of 2026");
    assert_eq!(browser.text("[data-live=seeders]"), "12");
    let swarm = Metainfo::from_bytes(&std::fs::read(sandbox.path("survey.torrent")).unwrap())
        .unwrap()
        .info
        .info_hash()
        .0;
    let client = directory.tracker.client();
    client.join(&swarm, 3013, "left=0");
    wait::until("one more in the list", LONG, || (browser.text("[data-live=seeders]") == "13").then_some(()));
    // From the search box on by Tab, to the result.
    browser.run("document.getElementById('q').focus()");
    for _ in 0..20 {
        browser.press(&TAB.to_string());
        if browser.run("return document.activeElement.textContent") == "The Survey of 2026" {
            break;
        }
    }
    browser.press(&ENTER.to_string());
    wait::until("the page", LONG, || (browser.text("h1") == "The Survey of 2026").then_some(()));
    assert_eq!(browser.text("#get"), format!("sprat get '{}/torrent/{hash}'", directory.url()));
    client.join(&swarm, 3013, "left=0&event=stopped");
    wait::until("one less on the page", LONG, || (browser.text("[data-live=seeders]") == "12").then_some(()));
    assert!(
        browser
            .run("return document.querySelector('figure.plot svg').getAttribute('aria-label')")
            .as_str()
            .unwrap()
            .contains("seeders")
    );
    assert_eq!(browser.run("return document.querySelectorAll('.tree details').length"), 9, "directories");
    assert_eq!(browser.errors(), [""; 0]);
}

#[test]
fn a_torrent_is_published_by_the_page_with_a_token() {
    let sandbox = Sandbox::new();
    let Some(browser) = Browser::start(&sandbox) else { return };
    let directory = Directory::start(&sandbox, &[]);
    let (token, _) = directory.token(&sandbox, "publish");
    let file = sandbox.path("made.torrent");
    std::fs::write(&file, torrent("made by hand", 5000, 1)).unwrap();
    browser.open(&format!("{}/upload", directory.url()));
    browser.type_into("input[type=file]", file.to_str().unwrap());
    wait::until("its name", LONG, || (browser.text("#chosen") == "made.torrent").then_some(()));
    browser.type_into("input[name=title]", "Made <b>by</b> page");
    browser.type_into("input[name=tags]", "one, two");
    browser.type_into("input[name=token]", "sprat_wrong");
    browser.press(&ENTER.to_string());
    wait::until("a refusal", LONG, || {
        browser.text("#result").contains("unknown, revoked or expired").then_some(())
    });
    browser.run("document.querySelector('input[name=token]').value = ''");
    browser.type_into("input[name=token]", &token);
    browser.press(&ENTER.to_string());
    wait::until("a success", LONG, || {
        (browser.text("#result") == "Published: Made <b>by</b> page").then_some(())
    });
    assert_eq!(directory.titles("tags=one,two"), ["Made <b>by</b> page"]);
    assert_eq!(
        browser.run("return document.querySelector('input[name=token]').value"),
        "",
        "it is not left there"
    );
    // By dropping a file, as the browser tells a page of it.
    std::fs::write(&file, torrent("dropped", 5000, 2)).unwrap();
    browser.run(&format!(
        "const bytes = Uint8Array.from({:?});
         const data = new DataTransfer();
         data.items.add(new File([bytes], 'dropped.torrent'));
         document.querySelector('.drop').dispatchEvent(new DragEvent('drop', {{ dataTransfer: data, bubbles: true, cancelable: true }}));",
        torrent("dropped", 5000, 2)
    ));
    assert_eq!(browser.text("#chosen"), "dropped.torrent");
    browser.type_into("input[name=token]", &token);
    browser.press(&ENTER.to_string());
    wait::until("a success", LONG, || (browser.text("#result") == "Published: dropped").then_some(()));
    // The wrong token is in the log, as it should be; nothing else is.
    let errors: Vec<String> = browser.errors().into_iter().filter(|error| !error.contains("401")).collect();
    assert_eq!(errors, [""; 0]);
}

#[test]
fn without_javascript_all_but_uploading_works() {
    let sandbox = Sandbox::new();
    let directory = Directory::start(&sandbox, &["--open-publish"]);
    let hash = populate(&directory, &sandbox);
    let page = directory.get("/?q=survey").expect(200);
    assert!(
        page.text().contains("<form class=\"search\" role=\"search\" action=\"/\" method=\"get\">"),
        "{}",
        page.text()
    );
    assert!(page.text().contains(&format!("href=\"/torrent/{hash}\"")));
    assert!(page.text().contains("<noscript>") || directory.get("/upload").text().contains("<noscript>"));
    assert!(!page.text().contains(" style=\"") && !page.text().contains(" onclick"), "nothing inline");
    let torrent = directory.get(&format!("/torrent/{hash}")).expect(200);
    for needed in
        [">12</dd>", "magnet:?xt=urn:btih:", ".torrent\" download", "<svg", "station-0002.csv", "sprat get "]
    {
        assert!(torrent.text().contains(needed), "{needed}");
    }
}
