//! Conversations in `data.db` (storage.md 15), by the log of `goop-data`.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use goop_data::chat::{ChatLog as Kept, ChatMessage, MAX_CONTENT, RECEIVED, WAITING};
use goop_identity::PeerId;
use goop_identity::label::parse_peer_id;

use super::{ChatLine, ChatLog, ChatLogError, ChatState, Conversation, MAX_LINE, Stored};
use crate::wire::MsgId;

// What is taken can be kept.
const _: () = assert!(MAX_LINE <= MAX_CONTENT);

impl From<goop_data::DataError> for ChatLogError {
    fn from(error: goop_data::DataError) -> Self {
        Self(error.to_string())
    }
}

/// How a state is written: its name, and why.
fn written(state: &ChatState) -> (&'static str, &str) {
    match state {
        ChatState::Received => (RECEIVED, ""),
        ChatState::Waiting => (WAITING, ""),
        ChatState::Delivered => ("delivered", ""),
        ChatState::Failed(why) => ("failed", why),
        ChatState::Withdrawn => ("withdrawn", ""),
    }
}

fn as_kept(line: ChatLine) -> ChatMessage {
    let (state, why) = written(&line.state);
    ChatMessage {
        number: line.number,
        from: line.from.to_base58(),
        timestamp: line.timestamp,
        id: line.id.to_string(),
        state: state.to_owned(),
        why: why.to_owned(),
        content: line.content,
    }
}

/// A line of the conversation with `peer`. The Go program writes no ids, and no states: what it keeps came in or was
/// delivered.
fn as_line(peer: PeerId, kept: ChatMessage) -> ChatLine {
    let from = parse_peer_id(&kept.from).unwrap_or(peer);
    let state = match kept.state.as_str() {
        WAITING => ChatState::Waiting,
        "failed" => ChatState::Failed(kept.why),
        "withdrawn" => ChatState::Withdrawn,
        _ if from == peer => ChatState::Received,
        _ => ChatState::Delivered,
    };
    ChatLine {
        number: kept.number,
        peer,
        from,
        content: kept.content,
        timestamp: kept.timestamp,
        id: MsgId::parse(&kept.id).unwrap_or_else(|_| MsgId::of_row(kept.number)),
        state,
    }
}

/// Lines of several conversations; rows of somebody whose id makes no sense are nobody's.
fn of_all(rows: Vec<(String, ChatMessage)>) -> Vec<ChatLine> {
    rows.into_iter()
        .filter_map(|(peer, kept)| Some(as_line(parse_peer_id(&peer)?, kept)))
        .collect()
}

fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl ChatLog for Kept {
    fn store(&self, line: ChatLine) -> BoxFuture<'_, Result<Stored, ChatLogError>> {
        async move {
            let peer = line.peer.to_base58();
            let new = Kept::store(self, &peer, as_kept(line)).await?;
            Ok(if new { Stored::New } else { Stored::Known })
        }
        .boxed()
    }

    fn set_state(
        &self,
        peer: PeerId,
        id: MsgId,
        state: ChatState,
    ) -> BoxFuture<'_, Result<(), ChatLogError>> {
        async move {
            let (state, why) = written(&state);
            Ok(Kept::set_state(self, &peer.to_base58(), id.as_str(), state, why).await?)
        }
        .boxed()
    }

    fn history(
        &self,
        peer: PeerId,
        before: Option<i64>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<ChatLine>, ChatLogError>> {
        async move {
            let lines = self.newest(&peer.to_base58(), before, limit(most)).await?;
            Ok(lines.into_iter().map(|line| as_line(peer, line)).collect())
        }
        .boxed()
    }

    fn search(
        &self,
        peer: Option<PeerId>,
        text: &str,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<ChatLine>, ChatLogError>> {
        let (peer, text) = (peer.map(|peer| peer.to_base58()), text.to_owned());
        async move {
            Ok(of_all(
                Kept::search(self, peer.as_deref(), &text, limit(most)).await?,
            ))
        }
        .boxed()
    }

    fn conversations(&self, most: usize) -> BoxFuture<'_, Result<Vec<Conversation>, ChatLogError>> {
        async move {
            let all = Kept::conversations(self, limit(most)).await?;
            let told = all.into_iter().filter_map(|one| {
                Some(Conversation {
                    name: one.name,
                    unread: u64::try_from(one.unread).unwrap_or_default(),
                    last: as_line(parse_peer_id(&one.peer)?, one.last),
                })
            });
            Ok(told.collect())
        }
        .boxed()
    }

    fn mark_read(
        &self,
        peer: PeerId,
        number: i64,
        name: String,
    ) -> BoxFuture<'_, Result<(), ChatLogError>> {
        async move { Ok(Kept::mark_read(self, &peer.to_base58(), number, &name).await?) }.boxed()
    }

    fn read_up_to(&self, peer: PeerId) -> BoxFuture<'_, Result<i64, ChatLogError>> {
        async move { Ok(Kept::read_up_to(self, &peer.to_base58()).await?) }.boxed()
    }

    fn clear(&self, peer: PeerId) -> BoxFuture<'_, Result<(), ChatLogError>> {
        async move { Ok(Kept::clear(self, &peer.to_base58()).await?) }.boxed()
    }

    fn waiting(&self) -> BoxFuture<'_, Result<Vec<ChatLine>, ChatLogError>> {
        async move { Ok(of_all(Kept::waiting(self).await?)) }.boxed()
    }
}
