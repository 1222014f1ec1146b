//! The log of events: everybody gets everything, nobody takes anything away, and nothing grows.
#![allow(clippy::unwrap_used, missing_docs)]

use goop_identity::PeerId;
use goop_mq::log::{Entry, Event, EventLog, From, KEPT_LOCAL, KEPT_PER_PEER, Listener, Next};
use goop_mq::topic::{Filter, LocalTopic};
use goop_mq::wire::{Message, MsgId, Payload};

fn message(n: u64) -> Message {
    Message {
        id: MsgId::parse(&format!("message-{n}")).unwrap(),
        seq: i64::try_from(n).unwrap(),
        topic: "chat".into(),
        payload: Payload::of(&serde_json::json!({ "n": n })).unwrap(),
    }
}

/// What a listener gets without waiting: numbers of messages, `None` for a reset.
async fn drain(listener: &mut Listener) -> Vec<Option<i64>> {
    let mut all = Vec::new();
    while let Ok(next) =
        tokio::time::timeout(std::time::Duration::from_millis(1), listener.next()).await
    {
        match next {
            Next::Reset(_) => all.push(None),
            Next::Events(events) => all.extend(events.iter().map(|entry| {
                let data: serde_json::Value = serde_json::from_str(&entry.data()).unwrap();
                let payload = &data["msg"]["payload"];
                Some(payload["n"].as_i64().or(payload.as_i64()).unwrap_or(-1))
            })),
        }
    }
    all
}

fn numbers(range: std::ops::Range<i64>) -> Vec<Option<i64>> {
    range.map(Some).collect()
}

#[tokio::test(start_paused = true)]
async fn every_window_gets_every_event_and_a_new_one_what_nobody_took() {
    let (log, peer) = (EventLog::default(), PeerId::random());
    (0..3).for_each(|n| log.deliver(peer, &message(n)));
    log.publish(&LocalTopic::Invite, &7);
    // A stream that filters takes nothing from the page.
    let mut groups = log.listen(From::Unheard, Filter::parse("group:*"));
    assert_eq!(drain(&mut groups).await, []);
    let mut page = log.listen(From::Unheard, Filter::Usual);
    assert_eq!(
        drain(&mut page).await,
        numbers(0..3),
        "messages wait for a page, what happened here does not"
    );
    let mut second = log.listen(From::Unheard, Filter::Usual);
    assert_eq!(drain(&mut second).await, []);
    log.deliver(peer, &message(3));
    log.publish(&LocalTopic::Invite, &4);
    assert_eq!(drain(&mut page).await, numbers(3..5));
    assert_eq!(drain(&mut second).await, numbers(3..5));
    assert_eq!(drain(&mut groups).await, []);
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_continues() {
    let (log, peer) = (EventLog::default(), PeerId::random());
    let mut page = log.listen(From::Now, Filter::Usual);
    log.deliver(peer, &message(1));
    let Next::Events(events) = page.next().await else {
        panic!("an event")
    };
    let id = log.id_of(events[0].number);
    drop(page);
    (2..100).for_each(|n| log.deliver(peer, &message(n)));
    let mut back = log.listen(From::After(&id), Filter::Usual);
    assert_eq!(drain(&mut back).await, numbers(2..100));
    for id in ["", "x", "00000000-1", &log.id_of(1_000_000), "ffffffff-"] {
        let mut lost = log.listen(From::After(id), Filter::Usual);
        assert_eq!(drain(&mut lost).await, [None], "{id:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_thrown_away_is_told_and_one_flood_drowns_nobody_else() {
    let (log, quiet, loud) = (EventLog::default(), PeerId::random(), PeerId::random());
    let mut slow = log.listen(From::Unheard, Filter::Usual);
    log.deliver(quiet, &message(1_000_000));
    let kept = i64::try_from(KEPT_PER_PEER).unwrap();
    (0..5_000).for_each(|n| log.deliver(loud, &message(n)));
    (0..5_000).for_each(|n| log.publish(&LocalTopic::Invite, &n));
    let got = drain(&mut slow).await;
    assert_eq!(got[..2], [None, Some(1_000_000)]);
    assert_eq!(
        got[2..2 + KEPT_PER_PEER],
        numbers(5_000 - kept..5_000),
        "the newest of the loud one"
    );
    assert_eq!(got.len(), 2 + KEPT_PER_PEER + KEPT_LOCAL);
    assert_eq!(drain(&mut slow).await, []);
    // A page that was never there hears it as well.
    let late = EventLog::default();
    (0..300).for_each(|n| late.deliver(loud, &message(n)));
    let mut page = late.listen(From::Unheard, Filter::Usual);
    let got = drain(&mut page).await;
    assert_eq!((got[0], got.len()), (None, 1 + KEPT_PER_PEER));
}

#[tokio::test(start_paused = true)]
async fn state_is_replaced_and_a_skip_asks_everybody_to_look_again() {
    let log = EventLog::default();
    let mut slow = log.listen(From::Now, Filter::Usual);
    let (a, b) = (PeerId::random(), PeerId::random());
    for n in 0..10_000 {
        log.publish_state(
            &LocalTopic::PeerAnnounce,
            if n % 2 == 0 { a } else { b },
            &n,
        );
    }
    assert_eq!(
        drain(&mut slow).await,
        numbers(9_998..10_000),
        "nothing is missed that still holds"
    );
    log.skip();
    assert_eq!(drain(&mut slow).await, [None]);
    log.publish(&LocalTopic::Invite, &5);
    assert_eq!(drain(&mut slow).await, [Some(5)]);
}

#[tokio::test(start_paused = true)]
async fn bytes_are_bounded_and_a_line_stays_a_line() {
    let log = EventLog::default();
    let big = |n: u8| Message {
        payload: Payload::parse(format!(
            "{{\"n\":{n},\r\n\t\"text\":\"{}\"}}",
            "x".repeat(5 << 20)
        ))
        .unwrap(),
        ..message(n.into())
    };
    let mut page = log.listen(From::Unheard, Filter::Usual);
    (0..20).for_each(|n| log.deliver(PeerId::random(), &big(n)));
    let mut kept = 0;
    while let Ok(next) =
        tokio::time::timeout(std::time::Duration::from_millis(1), page.next()).await
    {
        if let Next::Events(events) = next {
            kept += events.len();
            assert!(events.iter().all(is_one_line));
        }
    }
    assert_eq!(kept, 6, "32 MiB hold six of 5 MiB");
}

fn is_one_line(entry: &Entry) -> bool {
    matches!(&entry.event, Event::Message { payload, .. } if !payload.contains(['\n', '\r']))
}

#[test]
fn an_event_reads_as_recorded() {
    let log = EventLog::default();
    let peer =
        goop_identity::label::parse_peer_id("12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5")
            .unwrap();
    let message = Message {
        id: MsgId::parse("09389f73-6399-4acf-8f25-26f3b424cad7").unwrap(),
        seq: 4,
        topic: "chat".into(),
        payload: Payload::parse("{\"content\":\"<b>\"}".into()).unwrap(),
    };
    let mut page = log.listen(From::Now, Filter::Usual);
    log.deliver(peer, &message);
    log.delivered(message.id);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let Next::Events(events) = runtime.block_on(page.next()) else {
        panic!("events")
    };
    assert_eq!(
        events[0].data(),
        r#"{"type":"message","msg":{"type":"msg","id":"09389f73-6399-4acf-8f25-26f3b424cad7","seq":4,"topic":"chat","payload":{"content":"\u003cb\u003e"}},"from":"12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5"}"#
    );
    assert_eq!(
        events[1].data(),
        r#"{"type":"delivered","msg_id":"09389f73-6399-4acf-8f25-26f3b424cad7"}"#
    );
}
