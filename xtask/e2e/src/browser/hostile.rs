//! "A hostile site gets nothing": a site tries everything it can think of, on its own origin.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fantoccini::Client;
use serde_json::{Value, json};

use super::text_of;

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
pub(super) async fn run(client: &Client, script: &Value) -> Result<()> {
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
