//! Driving a browser: chromedriver and headless Chromium on one host, WebDriver through fantoccini.

mod find;
mod keyboard;
mod only_text;
mod person;
mod seek;
mod three_tabs;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fantoccini::{Client, Locator};
use goop_browser::{Driver, Wanted};
use serde_json::{Value, json};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(15);
/// Windows that are looked at: a desktop and a phone.
const SIZES: [(&str, u32, u32); 2] = [("desktop", 1280, 800), ("phone", 500, 900)];

/// Runs the part a script names. Called on the host itself.
pub(crate) fn drive(script: &Path) -> Result<()> {
    let script: Value = serde_json::from_slice(&std::fs::read(script)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let folder = Path::new(script["folder"].as_str().context("folder")?);
        let _driver = Driver::start(folder)?;
        let wanted = Wanted {
            phone: script["phone"] == true,
            ..Wanted::default()
        };
        let client = goop_browser::connect(folder, &wanted).await?;
        let done = match script["part"].as_str() {
            Some("live") => live(&client, &script).await,
            Some("person") => person::uses_every_page(&client, &script).await,
            Some("keyboard") => keyboard::uses_every_page(&client, &script).await,
            Some("only text") => only_text::run(&client, &script).await,
            Some("three tabs") => three_tabs::run(&client, &script).await,
            _ => hostile(&client, &script).await,
        };
        if done.is_err() {
            describe(&client).await;
        }
        let _ = client.close().await;
        done
    })
}

/// Says where the browser stands, for whoever reads a failure.
async fn describe(client: &Client) {
    let text = client
        .execute(
            "const got = performance.getEntriesByType('resource').map((r) => `${r.responseStatus} ${Math.round(r.duration)} ms ${r.name}`); \
             return `${location.href} (${document.readyState})\\n${document.body.innerText.slice(0, 2000)}\\n\
             ${document.getElementById('main')?.innerHTML.slice(0, 1500)}\\n${got.join('\\n')}`",
            vec![],
        )
        .await;
    eprintln!(
        "the browser stands at {}",
        text.ok()
            .and_then(|text| text.as_str().map(str::to_owned))
            .unwrap_or_default()
    );
}

/// The text of an element as soon as there is one.
async fn text_of(client: &Client, css: &str) -> Result<String> {
    let deadline = Instant::now() + SOON;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let element = client
            .wait()
            .at_most(left)
            .for_element(Locator::Css(css))
            .await
            .with_context(|| format!("no {css}"))?;
        match element.text().await {
            Ok(text) => return Ok(text),
            // A live page drew it anew in between.
            Err(error) if error.is_stale_element_reference() && Instant::now() < deadline => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The owner sees the neighbour, visits it, and every page shows something; nothing breaks the pages' own policy.
async fn live(client: &Client, script: &Value) -> Result<()> {
    let text = |name: &str| script[name].as_str().unwrap_or_default().to_owned();
    let (origin, peer, shots) = (text("origin"), text("peer"), text("shots"));
    client.goto(&text("link")).await?;
    ensure!(
        client.current_url().await?.path() == "/peers",
        "the start link leads to {}",
        client.current_url().await?
    );
    let row = format!("[data-peer=\"{peer}\"]");
    let shown = text_of(client, &row).await?;
    ensure!(
        shown.contains("Sample peer"),
        "the neighbour is shown as {shown:?}"
    );
    text_of(client, "#link-state[data-state=\"live\"]").await?;
    client
        .find(Locator::Css(&format!("{row} .button.primary")))
        .await?
        .click()
        .await?;
    let frame = client
        .wait()
        .at_most(SOON)
        .for_element(Locator::Css("iframe"))
        .await?;
    frame.enter_frame().await?;
    let heading = text_of(client, "h1").await?;
    ensure!(
        heading.contains("lives on my computer"),
        "the neighbour's page says {heading:?}"
    );
    client.enter_parent_frame().await?;
    let mut wrong = Vec::new();
    for (path, css) in [
        ("/peers".to_owned(), ".peer"),
        (format!("/peer/{peer}"), ".facts"),
        (format!("/view?open={peer}"), "iframe"),
        ("/edit?path=index.html".to_owned(), "[role=treeitem]"),
        ("/self".to_owned(), "#name"),
        ("/logs".to_owned(), ".log tbody tr"),
        ("/topology".to_owned(), ".drawing"),
        ("/docs".to_owned(), ".prose"),
    ] {
        client.goto(&format!("{origin}{path}")).await?;
        text_of(client, css).await.with_context(|| path.clone())?;
        let page = path.split(['/', '?']).nth(1).unwrap_or_default().to_owned();
        picture(client, &shots, &page).await?;
        for theme in ["light", "dark"] {
            for violation in violations(client, theme)
                .await
                .with_context(|| path.clone())?
            {
                wrong.push(format!("{path} ({theme}): {violation}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "axe reports:\n{}", wrong.join("\n"));
    client
        .goto(&format!(
            "{origin}/peer/12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq"
        ))
        .await?;
    text_of(client, ".empty").await.context("an unknown peer")?;
    timeout(SOON, many_tabs(client, &origin))
        .await
        .context("with many tabs open the pages stand still")?
}

/// What axe finds on the page in a theme: the rule, and where.
async fn violations(client: &Client, theme: &str) -> Result<Vec<String>> {
    let source = include_str!("../vendor/axe.min.js");
    client
        .execute(
            "document.documentElement.dataset.theme = arguments[0]",
            vec![json!(theme)],
        )
        .await?;
    client.execute(source, vec![]).await?;
    let found = client
        .execute_async(
            // Sites in frames are their owners' business. Colours may still be changing when the theme just did.
            "const done = arguments[arguments.length - 1]; \
             Promise.allSettled(document.getAnimations().map((running) => running.finished)) \
               .then(() => axe.run({ exclude: [['iframe']] }, { iframes: false, resultTypes: ['violations'] })) \
               .then((result) => done(result.violations.map((v) => \
                 `${v.id}: ${v.nodes.map((n) => n.target.join(' ') + ' ' + n.any.map((c) => c.message).join(' ')).join('; ')}`)), \
                 (error) => done([String(error)]))",
            vec![],
        )
        .await?;
    Ok(serde_json::from_value(found)?)
}

/// A browser opens six connections to one server; pages that hold one each would leave none for a seventh tab, and
/// pages that it keeps for "back" none for anybody.
async fn many_tabs(client: &Client, origin: &str) -> Result<()> {
    for _ in 0..8 {
        let tab = client.new_window(true).await?;
        client.switch_to_window(tab.handle).await?;
        client.goto(&format!("{origin}/peers")).await?;
        text_of(client, "#link-state[data-state=\"live\"]").await?;
    }
    for path in [
        "/self", "/logs", "/peers", "/logs", "/peers", "/logs", "/self", "/peers",
    ] {
        client.goto(&format!("{origin}{path}")).await?;
        text_of(client, "#link-state[data-state=\"live\"]").await?;
    }
    client.back().await?;
    client.back().await?;
    text_of(client, ".log tbody tr").await?;
    text_of(client, "#link-state[data-state=\"live\"]").await?;
    // The tab with the stream goes; another takes it over.
    let tabs = client.windows().await?;
    let (first, rest) = tabs.split_first().context("no tab")?;
    client.switch_to_window(first.clone()).await?;
    client.close_window().await?;
    for tab in rest {
        client.switch_to_window(tab.clone()).await?;
        text_of(client, "#link-state[data-state=\"live\"]").await?;
    }
    Ok(())
}

/// A picture of the page at each size and theme, if somebody wants to look.
async fn picture(client: &Client, folder: &str, page: &str) -> Result<()> {
    if folder.is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    for (name, width, height) in SIZES {
        client.set_window_size(width, height).await?;
        for theme in ["light", "dark"] {
            client
                .execute(
                    "document.documentElement.dataset.theme = arguments[0]",
                    vec![json!(theme)],
                )
                .await?;
            // A frame's content is drawn a moment after the page's own.
            tokio::time::sleep(Duration::from_millis(400)).await;
            std::fs::write(
                format!("{folder}/{page}-{name}-{theme}.png"),
                client.screenshot().await?,
            )?;
        }
    }
    Ok(())
}

/// A picture of the page as it is now, if somebody wants to look.
async fn picture_now(client: &Client, folder: &str, name: &str) -> Result<()> {
    if folder.is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    std::fs::write(format!("{folder}/{name}.png"), client.screenshot().await?)?;
    Ok(())
}

/// Runs the hostile site's attempts where the browser stands.
async fn attempts(client: &Client, control: &str, mark: &str) -> Result<BTreeMap<String, bool>> {
    let found = client
        .execute_async(
            "const done = arguments[arguments.length - 1]; tryAll(arguments[0]).then(done, (error) => done(String(error)))",
            vec![json!({ "control": control, "mark": mark })],
        )
        .await?;
    serde_json::from_value(found.clone()).with_context(|| format!("the attempts answered {found}"))
}

/// A site tries everything it can think of. All of it fails there, and succeeds where the owner does it.
async fn hostile(client: &Client, script: &Value) -> Result<()> {
    let text = |name: &str| script[name].as_str().unwrap_or_default().to_owned();
    let (origin, peer, own, third) = (text("origin"), text("peer"), text("own"), text("third"));
    client.goto(&text("link")).await?;
    client.goto(&format!("{origin}/p/{peer}/")).await?;
    text_of(client, "h1").await?;
    let here = client.current_url().await?;
    ensure!(
        here.host_str()
            .is_some_and(|host| host.ends_with(".localhost")),
        "the site runs at {here}"
    );
    for control in [origin.clone(), origin.replace("127.0.0.1", "localhost")] {
        let found = attempts(client, &control, "mallory").await?;
        let got: Vec<&String> = found
            .iter()
            .filter(|(_, got)| **got)
            .map(|(name, _)| name)
            .collect();
        ensure!(
            got.is_empty() && found.len() >= 8,
            "the site got something at {control}: {got:?} of {found:?}"
        );
    }
    let site = format!(
        "http://{}:{}",
        here.host_str().unwrap_or_default(),
        here.port().unwrap_or(80)
    );
    let checks = [
        ("another peer's site under its own origin", format!("(await fetch('/p/{third}/')).ok")),
        ("the own site under its own origin", format!("(await fetch('/p/{own}/')).ok")),
        ("settings under its own origin", "(await fetch('/api/settings/quick/get')).ok".to_owned()),
        ("logs under its own origin", "(await fetch('/api/logs')).ok".to_owned()),
        ("the metrics under its own origin", "(await fetch('/metrics')).ok".to_owned()),
        ("its own scripts' folder", format!("(await fetch('/p/{peer}/lua/x.lua')).ok")),
        ("a WebSocket to the control origin", format!(
            "await new Promise((resolve) => {{ try {{ const s = new WebSocket('{}/api/mq/events'); s.onopen = () => resolve(true); \
             s.onerror = () => resolve(false); }} catch {{ resolve(false); }} }})", origin.replace("http", "ws"))),
        ("a frame of the control pages", format!(
            "await new Promise((resolve) => {{ const f = document.createElement('iframe'); f.src = '{origin}/peers'; \
             f.onload = () => {{ try {{ resolve(f.contentDocument !== null && f.contentDocument.body.textContent.length > 0); }} catch {{ resolve(false); }} }}; \
             f.onerror = () => resolve(false); document.body.append(f); setTimeout(() => resolve(false), 2000); }})")),
        ("a script inside the page", "await new Promise((resolve) => { const s = document.createElement('script'); \
             s.textContent = 'window.ran = true'; document.head.append(s); resolve(window.ran === true); })".to_owned()),
        ("names pointed at this machine", format!(
            "(await fetch('http://rebound.localhost:{}/api/session')).ok", here.port().unwrap_or(80))),
    ];
    for (what, expression) in checks {
        let asked = format!(
            "const done = arguments[arguments.length - 1]; (async () => {{ try {{ return {expression}; }} catch {{ return false; }} }})().then(done)"
        );
        let got = client.execute_async(&asked, vec![]).await?;
        ensure!(got == json!(false), "the site at {site} got {what}: {got}");
    }
    rebinding(&origin).await?;
    // The same attempts by the owner, on the control origin: they must succeed, or they would show nothing.
    client.goto(&format!("{origin}/peers")).await?;
    text_of(client, ".peer").await?;
    let source = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/peers/hostile/site/try.js"
    ))?;
    client.execute(&source, vec![]).await?;
    let found = attempts(client, &origin, "owner").await?;
    let missed: Vec<&String> = found
        .iter()
        .filter(|(name, got)| !**got && *name != "readOwnersCookies")
        .map(|(name, _)| name)
        .collect();
    ensure!(
        missed.is_empty(),
        "the attempts would not notice success: {missed:?} failed for the owner, too"
    );
    ensure!(
        found.get("readOwnersCookies") == Some(&false),
        "a script can read the owner's cookie"
    );
    let cookies = client.get_all_cookies().await?;
    ensure!(
        cookies
            .iter()
            .any(|cookie| cookie.name().starts_with("goop2_owner_")),
        "there was no cookie to read"
    );
    Ok(())
}

/// A foreign name that resolves to this machine, as a rebinding attack makes it.
async fn rebinding(origin: &str) -> Result<()> {
    for path in ["/api/peers", "/peers", "/healthz", "/start?token=x"] {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--output",
                "/dev/null",
                "--write-out",
                "%{http_code}",
                "-H",
                "Host: evil.example",
                &format!("{origin}{path}"),
            ])
            .output()?;
        let status = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(status == "421", "a foreign host got {status} for {path}");
    }
    Ok(())
}
