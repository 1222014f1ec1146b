//! Chat that is not lost: what waits, what is kept, what scripts answer. The log here is in memory and stands for a database.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use goop_identity::PeerId;
use goop_mq::chat::{
    Chat, ChatError, ChatLine, ChatLog, ChatLogError, ChatState, Commands, Conversation, EXPIRES,
    FIRST_PAUSE, LONGEST_PAUSE, Outcome, PER_PEER, Step, Stored, TooMany, Waiting, prepare,
};
use goop_mq::keys::KeyBook;
use goop_mq::router::Router;
use goop_mq::topic::PeerTopic;
use goop_mq::wire::{MsgId, Payload};
use serde_json::json;
use support::{Peer, World, wait_for};
use tokio_util::sync::CancellationToken;

#[derive(Default)]
struct InMemory {
    lines: Mutex<Vec<ChatLine>>,
    full: std::sync::atomic::AtomicBool,
}

impl InMemory {
    fn with<T>(&self, look: impl FnOnce(&mut Vec<ChatLine>) -> T) -> Result<T, ChatLogError> {
        if self.full.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(ChatLogError("the disk is full".into()));
        }
        Ok(look(&mut self.lines.lock().unwrap()))
    }

    fn said(&self, peer: PeerId) -> Vec<(String, ChatState)> {
        let lines = self.lines.lock().unwrap();
        let of = lines.iter().filter(|line| line.peer == peer);
        of.map(|line| (line.content.clone(), line.state.clone()))
            .collect()
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl ChatLog for InMemory {
    fn store(&self, line: ChatLine) -> BoxFuture<'_, Result<Stored, ChatLogError>> {
        ready(self.with(|lines| {
            if lines
                .iter()
                .any(|old| (old.peer, &old.id) == (line.peer, &line.id))
            {
                return Stored::Known;
            }
            lines.push(line);
            Stored::New
        }))
    }
    fn set_state(
        &self,
        peer: PeerId,
        id: MsgId,
        state: ChatState,
    ) -> BoxFuture<'_, Result<(), ChatLogError>> {
        ready(self.with(|lines| {
            for line in lines
                .iter_mut()
                .filter(|line| line.peer == peer && line.id == id)
            {
                line.state = state.clone();
            }
        }))
    }
    fn conversations(&self, _: usize) -> BoxFuture<'_, Result<Vec<Conversation>, ChatLogError>> {
        ready(Ok(Vec::new()))
    }
    fn mark_read(&self, _: PeerId, _: i64, _: String) -> BoxFuture<'_, Result<(), ChatLogError>> {
        ready(Ok(()))
    }
    fn read_up_to(&self, _: PeerId) -> BoxFuture<'_, Result<i64, ChatLogError>> {
        ready(Ok(0))
    }
    fn history(
        &self,
        peer: PeerId,
        _: Option<i64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<ChatLine>, ChatLogError>> {
        ready(self.with(|lines| {
            let of: Vec<ChatLine> = lines
                .iter()
                .filter(|line| line.peer == peer)
                .cloned()
                .collect();
            of[of.len().saturating_sub(limit)..].to_vec()
        }))
    }
    fn search(
        &self,
        peer: Option<PeerId>,
        text: &str,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<ChatLine>, ChatLogError>> {
        let text = text.to_lowercase();
        ready(self.with(|lines| {
            let of = lines
                .iter()
                .rev()
                .filter(|line| peer.is_none_or(|peer| line.peer == peer));
            of.filter(|line| line.content.to_lowercase().contains(&text))
                .take(limit)
                .cloned()
                .collect()
        }))
    }
    fn clear(&self, peer: PeerId) -> BoxFuture<'_, Result<(), ChatLogError>> {
        ready(self.with(|lines| lines.retain(|line| line.peer != peer)))
    }
    fn waiting(&self) -> BoxFuture<'_, Result<Vec<ChatLine>, ChatLogError>> {
        ready(self.with(|lines| {
            lines
                .iter()
                .filter(|line| line.state == ChatState::Waiting)
                .cloned()
                .collect()
        }))
    }
}

struct Person {
    peer: Peer,
    chat: Chat,
    log: Arc<InMemory>,
    leave: CancellationToken,
}

fn person(
    world: &World,
    id: PeerId,
    log: &Arc<InMemory>,
    commands: Option<Arc<dyn Commands>>,
) -> Person {
    let (inbox, prepared) = prepare(log.clone());
    let router = Router::new().listen(inbox);
    let peer = world.listening(id, KeyBook::new(None), None, router);
    let (chat, task) = prepared.start(peer.mq.clone(), commands);
    let leave = CancellationToken::new();
    tokio::spawn(task.run(leave.clone()));
    Person {
        peer,
        chat,
        log: log.clone(),
        leave,
    }
}

fn new_person(world: &World, commands: Option<Arc<dyn Commands>>) -> Person {
    person(world, PeerId::random(), &Arc::default(), commands)
}

#[tokio::test(start_paused = true)]
async fn both_sides_keep_what_was_said() {
    let world = World::new(1);
    let (ada, bob) = (new_person(&world, None), new_person(&world, None));
    let (_, state) = ada
        .chat
        .send(bob.peer.id, "Hello Bob".into())
        .await
        .unwrap();
    assert_eq!(state, ChatState::Delivered);
    bob.chat
        .send(ada.peer.id, "hello ada".into())
        .await
        .unwrap();
    let of = |person: &Person, other: &Person| person.log.said(other.peer.id);
    let said = |text: &str, state| (text.to_owned(), state);
    assert_eq!(
        of(&ada, &bob),
        [
            said("Hello Bob", ChatState::Delivered),
            said("hello ada", ChatState::Received)
        ]
    );
    assert_eq!(
        of(&bob, &ada),
        [
            said("Hello Bob", ChatState::Received),
            said("hello ada", ChatState::Delivered)
        ]
    );
    assert_eq!(
        ada.chat
            .history(bob.peer.id, None, 200)
            .await
            .unwrap()
            .len(),
        2
    );
    let found = ada.chat.search(None, "HELLO").await.unwrap();
    assert_eq!(found[0].content, "hello ada");
    ada.chat.clear(bob.peer.id).await.unwrap();
    assert!(of(&ada, &bob).is_empty());
    // What is no text is shown, and not kept.
    for payload in [
        json!("text"),
        json!({ "content": 7 }),
        json!({ "content": "" }),
        json!(null),
    ] {
        ada.peer
            .mq
            .send(bob.peer.id, PeerTopic::Chat, Payload::of(&payload).unwrap())
            .await
            .unwrap();
    }
    assert_eq!(of(&bob, &ada).len(), 2);
    assert_eq!(
        ada.chat.send(bob.peer.id, String::new()).await,
        Err(ChatError::Empty)
    );
    assert_eq!(
        ada.chat.send(bob.peer.id, "x".repeat(65_537)).await,
        Err(ChatError::TooLong)
    );
    assert_eq!(
        ada.chat.send(ada.peer.id, "me".into()).await,
        Err(ChatError::ToSelf)
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_waits_for_who_is_away_even_over_a_restart() {
    let world = World::new(2);
    let bob_id = PeerId::random();
    let ada = new_person(&world, None);
    for text in ["one", "two", "three"] {
        let (id, state) = ada.chat.send(bob_id, text.into()).await.unwrap();
        assert_eq!(state, ChatState::Waiting, "{text}");
        if text == "two" {
            assert!(ada.chat.withdraw(bob_id, id.clone()).await);
            assert!(!ada.chat.withdraw(bob_id, id).await);
        }
    }
    // Ada is killed and comes back, then Bob does.
    ada.leave.cancel();
    world.remove(&ada.peer.id);
    let ada = person(&world, ada.peer.id, &ada.log, None);
    let bob = person(&world, bob_id, &Arc::default(), None);
    ada.chat.back(bob_id).await;
    wait_for("two lines", || bob.log.said(ada.peer.id).len() == 2).await;
    let texts: Vec<String> = bob
        .log
        .said(ada.peer.id)
        .into_iter()
        .map(|(text, _)| text)
        .collect();
    assert_eq!(texts, ["one", "three"]);
    wait_for("delivered", || {
        ada.log.said(bob_id)[2].1 == ChatState::Delivered
    })
    .await;
    let states: Vec<ChatState> = ada
        .log
        .said(bob_id)
        .into_iter()
        .map(|(_, state)| state)
        .collect();
    assert_eq!(
        states,
        [
            ChatState::Delivered,
            ChatState::Withdrawn,
            ChatState::Delivered
        ]
    );
}

/// Ada is killed after Bob took a line and before she noted it: the line has its id, so Bob does not see it twice.
#[tokio::test(start_paused = true)]
async fn a_line_that_was_delivered_and_not_noted_comes_once() {
    let world = World::new(3);
    let (ada, bob) = (new_person(&world, None), new_person(&world, None));
    let (id, _) = ada.chat.send(bob.peer.id, "once".into()).await.unwrap();
    ada.log
        .set_state(bob.peer.id, id, ChatState::Waiting)
        .await
        .unwrap();
    ada.leave.cancel();
    let ada = person(&world, ada.peer.id, &ada.log, None);
    wait_for("noted", || {
        ada.log.said(bob.peer.id)[0].1 == ChatState::Delivered
    })
    .await;
    assert_eq!(bob.log.said(ada.peer.id).len(), 1);
    // Bob was restarted too, so only his log knows.
    ada.leave.cancel();
    let (line, bob) = (
        ada.log.lines.lock().unwrap()[0].id.clone(),
        person(&world, bob.peer.id, &bob.log, None),
    );
    ada.log
        .set_state(bob.peer.id, line, ChatState::Waiting)
        .await
        .unwrap();
    let ada = person(&world, ada.peer.id, &ada.log, None);
    wait_for("noted", || {
        ada.log.said(bob.peer.id)[0].1 == ChatState::Delivered
    })
    .await;
    assert_eq!(bob.log.said(ada.peer.id).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_is_not_acknowledged_and_not_sent() {
    let world = World::new(4);
    let (ada, bob) = (new_person(&world, None), new_person(&world, None));
    let full = |person: &Person, full| {
        person
            .log
            .full
            .store(full, std::sync::atomic::Ordering::Relaxed)
    };
    full(&bob, true);
    let (_, state) = ada
        .chat
        .send(bob.peer.id, "kept by Ada".into())
        .await
        .unwrap();
    assert_eq!(state, ChatState::Waiting, "Bob did not take it");
    full(&bob, false);
    ada.chat.back(bob.peer.id).await;
    wait_for("taken", || bob.log.said(ada.peer.id).len() == 1).await;
    full(&ada, true);
    assert!(matches!(
        ada.chat.send(bob.peer.id, "x".into()).await,
        Err(ChatError::Log(_))
    ));
    assert_eq!(bob.log.said(ada.peer.id).len(), 1);
}

struct Echo;

impl Commands for Echo {
    fn run(&self, _: PeerId, command: String) -> BoxFuture<'_, Option<String>> {
        ready(match command.as_str() {
            "!silent" => None,
            "!long" => Some("ä".repeat(4_000)),
            // What would run a command over there if it were not marked.
            _ => Some(command),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn scripts_answer_and_never_talk_to_each_other() {
    let world = World::new(5);
    let (ada, bob) = (
        new_person(&world, Some(Arc::new(Echo))),
        new_person(&world, Some(Arc::new(Echo))),
    );
    for text in ["!silent", "!loop", "no command", "!long"] {
        ada.chat.send(bob.peer.id, text.into()).await.unwrap();
    }
    wait_for("two answers", || ada.log.said(bob.peer.id).len() == 6).await;
    let got: Vec<String> = ada
        .log
        .said(bob.peer.id)
        .into_iter()
        .filter(|(_, state)| *state == ChatState::Received)
        .map(|(text, _)| text)
        .collect();
    assert_eq!(got.iter().filter(|text| *text == "!loop").count(), 1);
    let long = got.iter().find(|text| text.starts_with('ä')).unwrap();
    assert!(long.ends_with("... (truncated)") && long.len() <= 4_096 + 15);
    // A flood of commands gets thirty answers at once, and no answer to an answer.
    for n in 0..100 {
        ada.chat.send(bob.peer.id, format!("!{n}")).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let answers = ada
        .log
        .said(bob.peer.id)
        .iter()
        .filter(|(_, state)| *state == ChatState::Received)
        .count();
    assert!((28..=32).contains(&answers), "{answers}");
    assert_eq!(
        bob.log
            .said(ada.peer.id)
            .iter()
            .filter(|(_, state)| *state == ChatState::Received)
            .count(),
        104
    );
}

fn id(n: usize) -> MsgId {
    MsgId::parse(&format!("line {n}")).unwrap()
}

fn sends(steps: &[Step]) -> Vec<MsgId> {
    let sends = steps.iter().filter_map(|step| match step {
        Step::Send { id, .. } => Some(id.clone()),
        Step::Ended { .. } => None,
    });
    sends.collect()
}

#[test]
fn lines_wait_in_order_with_growing_pauses() {
    let (mut waiting, peer, now) = (Waiting::new(), PeerId::random(), Instant::now());
    let submit = |waiting: &mut Waiting, n| {
        waiting
            .submit(peer, id(n), "x".into(), Duration::ZERO, now)
            .unwrap()
    };
    assert_eq!(sends(&submit(&mut waiting, 1)), [id(1)]);
    assert_eq!(submit(&mut waiting, 2), []);
    let (mut at, mut pauses) = (now, Vec::new());
    for _ in 0..8 {
        assert_eq!(waiting.sent(&peer, &id(1), Outcome::Away, at), []);
        let wake = waiting.wake().unwrap();
        pauses.push((wake - at).as_secs());
        assert_eq!(sends(&waiting.tick(wake)), [id(1)]);
        at = wake;
    }
    assert_eq!(pauses, [30, 60, 120, 240, 480, 600, 600, 600]);
    assert_eq!((FIRST_PAUSE.as_secs(), LONGEST_PAUSE.as_secs()), (30, 600));
    assert_eq!(waiting.withdraw(&peer, &id(1)), None, "it is on its way");
    waiting.sent(&peer, &id(1), Outcome::Away, at);
    assert_eq!(sends(&waiting.back(&peer, at)), [id(1)]);
    let steps = waiting.sent(&peer, &id(1), Outcome::Delivered, at);
    assert_eq!(
        steps[0],
        Step::Ended {
            peer,
            id: id(1),
            state: ChatState::Delivered
        }
    );
    assert_eq!(sends(&steps), [id(2)]);
    let steps = waiting.sent(&peer, &id(2), Outcome::Hopeless("no".into()), at);
    assert_eq!(
        steps,
        [Step::Ended {
            peer,
            id: id(2),
            state: ChatState::Failed("no".into())
        }]
    );
    assert_eq!((waiting.len(&peer), waiting.wake()), (0, None));
    assert_eq!(waiting.sent(&peer, &id(2), Outcome::Delivered, at), []);
}

#[test]
fn lines_expire_after_a_week_and_no_more_than_so_many_wait() {
    let (mut waiting, peer, now) = (Waiting::new(), PeerId::random(), Instant::now());
    let day = Duration::from_secs(24 * 3_600);
    let old = waiting
        .submit(peer, id(0), "old".into(), 6 * day, now)
        .unwrap();
    assert_eq!(sends(&old), [id(0)]);
    waiting.sent(&peer, &id(0), Outcome::Away, now);
    for n in 1..PER_PEER {
        waiting
            .submit(peer, id(n), "x".into(), Duration::ZERO, now)
            .unwrap();
    }
    assert_eq!(
        waiting.submit(peer, id(999), "x".into(), Duration::ZERO, now),
        Err(TooMany)
    );
    let steps = waiting.tick(now + day);
    assert!(
        matches!(&steps[0], Step::Ended { id: ended, state: ChatState::Failed(_), .. } if *ended == id(0))
    );
    assert_eq!(sends(&steps), [id(1)]);
    // What is on its way may still arrive.
    let steps = waiting.tick(now + EXPIRES + day);
    assert_eq!(steps.len(), PER_PEER - 2);
    assert_eq!(waiting.len(&peer), 1);
    // What was written "in the future", or so long ago that no clock knows, harms nothing.
    for age in [Duration::ZERO, Duration::MAX] {
        let other = PeerId::random();
        let steps = waiting.submit(other, id(5), "x".into(), age, now).unwrap();
        assert_eq!(steps.len(), 1, "{steps:?}");
    }
}
