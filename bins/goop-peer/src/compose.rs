//! A peer, put together and taken apart.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use goop_data::chat::ChatLog;
use goop_data::meta::{IMPORTED, Meta};
use goop_data::{Data, Database};
use goop_identity::avatar::AvatarFile;
use goop_identity::config::{Config, ConfigStore};
use goop_identity::files::{self, Privacy};
use goop_identity::folder::{AVATAR_CACHE, AVATAR_FILE, CONFIG_FILE, DATA_FOLDER, PeerFolder};
use goop_identity::{Identity, PeerId, Profile};
use goop_mq::chat::{Chat, ChatTask};
use goop_mq::identity::PeerIdentity;
use goop_mq::keys::KeyBook;
use goop_mq::{Mq, Setup, Streams};
use goop_net::{Discovery, Listen, LocalProfile, Net, NetConfig, PeerEvent, PeerRow};
use goop_site::archive::{self, Places};
use goop_site::avatar::AvatarCache;
use goop_site::http::Served;
use goop_site::store::Store;
use goop_site::{Site, Visitor};
use goop_viewer::session::Secret;
use goop_viewer::{Context, Desk, LogRing, Viewer};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::hosting::{Hosting, Urls};
use crate::introductions::{Introductions, Servers};
use crate::protocols::{Keys, Neighbourhood, NetDialer, router};
use crate::server_alone::{self, Log};
use crate::{Ended, LEAVE_WITHIN, Options, VERSION, ViewerSwitch, logging, signals};

/// File of the peers known between runs, in `data/`.
const PEERS_FILE: &str = "peers.json";
/// The keys of others, in `data/`.
const KEYS_FILE: &str = "keys.json";
/// Archives that come in, and the sites they replaced.
const IMPORTS: &str = "data/import";
/// What was deleted from the site and can be brought back.
const BIN: &str = "data/bin";
/// Minutes an offline peer is listed where the setting makes no sense (peer-directory.md 6.2).
const DEFAULT_GRACE_MIN: i64 = 15;
/// What identify says about this program.
const AGENT: &str = concat!("goop2-rs/", env!("CARGO_PKG_VERSION"));

/// Runs a peer until a signal asks it to leave.
///
/// # Errors
/// Anything that keeps it from starting, in words for the person who started it.
pub async fn run(options: &Options) -> anyhow::Result<Ended> {
    let logs = LogRing::default();
    let verbose = logging::start(&logs);
    let leave = signals::leave_on_signal().context("signals cannot be received")?;
    let folder = PeerFolder::open(&options.dir)?;
    let config = folder.config().current();
    if config.presence.rendezvous_only {
        let verbose = Arc::new(verbose);
        let log = Log {
            ring: logs,
            verbose,
        };
        return server_alone::run(&folder, options.viewer, log, leave).await;
    }
    if config.p2p.bridge_mode {
        tracing::warn!(
            "p2p.bridge_mode is set, and there is no thin client in this version: a whole peer starts, with a network of its own"
        );
    }
    // The sockets first: a busy port is said before anybody hears of us.
    let sockets = match options.viewer {
        ViewerSwitch::On => {
            let before = std::env::var(crate::CONTROL_PORT).ok();
            let before = before.and_then(|port| port.parse().ok());
            Some(Viewer::bind_again(&config.viewer.http_addr, before).await?)
        }
        ViewerSwitch::Off => None,
    };
    let hosting = Hosting::bind(&folder).await?;
    let (peer, sending, chatting) = Peer::start(&folder, &config).await?;
    let carrier = Streams(NetDialer(peer.net.clone()));
    let sending = tokio::spawn(sending.run(carrier, leave.clone()));
    let chatting = tokio::spawn(chat(chatting, leave.clone()));
    let urls = hosting.as_ref().map(|hosting| hosting.urls().clone());
    let (introductions, servers) = Introductions::new(
        peer.net.clone(),
        peer.config.clone(),
        &peer.identity,
        urls.clone().map(|urls| urls.own),
    );
    let again = Arc::new(AtomicBool::new(false));
    let restart = {
        let (again, leave) = (again.clone(), leave.clone());
        move || {
            again.store(true, Ordering::Relaxed);
            leave.cancel();
        }
    };
    let viewer = match sockets {
        Some(sockets) => {
            let log = Log {
                ring: logs,
                verbose: Arc::new(verbose),
            };
            let desk = peer.desk(&folder, log, servers, Arc::new(restart));
            Some(Viewer::new(sockets, desk, peer.viewer_context())?)
        }
        None => None,
    };
    let control_port = viewer.as_ref().map(Viewer::control_port);
    banner(&folder, &peer, viewer.as_ref(), urls.as_ref());
    let hosting = hosting.map(|hosting| hosting.run(peer.metrics.clone()));
    let serving = tokio::spawn(serve(viewer, leave.clone()));
    let upkeep = tokio::spawn(peer.clone().upkeep(leave.clone()));
    let introductions = tokio::spawn(introductions.run(leave.clone()));
    peer.net.go_online();
    leave.cancelled().await;
    peer.net.shutdown(LEAVE_WITHIN).await;
    // All end by the same token; what they wait for is bounded.
    let ends = async {
        (
            serving.await,
            upkeep.await,
            introductions.await,
            sending.await,
            chatting.await,
        )
    };
    let _ = tokio::time::timeout(LEAVE_WITHIN, ends).await;
    if let Some(hosting) = hosting {
        // Last, because the goodbye goes over it, too.
        hosting.shutdown().await;
    }
    // Nobody asks any more; the log is folded into the file.
    let _ = tokio::time::timeout(LEAVE_WITHIN, peer.data.database().close()).await;
    peer.pictures.clear();
    Ok(if again.load(Ordering::Relaxed) {
        Ended::ToStartAgain { control_port }
    } else {
        Ended::Left
    })
}

/// A peer whose chat cannot go on says so, and does everything else.
async fn chat(task: ChatTask, leave: CancellationToken) {
    if let Err(error) = task.run(leave).await {
        tracing::error!(%error, "what waits to be sent cannot be read; nothing is sent by chat in this run");
    }
}

async fn serve(viewer: Option<Viewer>, leave: CancellationToken) {
    if let Some(viewer) = viewer {
        viewer.run(leave).await;
    }
}

fn banner(folder: &PeerFolder, peer: &Peer, viewer: Option<&Viewer>, hosting: Option<&Urls>) {
    println!("Goop² v{VERSION}  ·  the ephemeral web");
    println!("Peer folder:   {}", folder.root().display());
    println!("Peer id:       {}", peer.net.local_peer_id());
    println!(
        "Name:          {}",
        Profile::of(&folder.config().current()).label
    );
    if let Some(hosting) = hosting {
        println!("Rendezvous:    {}", hosting.shown);
    }
    if let Some(viewer) = viewer {
        if let Some(public) = viewer.public_addr() {
            println!("Published on:  http://{public}/  (your site only)");
        }
        println!("Open this:     {}", viewer.start_link());
    }
    println!("Ctrl-C takes the site offline.");
}

/// What runs.
#[derive(Clone)]
struct Peer {
    config: ConfigStore,
    identity: Identity,
    avatar: AvatarFile,
    served: Served,
    store: Store,
    places: Places,
    data: Data,
    net: Net,
    mq: Mq,
    chat: Chat,
    keys_file: PathBuf,
    keys: Arc<Keys>,
    visitor: Visitor<NetDialer, Keys>,
    pictures: AvatarCache,
    metrics: Option<PrometheusHandle>,
    /// Told when something that presence says may have changed.
    changed: Arc<watch::Sender<()>>,
}

impl Peer {
    async fn start(
        folder: &PeerFolder,
        config: &Config,
    ) -> anyhow::Result<(Self, goop_mq::Task, ChatTask)> {
        let identity = Identity::load(folder)?;
        let metrics = PrometheusBuilder::new().install_recorder().ok();
        let site_root = folder.resolve(&config.paths.site_root);
        std::fs::create_dir_all(&site_root)
            .with_context(|| format!("the site folder {} cannot be made", site_root.display()))?;
        let places = Places {
            scripts: folder.resolve(&config.lua.script_dir),
            work: folder.root().join(IMPORTS),
            site: site_root.clone(),
        };
        let database = Database::open(folder.root())
            .await
            .context("the database of the site (data.db) cannot be opened")?;
        let imported = Meta::of(&database).get(IMPORTED).await?;
        archive::recover(&places, &imported)
            .context("the site from before an import cannot be put back")?;
        let hidden = [
            &config.lua.script_dir,
            &config.paths.site_source,
            &config.paths.site_stage,
            // Whoever makes the whole peer folder the site must not publish its keys.
            &config.identity.key_file,
            &DATA_FOLDER.to_owned(),
            &CONFIG_FILE.to_owned(),
        ];
        let mut hidden: Vec<_> = hidden.iter().map(|path| folder.resolve(path)).collect();
        // Nor the database, its log, and what was kept of a damaged one.
        hidden.extend(goop_data::FILES.map(|name| folder.root().join(name)));
        let opened = Site::open(&site_root, &hidden)
            .and_then(|site| Ok((site, Store::open(&site_root, &folder.root().join(BIN))?)));
        let (site, store) = opened
            .with_context(|| format!("the site folder {} cannot be opened", site_root.display()))?;
        let avatar = AvatarFile::open(&folder.root().join(AVATAR_FILE));
        let served = Served {
            site,
            avatar: avatar.clone(),
        };
        let data = Data::new(database);
        let keys = Arc::new(Keys::new(identity.nacl.clone()));
        let keys_file = folder.root().join(DATA_FOLDER).join(KEYS_FILE);
        let hints = keys.clone();
        let (inbox, prepared) = goop_mq::chat::prepare(Arc::new(ChatLog::of(data.database())));
        let (mq, sending) = Mq::new(Setup {
            me: identity.peer_id,
            own: own_identity(folder.config().clone(), avatar.clone()),
            keys: read_keys(&keys_file, &identity)?,
            hints: Arc::new(move |peer| hints.hint(peer)),
            router: goop_mq::router::Router::new().listen(inbox),
        });
        let (chat, chatting) = prepared.start(mq.clone(), None);
        let protocols = router(
            served.clone(),
            data.clone(),
            folder.config().clone(),
            keys.clone(),
            mq.clone(),
        );
        let net = Net::start(net_config(folder, config, &identity), protocols).await?;
        keys.connect(net.clone(), mq.clone());
        let peer = Self {
            config: folder.config().clone(),
            avatar,
            served,
            store,
            places,
            data,
            visitor: Visitor::new(NetDialer(net.clone()), keys.clone()),
            pictures: AvatarCache::at(&folder.root().join(AVATAR_CACHE)),
            net,
            mq,
            chat,
            keys_file,
            keys,
            identity,
            metrics,
            changed: Arc::new(watch::channel(()).0),
        };
        peer.announce();
        Ok((peer, sending, chatting))
    }

    fn desk(
        &self,
        folder: &PeerFolder,
        log: Log,
        servers: Servers,
        restart: Arc<dyn Fn() + Send + Sync>,
    ) -> Desk {
        let changed = self.changed.clone();
        Desk {
            secret: Secret::of_peer(&self.identity.keypair),
            id: Some(self.identity.peer_id),
            config: self.config.clone(),
            folder: folder.root().to_owned(),
            data_folder: folder.root().join(DATA_FOLDER),
            avatar: self.avatar.clone(),
            servers,
            logs: log.ring,
            profile_changed: Arc::new(move || changed.send_replace(())),
            restart,
            open: Arc::new(|url| open::that_detached(url)),
            verbose: log.verbose,
            metrics: self.metrics.clone(),
            version: VERSION,
        }
    }

    fn viewer_context(&self) -> Context {
        Context {
            net: self.net.clone(),
            mq: self.mq.clone(),
            chat: self.chat.clone(),
            site: self.served.site.clone(),
            store: self.store.clone(),
            data: self.data.clone(),
            places: self.places.clone(),
            neighbours: Arc::new(Neighbourhood {
                visitor: self.visitor.clone(),
                pictures: self.pictures.clone(),
                dialer: NetDialer(self.net.clone()),
                keys: self.keys.clone(),
                asked: Default::default(),
            }),
        }
    }

    /// Keeps what others hear in step with the folder, and drops what was kept of peers that left.
    async fn upkeep(self, leave: CancellationToken) {
        let mut events = self.net.events();
        let mut changed = self.changed.subscribe();
        let mut keys = self.mq.keys_changes();
        let mut saved = self.mq.keys(KeyBook::changes);
        // Who is there; whoever comes gets what waited.
        let mut there = HashSet::new();
        loop {
            tokio::select! {
                () = leave.cancelled() => break,
                told = keys.changed() => match told {
                    Ok(()) => saved = self.save_keys(saved),
                    Err(_) => break,
                },
                told = changed.changed() => match told {
                    Ok(()) => self.announce(),
                    Err(_) => break,
                },
                event = events.recv() => match event {
                    Ok(PeerEvent::Changed(row)) => self.changed(&mut there, &row).await,
                    Ok(PeerEvent::Gone(peer)) => {
                        there.remove(&peer);
                        self.gone(&peer);
                    }
                    Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {
                        for row in self.net.peers().iter() {
                            self.changed(&mut there, row).await;
                        }
                    }
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => break,
                },
            }
        }
        self.save_keys(saved);
    }

    async fn changed(&self, there: &mut HashSet<PeerId>, row: &PeerRow) {
        if row.offline_since.is_some() {
            there.remove(&row.id);
            self.gone(&row.id);
        } else if !row.reachable {
            there.remove(&row.id);
        } else if there.insert(row.id) {
            self.chat.back(row.id).await;
        }
    }

    /// Drops what was kept of a peer that left.
    fn gone(&self, peer: &PeerId) {
        self.visitor.forget(peer);
        self.mq.forget_told(peer);
    }

    /// Writes the keys of others if there is something new, and says up to where that is done.
    fn save_keys(&self, saved: u64) -> u64 {
        let (changes, text) = self.mq.keys(|keys| {
            let changes = keys.changes();
            (changes, (changes != saved).then(|| keys.save()))
        });
        let Some(text) = text else {
            return saved;
        };
        match files::replace(&self.keys_file, text.as_bytes(), Privacy::Secret) {
            Ok(()) => changes,
            Err(error) => {
                tracing::warn!(%error, "the keys of other peers could not be saved; the next change tries again");
                saved
            }
        }
    }

    fn announce(&self) {
        let profile = Profile::of(&self.config.current());
        let hash = self
            .avatar
            .current()
            .map(|avatar| avatar.hash.as_str().to_owned());
        self.net.announce(LocalProfile {
            label: profile.label,
            email: profile.email,
            avatar_hash: hash.unwrap_or_default(),
            video_disabled: profile.video_disabled,
            active_template: profile.active_template,
            encryption_supported: self.identity.nacl.is_some(),
            version: VERSION.to_owned(),
        });
    }
}

/// What others hear when they ask who this is.
fn own_identity(config: ConfigStore, avatar: AvatarFile) -> goop_mq::Own {
    Arc::new(move || {
        let profile = Profile::of(&config.current());
        let hash = avatar
            .current()
            .map(|avatar| avatar.hash.as_str().to_owned());
        PeerIdentity {
            content: profile.label,
            email: profile.email,
            avatar_hash: hash.unwrap_or_default(),
            video_disabled: profile.video_disabled,
            active_template: profile.active_template,
            goop_client_version: VERSION.to_owned(),
            ..PeerIdentity::default()
        }
    })
}

/// The keys of others that were known before.
fn read_keys(path: &Path, identity: &Identity) -> anyhow::Result<KeyBook> {
    let own = identity.nacl.clone();
    match std::fs::read_to_string(path) {
        Ok(text) => KeyBook::restore(own, &text).with_context(|| {
            format!(
                "{} is damaged. It says whose key is whose, so it was left alone: restore it from a backup, or remove it \
                 and compare the keys of your friends anew",
                path.display()
            )
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(KeyBook::new(own)),
        Err(error) => {
            Err(error).with_context(|| format!("{} cannot be read", path.display()))
        }
    }
}

fn net_config(folder: &PeerFolder, config: &Config, identity: &Identity) -> NetConfig {
    let seconds = |value: i64| Duration::from_secs(u64::try_from(value).unwrap_or_default());
    let grace = config.viewer.peer_offline_grace_min;
    let grace = if (1..=60).contains(&grace) {
        grace
    } else {
        DEFAULT_GRACE_MIN
    };
    NetConfig {
        listen: Listen::Lan {
            port: u16::try_from(config.p2p.listen_port).unwrap_or_default(),
        },
        discovery: Discovery::Mdns {
            tag: config.p2p.mdns_tag.clone(),
        },
        topic: config.presence.topic.clone(),
        ttl: seconds(config.presence.ttl_seconds),
        heartbeat: seconds(config.presence.heartbeat_seconds),
        grace: seconds(grace * 60),
        agent: AGENT.to_owned(),
        peer_file: Some(folder.root().join(DATA_FOLDER).join(PEERS_FILE)),
        ..NetConfig::new(identity.keypair.clone())
    }
}
