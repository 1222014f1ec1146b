//! A headless Chromium on this side of the LAN, and what it asks for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use fantoccini::Client;
use goop_browser::devtools::{before_pages, log, order};
use goop_browser::{Driver, Wanted, connect};
use serde_json::{Value, json};

use crate::bench::Bench;

/// How long a page may take to come to rest.
const REST: Duration = Duration::from_secs(60);
/// How long nothing may change until a page counts as at rest.
const QUIET: Duration = Duration::from_millis(800);
/// How often a page is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Runs `work` with a fresh browser that has the owner's session, `name=value`, at `origin`.
pub(crate) fn drive<T: Send>(
    bench: &Bench,
    name: &str,
    origin: &str,
    cookie: &str,
    work: impl AsyncFnOnce(&Client) -> Result<T> + Send,
) -> Result<T> {
    let folder = bench.folder(&format!("{name}-browser"));
    std::fs::create_dir_all(&folder)?;
    bench.lan.here.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let _driver = Driver::start(&folder)?;
            let wanted = Wanted {
                log: true,
                ..Wanted::default()
            };
            let client = connect(&folder, &wanted).await?;
            let (name, value) = cookie.split_once('=').context("a session is name=value")?;
            let session = json!({ "name": name, "value": value, "url": origin, "httpOnly": true });
            order(&client, "Network.setCookie", session).await?;
            introduce(&client, origin).await?;
            let done = work(&client).await;
            let _ = client.clone().close().await;
            done
        })
    })
}

/// Gives the owner a name: somebody without one is asked for it, in the way of everything else.
async fn introduce(client: &Client, origin: &str) -> Result<()> {
    client.goto(&format!("{origin}/peers")).await?;
    let named = client
        .execute_async(
            "const done = arguments[0]; fetch('/api/settings/quick', { method: 'POST', body: '{\"label\":\"Bench\"}' }) \
             .then((answer) => done(answer.ok), () => done(false))",
            vec![],
        )
        .await?;
    ensure!(named == true, "the peer takes no name");
    Ok(())
}

/// Waits until the page has all it asked for and nothing changes in it any more.
pub(crate) async fn rest(client: &Client) -> Result<()> {
    let deadline = Instant::now() + REST;
    let (mut last, mut since) = (Value::Null, Instant::now());
    loop {
        let now = client
            .execute(
                "return [document.readyState, document.getElementById('link-state')?.dataset.state, \
                 document.querySelectorAll('.loading').length, performance.getEntriesByType('resource').length, \
                 document.getElementById('main')?.querySelectorAll('*').length]",
                vec![],
            )
            .await?;
        let ready = now[0] == "complete" && now[1] == "live" && now[2] == 0 && now[4] != 0;
        if now != last || !ready {
            (last, since) = (now, Instant::now());
        }
        if since.elapsed() > QUIET {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the page did not come to rest: {last}");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Notes long tasks, and how many messages event streams bring, in every later page.
pub(crate) async fn before(client: &Client) -> Result<()> {
    before_pages(client, include_str!("browser.js")).await
}

/// The tasks longer than 50 ms (Long Tasks API) since this was last asked, in milliseconds.
pub(crate) async fn long_tasks(client: &Client) -> Result<Vec<f64>> {
    let tasks = client
        .execute("return window.benchTasks.splice(0)", vec![])
        .await?;
    Ok(serde_json::from_value(tasks)?)
}

/// Forgets what was asked for so far.
pub(crate) async fn forget(client: &Client) -> Result<()> {
    log(client).await.map(drop)
}

/// One thing the browser asked a server for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Where.
    pub(crate) url: String,
    /// `Document`, `Script`, `Fetch`, `EventSource`, … as the DevTools call it.
    pub(crate) kind: String,
    /// As it came over the wire: 304 where the browser shows what it had. 0 where nothing was asked.
    pub(crate) status: u64,
    /// Heads and bodies as they came over the wire.
    pub(crate) bytes: u64,
}

impl Asked {
    /// Whether the answer brought a body.
    pub(crate) fn has_body(&self) -> bool {
        matches!(self.status, 200 | 206) || self.status >= 400
    }

    /// Whether it is about the peer's state: pictures are files, whatever their address.
    pub(crate) fn is_api(&self) -> bool {
        self.path().starts_with("/api/") && self.kind != "Image"
    }

    /// The address without its origin.
    pub(crate) fn path(&self) -> &str {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        rest.find('/').map_or("/", |at| &rest[at..])
    }
}

/// What went over the wire since it was last asked, from the DevTools' events.
pub(crate) async fn asked(client: &Client) -> Result<Vec<Asked>> {
    Ok(tally(&log(client).await?))
}

/// One request as the events tell of it. After a redirect the next one goes on under the same id.
#[derive(Debug, Default)]
struct Told {
    sent: Vec<(String, String)>,
    statuses: Vec<u64>,
    bytes: u64,
    finished: bool,
    from_memory: bool,
}

/// The events of one request come in any order, but those of one kind in theirs.
fn tally(events: &[Value]) -> Vec<Asked> {
    let mut order = Vec::new();
    let mut all: BTreeMap<&str, Told> = BTreeMap::new();
    for event in events {
        let params = &event["params"];
        let Some(id) = params["requestId"].as_str() else {
            continue;
        };
        let told = all.entry(id).or_insert_with(|| {
            order.push(id);
            Told::default()
        });
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = |name: &str| params[name].as_f64().unwrap_or_default() as u64;
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                told.sent
                    .push((text(&params["request"]["url"]), text(&params["type"])));
            }
            "Network.requestServedFromCache" => told.from_memory = true,
            "Network.responseReceivedExtraInfo" => told.statuses.push(number("statusCode")),
            "Network.responseReceived" if params["hasExtraInfo"] != true => {
                let response = &params["response"];
                if response["fromDiskCache"] != true {
                    told.statuses
                        .push(response["status"].as_u64().unwrap_or_default());
                }
            }
            "Network.dataReceived" if !told.finished => told.bytes += number("encodedDataLength"),
            "Network.loadingFinished" => {
                told.finished = true;
                // The whole, heads included; what was there before is part of it.
                told.bytes = number("encodedDataLength");
            }
            _ => {}
        }
    }
    let over_the_wire = order
        .into_iter()
        .filter_map(|id| all.remove(id))
        .filter(|told| !told.from_memory);
    over_the_wire
        .flat_map(|told| {
            let last = told.sent.len().saturating_sub(1);
            let statuses = told.statuses.into_iter();
            told.sent.into_iter().zip(statuses).enumerate().map(
                move |(at, ((url, kind), status))| Asked {
                    url,
                    kind,
                    status,
                    bytes: if at == last { told.bytes } else { 0 },
                },
            )
        })
        .filter(|asked| asked.url.starts_with("http"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Asked, tally};
    use serde_json::{Value, json};

    fn event(method: &str, params: &Value) -> Value {
        json!({ "method": format!("Network.{method}"), "params": params })
    }

    #[test]
    fn only_what_went_over_the_wire_counts() {
        let sent = |id: &str, url: &str, kind: &str| {
            event(
                "requestWillBeSent",
                &json!({ "requestId": id, "type": kind, "request": { "url": url } }),
            )
        };
        let head = |id: &str, status: u64| {
            event(
                "responseReceivedExtraInfo",
                &json!({ "requestId": id, "statusCode": status }),
            )
        };
        let end = |id: &str, bytes: u64| {
            event(
                "loadingFinished",
                &json!({ "requestId": id, "encodedDataLength": bytes }),
            )
        };
        let part = |id: &str, bytes: u64| {
            event(
                "dataReceived",
                &json!({ "requestId": id, "encodedDataLength": bytes }),
            )
        };
        let found = tally(&[
            sent("1", "http://h/peers", "Document"),
            head("1", 304),
            end("1", 120),
            sent("2", "http://h/assets/v/js/app.js", "Script"),
            event(
                "responseReceived",
                &json!({ "requestId": "2", "response": { "fromDiskCache": true, "status": 200 } }),
            ),
            end("2", 0),
            sent("5", "http://h/assets/v/images/mark.svg", "Image"),
            event("requestServedFromCache", &json!({ "requestId": "5" })),
            event(
                "responseReceived",
                &json!({ "requestId": "5", "response": { "status": 200 } }),
            ),
            sent("6", "data:image/png;base64,AA", "Image"),
            event(
                "responseReceived",
                &json!({ "requestId": "6", "response": { "status": 200 } }),
            ),
            sent("3", "http://h/api/mq/events", "EventSource"),
            head("3", 200),
            part("3", 40),
            part("3", 2),
            head("4", 200),
            sent("4", "http://h/api/avatar/peer/x?v=1", "Image"),
            part("4", 300),
            end("4", 500),
        ]);
        let seen: Vec<_> = found
            .iter()
            .map(|asked: &Asked| (asked.path(), asked.bytes, asked.has_body(), asked.is_api()))
            .collect();
        assert_eq!(
            seen,
            [
                ("/peers", 120, false, false),
                ("/api/mq/events", 42, true, true),
                ("/api/avatar/peer/x?v=1", 500, true, false),
            ]
        );
    }
}
