//! The database of a site, as its visitors use it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::lab::Lab;
use crate::peer::{Peer, curl};

/// Long enough for a busy machine, short enough to fail.
const SOON: Duration = Duration::from_secs(10);

/// Asks for data of a site as the owner of `peer` does; status and answer.
fn ask(peer: &Peer, site: &str, operation: &str, body: &Value) -> Result<(u16, Value)> {
    let answer = peer.post(
        &format!("/api/p/{site}/data/{operation}"),
        &body.to_string(),
    )?;
    let text = answer.text();
    let value = serde_json::from_str(&text).unwrap_or_else(|_| json!(text.trim()));
    Ok((answer.status, value))
}

/// The same as a page of that site does, in the browser of `peer`'s owner.
fn ask_as_page(peer: &Peer, site: &str, operation: &str, body: &Value) -> Result<(u16, Value)> {
    let lead = peer.get(&format!("/p/{site}/"))?;
    let origin = lead.location.split("/p/").next();
    let origin = origin.filter(|origin| !origin.is_empty());
    let origin = origin.context("the site has no origin")?;
    let host = origin.trim_start_matches("http://");
    let port = host.rsplit(':').next().unwrap_or_default();
    let answer = curl(
        &peer.host,
        &[
            "-H",
            &format!("Host: {host}"),
            "-H",
            &format!("Origin: {origin}"),
            "-H",
            "Sec-Fetch-Site: same-origin",
            "-d",
            &body.to_string(),
            &format!("http://127.0.0.1:{port}/api/p/{site}/data/{operation}"),
        ],
    )?;
    let text = answer.text();
    let value = serde_json::from_str(&text).unwrap_or_else(|_| json!(text.trim()));
    Ok((answer.status, value))
}

fn make(owner: &Peer, table: &str, read: &str, insert: &str) -> Result<()> {
    let schema = json!({
        "name": table, "system_key": true,
        "columns": [{"name": "text", "type": "text", "required": true}, {"name": "likes", "type": "integer", "default": 0}],
        "access": {"read": read, "insert": insert, "update": "owner", "delete": "owner"},
    });
    for (route, body) in [
        ("schemas/save", schema),
        ("schemas/apply", json!({"name": table})),
        (
            "insert",
            json!({"table": table, "data": {"text": "from the owner"}}),
        ),
    ] {
        let answer = owner.post(&format!("/api/data/{route}"), &body.to_string())?;
        ensure!(answer.status == 200, "{route} {table}: {}", answer.text());
    }
    Ok(())
}

/// A visitor adds rows, reads own and foreign ones, and is refused what the policies refuse; all of it survives the
/// owner's `kill -9`.
pub(super) fn visitor(lab: &Lab) -> Result<()> {
    let mut ada = Peer::new(lab, &lab.host(1)?, "Ada")?;
    let mut grace = Peer::new(lab, &lab.host(2)?, "Grace")?;
    ada.start()?;
    grace.start()?;
    let (site, me) = (ada.id()?, grace.id()?);
    grace.wait_here(&site, SOON)?;
    ada.wait_here(&me, SOON)?;
    make(&ada, "guestbook", "open", "open")?;
    make(&ada, "diary", "owner", "open")?;
    make(&ada, "news", "open", "owner")?;
    make(&ada, "vault", "local", "local")?;

    let hello = json!({"table": "guestbook", "data": {"text": "Hello, Ada <3"}});
    let added = ask_as_page(&grace, &site, "insert", &hello)?;
    ensure!(
        added == (200, json!({"id": 2, "status": "inserted"})),
        "{added:?}"
    );
    let all = json!({"table": "guestbook", "order": "_id"});
    let (status, rows) = ask(&grace, &site, "find", &all)?;
    ensure!(
        status == 200 && rows[0]["_owner"] == *site && rows[1]["_owner"] == *me,
        "{rows}"
    );
    ensure!(rows[1]["text"] == "Hello, Ada <3", "{rows}");
    let (_, seen) = ask(&ada, &site, "find", &all)?;
    ensure!(
        seen == rows,
        "the owner sees {seen}, the visitor saw {rows}"
    );

    // Rows of one's own may be changed and taken away; others' not.
    let like = |id: u64| json!({"table": "guestbook", "id": id, "data": {"likes": 1}});
    let own = ask(&grace, &site, "update", &like(2))?;
    ensure!(own == (200, json!({"status": "updated"})), "{own:?}");
    let others = ask(&grace, &site, "update", &like(1))?;
    ensure!(
        others == (500, json!("update not allowed: owner only")),
        "{others:?}"
    );
    let mine = json!({"table": "diary", "data": {"text": "dear diary"}});
    ensure!(
        ask(&grace, &site, "insert", &mine)?.0 == 200,
        "a diary takes rows"
    );
    let (_, read) = ask_as_page(&grace, &site, "find", &json!({"table": "diary"}))?;
    ensure!(
        read.as_array()
            .is_some_and(|rows| rows.len() == 1 && rows[0]["text"] == "dear diary"),
        "only one's own rows: {read}"
    );
    let count = ask(&grace, &site, "count", &json!({"table": "diary"}))?;
    ensure!(count == (200, json!({"count": 1})), "{count:?}");
    for (operation, body, text) in [
        (
            "insert",
            json!({"table": "news", "data": {"text": "x"}}),
            "insert not allowed: this table only accepts data from the site owner",
        ),
        (
            "find",
            json!({"table": "vault"}),
            "query not allowed: table is local-only",
        ),
        (
            "find",
            json!({"table": "_meta"}),
            "SQL logic error: no such table: _meta (1)",
        ),
        (
            "delete",
            json!({"table": "guestbook", "id": 1}),
            "delete not allowed: owner only",
        ),
        (
            "tables/delete",
            json!({"table": "guestbook"}),
            "schema operations not allowed for remote peers",
        ),
    ] {
        for refused in [
            ask(&grace, &site, operation, &body)?,
            ask_as_page(&grace, &site, operation, &body)?,
        ] {
            ensure!(
                refused == (500, json!(text)),
                "{operation} {body}: {refused:?}"
            );
        }
    }
    let hostile = json!({"table": "guestbook", "where": "1=1) UNION SELECT * FROM vault --"});
    let (status, said) = ask(&grace, &site, "find", &hostile)?;
    ensure!(
        status == 500 && !said.to_string().contains("from the owner"),
        "{status} {said}"
    );
    // The owner's own routes are not a visitor's, nor a page's.
    let (status, _) = ask_as_page(
        &grace,
        &site,
        "../../../data/find",
        &json!({"table": "guestbook"}),
    )?;
    ensure!(status == 404, "{status}");

    ada.end("KILL", Duration::from_secs(2))?;
    let (status, _) = ask(&grace, &site, "count", &json!({"table": "guestbook"}))?;
    ensure!(
        status == 502,
        "the data of somebody who is not there: {status}"
    );
    ada.start()?;
    let (_, kept) = ask(&ada, &site, "find", &all)?;
    ensure!(
        kept[1]["text"] == "Hello, Ada <3" && kept[1]["likes"] == 1,
        "{kept}"
    );
    Ok(())
}
