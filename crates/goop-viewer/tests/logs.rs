//! Who follows the log gets each line once, also after the stream broke off.
#![allow(clippy::unwrap_used)]

use goop_viewer::LogRing;
use tracing::Level;

fn ring(lines: std::ops::Range<usize>) -> LogRing {
    let ring = LogRing::default();
    for line in lines {
        ring.push(Level::INFO, "test", &format!("line {line}"));
    }
    ring
}

async fn texts(ring: &LogRing, last_seen: Option<&str>) -> Vec<String> {
    let lines = ring.follow_after(last_seen).next().await;
    lines.into_iter().map(|(_, line)| line.msg).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_after_the_last_line_that_came() {
    let ring = ring(0..3);
    assert_eq!(texts(&ring, None).await, ["line 0", "line 1", "line 2"]);
    let (number, _) = ring.follow_after(None).next().await.remove(1);
    let id = ring.id_of(number);
    assert_eq!(texts(&ring, Some(&id)).await, ["line 2"]);
    let mut follower = ring.follow_after(Some(&ring.id_of(2)));
    ring.push(Level::INFO, "test", "line 3");
    let fresh = follower.next().await;
    assert_eq!(
        (fresh.len(), fresh[0].0, fresh[0].1.msg.as_str()),
        (1, 3, "line 3")
    );
}

#[tokio::test(start_paused = true)]
async fn an_id_of_another_process_gets_everything() {
    let (before, now) = (ring(0..3), ring(0..2));
    let foreign = before.id_of(1);
    let ahead = now.id_of(7);
    for id in [foreign.as_str(), ahead.as_str(), "", "-", "x-1"] {
        assert_eq!(texts(&now, Some(id)).await, ["line 0", "line 1"], "{id:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_away_too_long_gets_what_is_kept() {
    let ring = ring(0..goop_viewer::logs::CAPACITY + 5);
    let lines = texts(&ring, Some(&ring.id_of(1))).await;
    assert_eq!(lines.len(), goop_viewer::logs::CAPACITY);
    assert_eq!(lines[0], "line 5");
}
