//! The catalogue of topics (mq.md 3) as types.
//!
//! What a peer sends is a [`PeerTopic`] or nothing: the topics a peer says to its own pages cannot be expressed by it, so
//! a forged one is dropped where it is read. What goes to the own pages is a [`LocalTopic`]. [`CATALOGUE`] says of each
//! family who may send it, who hears it, how long it is worth sending, and what it may overtake.

use std::fmt;
use std::time::Duration;

use goop_identity::PeerId;

/// What a topic belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// `mq.ack`
    Ack,
    /// `identity`
    Identity,
    /// `identity.response`
    IdentityResponse,
    /// `identity.notice`, ours only: "your key is another one than before".
    KeyNotice,
    /// `chat`
    Chat,
    /// `chat.broadcast`
    Broadcast,
    /// `chat.room:<group>:<kind>`
    Room,
    /// `group.invite`
    Invite,
    /// `group:<group>:<kind>`
    Group,
    /// `cluster:<group>:<kind>`
    Cluster,
    /// `call:<channel>`
    Call,
    /// `realtime:invite` and `realtime:<channel>`
    Realtime,
    /// What sites and scripts make up.
    Custom,
}

/// Who may send a topic. Whether somebody is host or member of a group is known to the crate that keeps the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Every peer.
    Anybody,
    /// The host of the group, to members.
    Host,
    /// A member (or who wants to be one), to the host.
    Member,
    /// Both of them.
    HostOrMember,
}

/// Who hears a message that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hears {
    /// A part of this program, which tells pages what they need to know.
    Program,
    /// Pages, as it came; a part of this program may listen too.
    Pages,
}

/// What happens when a message was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Nothing: it is not worth a second stream.
    Never,
    /// One more attempt with the same id, within its time.
    Once,
    /// As `Once`; then it waits until the peer is back (see [`crate::chat`]).
    UntilBack,
}

/// What goes first when a peer has more than can be sent at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// Somebody waits with a telephone in their hand.
    Call,
    /// Games.
    Realtime,
    /// Groups, jobs, identities.
    Control,
    /// What people write to each other, and everything sites make up.
    Chatter,
}

/// Whether payloads are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealing {
    /// As soon as keys are known.
    WhenKnown,
    /// Never: it carries what opening needs (mq.md W29).
    Open,
}

/// One line of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Which.
    pub family: Family,
    /// Who hears it.
    pub hears: Hears,
    /// What happens when it was not delivered.
    pub retry: Retry,
    /// How long one send may take, attempts and all (mq.md 1.4: the callers' budgets).
    pub budget: Duration,
    /// What it may overtake.
    pub urgency: Urgency,
    /// Whether messages of one lane are sent one after the other.
    pub ordered: bool,
    /// Whether it is sealed.
    pub sealing: Sealing,
    /// Whether taking it writes to the disk, so that a peer may send only so many ([`crate::receiver::KEPT`]).
    pub kept: bool,
}

const fn entry(family: Family, hears: Hears, retry: Retry, seconds: u64) -> Entry {
    Entry {
        family,
        hears,
        retry,
        budget: Duration::from_secs(seconds),
        urgency: Urgency::Control,
        ordered: true,
        sealing: Sealing::WhenKnown,
        kept: false,
    }
}

impl Entry {
    const fn urgency(mut self, urgency: Urgency) -> Self {
        self.urgency = urgency;
        self
    }
    const fn unordered(mut self) -> Self {
        self.ordered = false;
        self
    }
    const fn open(mut self) -> Self {
        self.sealing = Sealing::Open;
        self
    }
    const fn kept(mut self) -> Self {
        self.kept = true;
        self
    }
}

/// Every family of topics that peers send each other.
pub const CATALOGUE: [Entry; 13] = [
    entry(Family::Ack, Hears::Program, Retry::Never, 3).unordered(),
    entry(Family::Identity, Hears::Program, Retry::Never, 2)
        .unordered()
        .open(),
    entry(Family::IdentityResponse, Hears::Program, Retry::Once, 2)
        .unordered()
        .open()
        .kept(),
    entry(Family::KeyNotice, Hears::Program, Retry::Once, 2)
        .unordered()
        .open()
        .kept(),
    entry(Family::Chat, Hears::Pages, Retry::UntilBack, 5)
        .urgency(Urgency::Chatter)
        .kept(),
    entry(Family::Broadcast, Hears::Pages, Retry::Once, 5).urgency(Urgency::Chatter),
    entry(Family::Room, Hears::Program, Retry::Once, 4),
    entry(Family::Invite, Hears::Program, Retry::Once, 5),
    entry(Family::Group, Hears::Program, Retry::Once, 5),
    entry(Family::Cluster, Hears::Pages, Retry::Once, 3),
    entry(Family::Call, Hears::Pages, Retry::Once, 2).urgency(Urgency::Call),
    entry(Family::Realtime, Hears::Pages, Retry::Once, 5).urgency(Urgency::Realtime),
    entry(Family::Custom, Hears::Pages, Retry::Once, 5).urgency(Urgency::Chatter),
];

impl Family {
    /// Its line in the catalogue.
    #[must_use]
    pub fn entry(self) -> &'static Entry {
        let at = CATALOGUE.iter().position(|entry| entry.family == self);
        // The table test shows that every family has its line.
        &CATALOGUE[at.unwrap_or(CATALOGUE.len() - 1)]
    }
}

/// Why a text is no topic of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// A peer says it to its own pages only.
    #[error("the topic is one that a peer tells its own pages only")]
    Local,
    /// A part is missing, as the group in `group::msg`.
    #[error("the topic lacks a part")]
    Incomplete,
}

/// What a peer may send another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PeerTopic {
    /// A page has shown a message.
    Ack,
    /// Who are you?
    Identity,
    /// Who I am.
    IdentityResponse,
    /// Your key is another one than before.
    KeyNotice,
    /// To one person.
    Chat,
    /// To everybody who is there.
    Broadcast,
    /// In a chat room.
    Room {
        /// The group.
        group: Box<str>,
        /// `msg`, `history`, `members`
        kind: Box<str>,
    },
    /// Come into a group.
    Invite,
    /// Within a group.
    Group {
        /// The group.
        group: Box<str>,
        /// `join`, `msg`, …; may contain `:`
        kind: Box<str>,
    },
    /// Between the host of a cluster and its workers.
    Cluster {
        /// The group.
        group: Box<str>,
        /// `job:assign`, …
        kind: Box<str>,
    },
    /// Call signalling.
    Call {
        /// The channel.
        channel: Box<str>,
    },
    /// Live data of sites: `invite` or a channel.
    Realtime {
        /// The channel, or `invite`.
        channel: Box<str>,
    },
    /// What sites and scripts make up.
    Custom(Box<str>),
}

/// First parts that no peer may send: they are said to the own pages (mq.md 3.2, W2). `mq:` is ours.
const LOCAL_PREFIXES: [&str; 6] = [
    "peer:",
    "listen:",
    "log:",
    "relay:",
    "mq:",
    "call:loopback:",
];

impl PeerTopic {
    /// Reads a topic that came from a peer, or that a page wants to send to one.
    ///
    /// # Errors
    /// See [`TopicError`].
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        if LOCAL_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            return Err(TopicError::Local);
        }
        match text {
            "" => return Err(TopicError::Incomplete),
            "mq.ack" => return Ok(Self::Ack),
            "identity" => return Ok(Self::Identity),
            "identity.response" => return Ok(Self::IdentityResponse),
            "identity.notice" => return Ok(Self::KeyNotice),
            "chat" => return Ok(Self::Chat),
            "chat.broadcast" => return Ok(Self::Broadcast),
            "group.invite" => return Ok(Self::Invite),
            _ => {}
        }
        let parts = |pair: Option<(&str, &str)>| {
            pair.filter(|(group, kind)| !group.is_empty() && !kind.is_empty())
                .map(|(group, kind)| (group.into(), kind.into()))
                .ok_or(TopicError::Incomplete)
        };
        let one = |rest: &str| {
            (!rest.is_empty())
                .then(|| rest.into())
                .ok_or(TopicError::Incomplete)
        };
        if let Some(rest) = text.strip_prefix("group:") {
            parts(rest.split_once(':')).map(|(group, kind)| Self::Group { group, kind })
        } else if let Some(rest) = text.strip_prefix("chat.room:") {
            parts(rest.rsplit_once(':')).map(|(group, kind)| Self::Room { group, kind })
        } else if let Some(rest) = text.strip_prefix("cluster:") {
            parts(rest.split_once(':')).map(|(group, kind)| Self::Cluster { group, kind })
        } else if let Some(rest) = text.strip_prefix("call:") {
            one(rest).map(|channel| Self::Call { channel })
        } else if let Some(rest) = text.strip_prefix("realtime:") {
            one(rest).map(|channel| Self::Realtime { channel })
        } else {
            Ok(Self::Custom(text.into()))
        }
    }

    /// What it belongs to.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Ack => Family::Ack,
            Self::Identity => Family::Identity,
            Self::IdentityResponse => Family::IdentityResponse,
            Self::KeyNotice => Family::KeyNotice,
            Self::Chat => Family::Chat,
            Self::Broadcast => Family::Broadcast,
            Self::Room { .. } => Family::Room,
            Self::Invite => Family::Invite,
            Self::Group { .. } => Family::Group,
            Self::Cluster { .. } => Family::Cluster,
            Self::Call { .. } => Family::Call,
            Self::Realtime { .. } => Family::Realtime,
            Self::Custom(_) => Family::Custom,
        }
    }

    /// Its line in the catalogue.
    #[must_use]
    pub fn entry(&self) -> &'static Entry {
        self.family().entry()
    }

    /// Who may send it (mq.md 3.3 to 3.5).
    #[must_use]
    pub fn sender(&self) -> Sender {
        match self {
            Self::Group { kind, .. } => match &**kind {
                "join" | "leave" | "pong" => Sender::Member,
                "ping" | "close" | "error" | "welcome" | "members" | "meta" => Sender::Host,
                _ => Sender::HostOrMember,
            },
            Self::Room { kind, .. } => match &**kind {
                "history" | "members" => Sender::Host,
                _ => Sender::HostOrMember,
            },
            Self::Cluster { kind, .. } => match &**kind {
                "job:assign" | "job:cancel" | "worker:pause" | "worker:resume" | "shutdown" => {
                    Sender::Host
                }
                "job:ack" | "job:progress" | "job:result" | "worker:binary" | "worker:verified"
                | "worker:status" => Sender::Member,
                _ => Sender::HostOrMember,
            },
            _ => Sender::Anybody,
        }
    }

    /// Messages of one lane reach a peer in the order they were sent; `None` where order does not matter.
    #[must_use]
    pub fn lane(&self) -> Option<String> {
        if !self.entry().ordered {
            return None;
        }
        Some(match self {
            Self::Group { group, .. } => format!("group:{group}"),
            Self::Room { group, .. } => format!("chat.room:{group}"),
            Self::Cluster { group, .. } => format!("cluster:{group}"),
            other => other.to_string(),
        })
    }
}

impl fmt::Display for PeerTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ack => f.write_str("mq.ack"),
            Self::Identity => f.write_str("identity"),
            Self::IdentityResponse => f.write_str("identity.response"),
            Self::KeyNotice => f.write_str("identity.notice"),
            Self::Chat => f.write_str("chat"),
            Self::Broadcast => f.write_str("chat.broadcast"),
            Self::Room { group, kind } => write!(f, "chat.room:{group}:{kind}"),
            Self::Invite => f.write_str("group.invite"),
            Self::Group { group, kind } => write!(f, "group:{group}:{kind}"),
            Self::Cluster { group, kind } => write!(f, "cluster:{group}:{kind}"),
            Self::Call { channel } => write!(f, "call:{channel}"),
            Self::Realtime { channel } => write!(f, "realtime:{channel}"),
            Self::Custom(text) => f.write_str(text),
        }
    }
}

/// What this peer tells its own pages, and only them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LocalTopic {
    /// A peer is there or changed.
    PeerAnnounce,
    /// A peer was forgotten.
    PeerGone,
    /// The relay came or went.
    RelayStatus,
    /// A message came in or went out.
    LogMq,
    /// Something about media.
    LogCall,
    /// What a listening group plays; without a group, there is none.
    Listen {
        /// The group.
        group: Box<str>,
    },
    /// Something in a group.
    Group {
        /// The group.
        group: Box<str>,
        /// `join`, `msg`, …
        kind: Box<str>,
    },
    /// An invitation.
    Invite,
    /// A line in a chat room, its members or its history.
    Room {
        /// The group.
        group: Box<str>,
        /// `msg`, `history`, `members`
        kind: Box<str>,
    },
    /// Something about a call that this peer does itself.
    Call {
        /// The channel.
        channel: Box<str>,
    },
    /// The key of a peer changed, or it stopped sealing (ours).
    Key,
    /// A chat message was delivered, expired, or waits (ours).
    ChatState,
}

impl fmt::Display for LocalTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerAnnounce => f.write_str("peer:announce"),
            Self::PeerGone => f.write_str("peer:gone"),
            Self::RelayStatus => f.write_str("relay:status"),
            Self::LogMq => f.write_str("log:mq"),
            Self::LogCall => f.write_str("log:call"),
            Self::Listen { group } => write!(f, "listen:{group}:state"),
            Self::Group { group, kind } => write!(f, "group:{group}:{kind}"),
            Self::Invite => f.write_str("group.invite"),
            Self::Room { group, kind } => write!(f, "chat.room:{group}:{kind}"),
            Self::Call { channel } => write!(f, "call:{channel}"),
            Self::Key => f.write_str("mq:key"),
            Self::ChatState => f.write_str("mq:chat"),
        }
    }
}

/// Which events a listener hears.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Filter {
    /// What pages of the owner usually want: all but `log:…`, which costs an event for every message (mq.md W16).
    #[default]
    Usual,
    /// Exact topics, and prefixes that end in `*`.
    Patterns(Vec<String>),
    /// What a page of a site may see, on its own origin: who is there, and what is made for sites. What people write to
    /// each other, groups, jobs and calls are none of its business.
    Site {
        /// Whose site. It hears its own peer, and nobody else.
        of: PeerId,
        /// It is the site of this peer, which hears everybody.
        own: bool,
    },
}

/// Patterns of one listener; more are not looked at.
const MAX_PATTERNS: usize = 64;

impl Filter {
    /// Comma-separated patterns, as `chat,call:*`; an empty text is [`Filter::Usual`].
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let patterns: Vec<String> = text
            .split(',')
            .map(str::trim)
            .filter(|pattern| !pattern.is_empty())
            .take(MAX_PATTERNS)
            .map(str::to_owned)
            .collect();
        if patterns.is_empty() {
            Self::Usual
        } else {
            Self::Patterns(patterns)
        }
    }

    /// Whether the listener hears a topic; `from` is its sender, `None` is this peer.
    #[must_use]
    pub fn wants(&self, topic: &str, from: Option<PeerId>) -> bool {
        match (self, from) {
            (Self::Usual, _) => !topic.starts_with("log:"),
            (Self::Patterns(patterns), _) => patterns.iter().any(|pattern| {
                pattern
                    .strip_suffix('*')
                    .map_or(pattern == topic, |prefix| topic.starts_with(prefix))
            }),
            (Self::Site { .. }, None) => matches!(topic, "peer:announce" | "peer:gone"),
            (Self::Site { of, own }, Some(from)) => {
                let family = PeerTopic::parse(topic).map(|topic| topic.family());
                (*own || *of == from) && matches!(family, Ok(Family::Realtime | Family::Custom))
            }
        }
    }
}
