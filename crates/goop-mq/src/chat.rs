//! Direct chat (mq.md 8): what people write is on disk before it is sent and before it is acknowledged, waits for those who
//! are away, and is sent when they are back.
//!
//! [`Waiting`] is the queue as a value, [`ChatLog`] what is needed of a database (`goop-data` has it), [`Chat`] the handle and [`ChatTask`] the
//! task that owns the queue. [`Commands`] is where scripts answer to lines that begin with `!`.

mod kept;
mod task;
mod waiting;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use goop_identity::PeerId;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::router::{Listens, Received, Refused};
use crate::topic::Family;
use crate::wire::MsgId;

pub use task::{Chat, ChatError, ChatTask};
pub use waiting::{
    EXPIRES, FIRST_PAUSE, LONGEST_PAUSE, Outcome, PEERS, PER_PEER, Step, TooMany, Waiting,
};

/// Lines that are read of one conversation at once (mq.md 8).
pub const HISTORY: usize = 200;
/// Lines that a search finds at most.
pub const FOUND: usize = 200;
/// Longest line, in bytes. Longer ones do not go out; from others they are shown and kept up to here.
pub const MAX_LINE: usize = 64 * 1024;
/// Commands that wait for scripts. More are not run: scripts are slower than peers.
const COMMANDS: usize = 64;

/// How far a line came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "state", content = "why")]
pub enum ChatState {
    /// It came from the other one.
    Received,
    /// It is sent when the other one is back.
    Waiting,
    /// The other one has it.
    Delivered,
    /// It will not be sent any more, with the reason.
    Failed(String),
    /// Its writer took it back before it was sent.
    Withdrawn,
}

/// A line of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatLine {
    /// Its place in the log, which grows with each line; 0 before it is stored.
    pub number: i64,
    /// The other side of the conversation.
    pub peer: PeerId,
    /// Who wrote it.
    pub from: PeerId,
    /// What it says.
    pub content: String,
    /// When it was stored, in milliseconds since 1970, by our clock.
    pub timestamp: i64,
    /// The id of the message.
    pub id: MsgId,
    /// How far it came.
    pub state: ChatState,
}

/// Whether a line was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is on disk now.
    New,
    /// A line with this id in this conversation was there already.
    Known,
}

/// Where a conversation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// What the other side was called when somebody last looked; maybe empty.
    pub name: String,
    /// Lines of the other side that nobody has read.
    pub unread: u64,
    /// The newest line.
    pub last: ChatLine,
}

/// What the database says when it cannot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the chat cannot be kept: {0}")]
pub struct ChatLogError(pub String);

/// Keeps conversations. What it says is done is on disk.
pub trait ChatLog: Send + Sync + 'static {
    /// Adds a line. Of each conversation at least the newest [`HISTORY`] lines are kept, and all that wait.
    fn store(&self, line: ChatLine) -> BoxFuture<'_, Result<Stored, ChatLogError>>;

    /// Notes how far a line came.
    fn set_state(
        &self,
        peer: PeerId,
        id: MsgId,
        state: ChatState,
    ) -> BoxFuture<'_, Result<(), ChatLogError>>;

    /// The newest lines of a conversation, oldest first; of those before a number, if there is one.
    fn history(
        &self,
        peer: PeerId,
        before: Option<i64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<ChatLine>, ChatLogError>>;

    /// Lines that contain a text, whatever its case, of one conversation or all, newest first.
    fn search(
        &self,
        peer: Option<PeerId>,
        text: &str,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<ChatLine>, ChatLogError>>;

    /// All conversations, the newest first.
    fn conversations(&self, limit: usize)
    -> BoxFuture<'_, Result<Vec<Conversation>, ChatLogError>>;

    /// Notes that a conversation was read up to a number, and what its other side is called (`""`: nobody knows). Reading
    /// does not go back.
    fn mark_read(
        &self,
        peer: PeerId,
        number: i64,
        name: String,
    ) -> BoxFuture<'_, Result<(), ChatLogError>>;

    /// Up to which number a conversation was read; 0 where nothing was.
    fn read_up_to(&self, peer: PeerId) -> BoxFuture<'_, Result<i64, ChatLogError>>;

    /// Forgets a conversation.
    fn clear(&self, peer: PeerId) -> BoxFuture<'_, Result<(), ChatLogError>>;

    /// Every line that waits, oldest first.
    fn waiting(&self) -> BoxFuture<'_, Result<Vec<ChatLine>, ChatLogError>>;
}

/// Scripts that answer to lines beginning with `!`.
pub trait Commands: Send + Sync + 'static {
    /// Runs a command (with its `!`) and gives what is answered, if anything. It limits its own time.
    fn run(&self, from: PeerId, command: String) -> BoxFuture<'_, Option<String>>;
}

/// A command that came in.
#[derive(Debug)]
struct Command {
    from: PeerId,
    text: String,
}

/// The part of chat that hears what comes in; give it to the bus's router.
pub struct ChatInbox {
    log: Arc<dyn ChatLog>,
    commands: mpsc::Sender<Command>,
}

impl std::fmt::Debug for ChatInbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatInbox").finish_non_exhaustive()
    }
}

/// What is between [`prepare`] and [`Prepared::start`]: the bus is made from one part and given to the other.
pub struct Prepared {
    log: Arc<dyn ChatLog>,
    inbox: mpsc::Receiver<Command>,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").finish_non_exhaustive()
    }
}

/// Prepares chat over a log.
#[must_use]
pub fn prepare(log: Arc<dyn ChatLog>) -> (ChatInbox, Prepared) {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let heard = ChatInbox {
        log: log.clone(),
        commands,
    };
    (heard, Prepared { log, inbox })
}

impl Listens for ChatInbox {
    type Payload = Value;
    const FAMILY: Family = Family::Chat;

    async fn take(&self, message: Received<Value>) -> Result<(), Refused> {
        // Anything else is shown by pages that know it, and not kept (mq.md 8).
        let Some(content) = message.payload.get("content").and_then(Value::as_str) else {
            return Ok(());
        };
        if content.is_empty() {
            return Ok(());
        }
        let line = ChatLine {
            number: 0,
            peer: message.from,
            from: message.from,
            content: cut(content, MAX_LINE).to_owned(),
            timestamp: task::unix_millis(),
            id: message.id,
            state: ChatState::Received,
        };
        let stored = self.log.store(line).await.map_err(Refused::because)?;
        // A script's answer never runs a script, or two of them would talk for ever (mq.md W27).
        let by_script = message.payload.get("auto") == Some(&Value::Bool(true));
        if stored == Stored::New && content.starts_with('!') && !by_script {
            let command = Command {
                from: message.from,
                text: cut(content, MAX_LINE).to_owned(),
            };
            if self.commands.try_send(command).is_err() {
                metrics::counter!("goop_mq_commands_dropped").increment(1);
            }
        }
        Ok(())
    }
}

/// The beginning of a text, at most so many bytes.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
